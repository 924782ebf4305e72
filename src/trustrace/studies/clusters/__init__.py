"""A run whose visits workers on a cluster divide as they go."""
