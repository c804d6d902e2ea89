"""What was trained, in use: predictions on new text, and folders that other tools load. Without DeepSpeed."""
