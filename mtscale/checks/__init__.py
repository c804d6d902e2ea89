"""What is wrong with the corpora of a recipe, before anything is trained on them: ``mtscale corpora check``."""
