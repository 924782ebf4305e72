"""Makes checkpoints: pre-training from scratch on a checkpoint schedule."""
