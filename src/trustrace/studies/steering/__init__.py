"""The steering study: versions of one model on tasks, planned, searched, run and related to the checkpoints they come from."""
