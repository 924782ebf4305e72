"""What only a series of checkpoints shows: when a concept emerges, whether one probe reads them all, what is learned and forgotten."""
