"""The tidy table becomes figures, tables and one page; no number is computed here."""
