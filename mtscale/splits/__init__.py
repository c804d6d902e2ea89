"""Lists of the documents of splits that others have published, one id a line."""
