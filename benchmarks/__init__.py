"""Speed and memory against named baselines, as ratios that one run measures. `python -m benchmarks [NAME ...]`."""
