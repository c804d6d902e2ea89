"""Corpora: a reader per format, the examples they give, and the catalogue that joins tasks to readers."""
