"""The errors a user can cause, and the exit code each one ends a command with.

A message says what was expected, what was found, where (file:line, or task and example id) and what to do.
It never contains example text: it may end up in a log outside the data folder.
"""

from __future__ import annotations

EXIT_FINISHED = 0
EXIT_REFUSED = 2
EXIT_DATA = 3
EXIT_FAILED = 4
EXIT_STOPPED = 75


class MtscaleError(Exception):
    """Base of the errors that are printed as one message, without a traceback."""

    exit_code = EXIT_FAILED


class ConfigError(MtscaleError):
    """A recipe, a DeepSpeed JSON, a command line or the machine does not allow the run."""

    exit_code = EXIT_REFUSED


class DataError(MtscaleError):
    """A corpus file is missing, malformed or contradicts itself."""

    exit_code = EXIT_DATA
