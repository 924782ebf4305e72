"""Toxicity classifiers: how likely people are to call a text toxic, and what each classifier is worth against their word."""
