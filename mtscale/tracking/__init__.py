"""Where recorded numbers go: into the run directory first, and from there into MLflow."""
