"""Lines on the terminal: those of rank 0, and warnings of the others."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import TextIO

from mtscale.markup import printable


class _ErrorStream(logging.StreamHandler[TextIO]):
    """Writes to whatever ``sys.stderr`` is at the moment: a progress bar puts itself in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """Fixed."""


class PlainFormatter(logging.Formatter):
    """Lines in which a terminal finds nothing to act on: names of files and ids come from outside."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, everything but the line ends written out."""
        return "\n".join(map(printable, super().format(record).split("\n")))


def log_to_console(*, is_main: bool) -> None:
    """Send the lines of mtscale to standard error, and keep the libraries quiet."""
    handler = _ErrorStream()
    handler.setFormatter(PlainFormatter("%(message)s"))
    handler.setLevel(logging.INFO if is_main else logging.WARNING)
    logger = logging.getLogger("mtscale")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    # No library may send anything anywhere, and none has a say on the terminal below a warning.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "warning")
    # Read when MLflow is imported, which DeepSpeed's autotuner does before our own mirror.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    if not is_main:
        warnings.simplefilter("ignore")
