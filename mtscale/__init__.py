"""Multi-task training of one shared BERT-type encoder for biomedical and clinical text mining, on DeepSpeed."""

__version__: str


def __getattr__(name: str) -> str:
    """The version, looked up when it is asked for: what only watches runs starts without it."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mtscale")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"
