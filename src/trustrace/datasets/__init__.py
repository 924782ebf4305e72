"""A source becomes `Statements`: text, label, group, split, and what the label means. Audits, corpora, the controlled world."""
