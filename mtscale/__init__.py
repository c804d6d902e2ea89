"""Multi-task training of one shared BERT-type encoder for biomedical and clinical text mining, on DeepSpeed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mtscale")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
