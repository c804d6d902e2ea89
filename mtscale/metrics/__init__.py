"""Metrics declared once: fixed label lists, recall over the full gold, NaN an error; and a floor beside each score."""
