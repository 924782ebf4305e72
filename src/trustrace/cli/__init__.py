"""The command line: arguments in, study, exit code out."""
