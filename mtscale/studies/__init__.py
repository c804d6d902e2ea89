"""Studies that are shipped: TOML files, see ``mtscale.study.spec``."""
