"""A source becomes `Statements`: text, label, group, split, and what the label means. Audits, perturbations, corpora, the controlled world."""
