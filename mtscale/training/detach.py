"""``--detach``: a command that goes on without this terminal, as soon as its runs stand in the queue."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from mtscale.errors import EXIT_FINISHED, MtscaleError
from mtscale.processes import COMMAND
from mtscale.runs import OUTPUT, RunDirectory, process_start
from mtscale.training.job import require_packages

LOOK_EVERY_SECONDS = 0.05


class NotStartedError(MtscaleError):
    """The detached command ended at once; the message is what it printed."""

    def __init__(self, message: str, code: int) -> None:
        """``code``: what it ended with, negative for a signal."""
        super().__init__(message)
        self.exit_code = code if code > 0 else MtscaleError.exit_code


def start_apart(words: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ``mtscale WORDS`` in a session of its own, which neither a Ctrl-C nor a hang-up of this one reaches."""
    return subprocess.Popen(
        [sys.executable, "-m", "mtscale.cli", *words],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def detach(words: Sequence[str], folder: Path) -> int:
    """Start ``mtscale WORDS`` in a session of its own and wait until it has queued ``folder``; its process id.

    What it prints goes to ``output.log`` in that folder.

    Raises:
        ConfigError: the packages for training are not installed.
        NotStartedError: it was refused.
    """
    require_packages()
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".log")
    aside = Path(name)
    with os.fdopen(handle, "ab") as stream:
        child = start_apart(words, stream)
    start = process_start(child.pid)
    while not _is_queued_by(child.pid, start, folder):
        if child.poll() is not None and not _is_queued_by(child.pid, start, folder):
            printed = aside.read_text(encoding="utf-8", errors="replace").strip()
            aside.unlink()
            if child.returncode == EXIT_FINISHED:
                return child.pid
            raise NotStartedError(printed, child.returncode)
        time.sleep(LOOK_EVERY_SECONDS)
    # The command goes on writing into it under its new name.
    aside.rename(folder / OUTPUT)
    return child.pid


def _is_queued_by(pid: int, start: int | None, folder: Path) -> bool:
    try:
        processes = RunDirectory(folder).record.processes
    except (OSError, ValueError):
        return False
    return any(process.role == COMMAND and (process.pid, process.start) == (pid, start) for process in processes)
