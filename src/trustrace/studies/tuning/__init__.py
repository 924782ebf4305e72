"""The fine-tuning study: the baselines beside which steering is judged."""
