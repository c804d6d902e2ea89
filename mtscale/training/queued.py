"""Runs that a command will start: their directories stand before any process trains, so that onlookers see them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mtscale.processes import COMMAND, this_process
from mtscale.runs import HEARTBEAT_SECONDS, OUTPUT, RunDirectory, State, Status, process_start
from mtscale.training.job import Job, Member
from mtscale.training.record import new_record


class Queue:
    """The runs of a job that wait for their turn, while this process holds it open; what never started leaves it."""

    def __init__(self, job: Job, command: Sequence[str], world_size: int) -> None:
        """Make the directories. ``command`` is what ``run.json`` keeps, as the rank's own ``sys.argv``.

        Raises:
            ConfigError: they cannot be written.
        """
        self._waiting: dict[Path, Status | None] = {}
        for member in job.members:
            self._enter(job, member, command, world_size)
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="queue", daemon=True)

    def __enter__(self) -> Self:
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beating.join()
        for path, before in self._waiting.items():
            if _is_queued(path):
                _leave(path, before)

    def _enter(self, job: Job, member: Member, command: Sequence[str], world_size: int) -> None:
        run, myself = RunDirectory(job.runs / member.name), this_process(COMMAND)
        record = new_record(job, member, world_size, command, [myself])
        if not (run.path / "run.json").exists():
            config = json.dumps(job.resolved(member.stage, world_size).config, indent=2)
            RunDirectory.create(run.path, record, job.recipe.to_toml(), config, State.QUEUED)
            self._waiting[run.path] = None
            return
        if run.state() is State.FINISHED:
            return
        before = run.status
        self._waiting[run.path] = before if run.record.started else None
        run.stop_file.unlink(missing_ok=True)
        # Who died before it started may have been meant to be something else.
        changes = (
            {"pid": record.pid, "host": record.host, "processes": record.processes}
            if run.record.started
            else {name: value for name, value in record if name not in {"id", "created"}}
        )
        run.update_record(**{**changes, "pid_start": process_start(record.pid)})
        run.write_status(before.model_copy(update={"state": State.QUEUED, "message": "", "time": time.time()}))

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            for path in self._waiting:
                # Touched, not written: its rank may be writing that it runs.
                if _is_queued(path):
                    os.utime(path / "status.json", (time.time(),) * 2)


def _is_queued(path: Path) -> bool:
    """Whether a run still waits for this process."""
    try:
        run = RunDirectory(path)
        own = run.record.pid == os.getpid() and run.record.host == socket.gethostname()
        return own and run.status.state is State.QUEUED
    except (OSError, ValueError):
        return False


def _leave(path: Path, before: Status | None) -> None:
    """Take back what was never started: a run taken up again is what it was, a new one is removed.

    The one that holds what its command printed is kept: it says why.
    """
    run = RunDirectory(path)
    if before is not None:
        run.write_status(before)
    elif (path / OUTPUT).exists():
        lines = (path / OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        run.write_status(Status(state=State.FAILED, message=f"not started: {said}" if said else "not started"))
    else:
        shutil.rmtree(path, ignore_errors=True)
