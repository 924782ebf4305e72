"""Steering: a contrast of activations becomes a direction with its scales, on disk and as other tools read it."""
