"""Interventions: a vector, an ablation or a clamp acts on a live model, at positions that mean the same wherever it is run."""
