"""Inputs: examples encoded for the encoder, cached as Arrow files, scheduled and put into batches."""
