"""A run ends with the command that began it: ranks whose launcher was killed stop by themselves, with a checkpoint.

A launcher that is killed outright (SIGKILL, out of memory) passes nothing on, and DeepSpeed's leaves its ranks behind
(0.19.8). They would train on unseen, and keep the run from being resumed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from mtscale.errors import EXIT_FAILED
from mtscale.runs import process_start
from mtscale.training.stop import StopRequest

LOOK_EVERY_SECONDS = 1.0
GRACE_SECONDS = 30.0

# ``mtscale train`` or ``mtscale runs resume``, DeepSpeed's command, and its helper on each machine.
_LAUNCHERS = frozenset(
    {"mtscale", "mtscale.cli", "deepspeed", "deepspeed.launcher.runner", "deepspeed.launcher.launch"}
)


def hold(stop: StopRequest) -> None:
    """Ask this rank to stop once one of its launchers is gone, and end it if it has not within 30 seconds."""
    launchers = {process.pid: process_start(process.pid) for process in _launchers()}
    if launchers:
        threading.Thread(target=_watch, args=(launchers, stop), name="lifeline", daemon=True).start()


def _watch(launchers: dict[int, int | None], stop: StopRequest) -> None:
    while all(process_start(pid) == start for pid, start in launchers.items()):
        time.sleep(LOOK_EVERY_SECONDS)
    stop.request("because its launcher is gone")
    time.sleep(GRACE_SECONDS)
    os._exit(EXIT_FAILED)


def _launchers() -> Iterator[psutil.Process]:
    """The processes above this one that only serve to start it."""
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()
        except psutil.Error:
            return
        # The interpreter and its options come first, a script or ``-m`` and a module then.
        if not _LAUNCHERS & {Path(word).name for word in words[:4]}:
            return
        yield process
