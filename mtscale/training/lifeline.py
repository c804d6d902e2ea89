"""A run ends with the command that began it: ranks whose launcher was killed stop by themselves, with a checkpoint.

A launcher that is killed outright (SIGKILL, out of memory) passes nothing on, and DeepSpeed's leaves its ranks behind
(0.19.8). They would train on unseen, and keep the run from being resumed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from mtscale.errors import EXIT_FAILED
from mtscale.processes import STARTER
from mtscale.runs import process_start
from mtscale.training.stop import StopRequest

LOOK_EVERY_SECONDS = 1.0
GRACE_SECONDS = 30.0

# In the environment of ranks that DeepSpeed's helper has started (launcher/launch.py).
HELPERS_MARK = "CROSS_RANK"
_HELPER = "deepspeed.launcher.launch"
# ``mtscale train`` or ``mtscale runs resume``, DeepSpeed's command, and its helper on each machine.
_LAUNCHERS = frozenset({"mtscale", "mtscale.cli", "deepspeed", "deepspeed.launcher.runner", _HELPER})


def hold(stop: StopRequest) -> None:
    """Ask this rank to stop once one of its launchers is gone, and end it if it has not within 30 seconds."""
    launchers = list(_launchers())
    starts = {process.pid: process_start(process.pid) for process, _ in launchers}
    if (starter := os.environ.get(STARTER)) is not None:
        pid, _, start = starter.partition(":")
        starts[int(pid)] = int(start)
    left_behind = HELPERS_MARK in os.environ and _is_left_behind(launchers)
    if starts or left_behind:
        threading.Thread(target=_watch, args=(starts, left_behind, stop), name="lifeline", daemon=True).start()


def _is_left_behind(launchers: Sequence[tuple[psutil.Process, list[str]]]) -> bool:
    """Whether DeepSpeed's helper, or the command above it, was gone before this rank looked."""
    if not launchers:
        return True
    topmost, words = launchers[-1]
    return _HELPER in words and topmost.ppid() == 1


def _watch(starts: Mapping[int, int | None], left_behind: bool, stop: StopRequest) -> None:
    while not left_behind and all(process_start(pid) == start for pid, start in starts.items()):
        time.sleep(LOOK_EVERY_SECONDS)
    stop.request("because its launcher is gone")
    time.sleep(GRACE_SECONDS)
    os._exit(EXIT_FAILED)


def _launchers() -> Iterator[tuple[psutil.Process, list[str]]]:
    """The processes above this one that only serve to start it, the nearest first, with their command lines."""
    for process in psutil.Process().parents():
        try:
            words = process.cmdline()
        except psutil.Error:
            return
        # The interpreter and its options come first, a script or ``-m`` and a module then.
        if not _LAUNCHERS & {Path(word).name for word in words[:4]}:
            return
        yield process, words
