"""General abilities through lm-evaluation-harness: its tasks and metrics, our model."""
