"""The model: a shared encoder with a head per task."""
