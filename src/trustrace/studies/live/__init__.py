"""Tracing while a model trains: no checkpoint is written, and the numbers are those of tracing the saved ones."""
