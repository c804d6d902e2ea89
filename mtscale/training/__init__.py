"""Training: stages and their loop, the DeepSpeed engine, optimizer, checkpoints, evaluation.

Importing this package imports no torch, so that a run can be refused before any heavy import.
"""
