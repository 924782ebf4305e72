"""Judges: is an answer true, is it informative? What each of them is worth is measured against people."""
