"""The shipped recipes (TOML)."""
