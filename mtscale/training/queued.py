"""Runs that a command will start: their directories stand before any process trains, so that onlookers see them."""

from __future__ import annotations

import contextlib
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

from mtscale.errors import ConfigError
from mtscale.processes import COMMAND, this_process
from mtscale.runs import HEARTBEAT_SECONDS, LIVE, OUTPUT, RunDirectory, State, Status, process_start
from mtscale.training.job import Job, Member
from mtscale.training.record import new_record


class Queue:
    """The runs of a job that wait for their turn, while this process holds it open; what never started leaves it."""

    def __init__(self, job: Job, command: Sequence[str], world_size: int) -> None:
        """``command`` is what ``run.json`` keeps, as the rank's own ``sys.argv``."""
        self._job, self._command, self._world_size = job, command, world_size
        self._waiting: dict[Path, Status | None] = {}
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="queue", daemon=True)

    def __enter__(self) -> Self:
        """Make the directories.

        Raises:
            ConfigError: they cannot be written, or another command has taken the name meanwhile.
        """
        try:
            for member in self._job.members:
                self._enter(member)
        except BaseException:
            self._leave()
            raise
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beating.join()
        self._leave()

    def _leave(self) -> None:
        for path, before in self._waiting.items():
            if _is_queued(path):
                _take_back(path, before)

    def _enter(self, member: Member) -> None:
        job, run = self._job, RunDirectory(self._job.runs / member.name)
        record = new_record(job, member, self._world_size, self._command, [this_process(COMMAND)])
        if not (run.path / "run.json").exists():
            config = json.dumps(job.resolved(member.stage, self._world_size).config, indent=2)
            RunDirectory.create(run.path, record, job.recipe.to_toml(), config, State.QUEUED)
            self._waiting[run.path] = None
            return
        state = run.state()
        if state is State.FINISHED:
            return
        if state in LIVE:
            raise ConfigError(f"{run.path} is {state}: choose another --run name")
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
                    with contextlib.suppress(OSError):
                        os.utime(path / "status.json", (time.time(),) * 2)


def _is_queued(path: Path) -> bool:
    """Whether a run still waits for this process."""
    try:
        run = RunDirectory(path)
        own = run.record.pid == os.getpid() and run.record.host == socket.gethostname()
        return own and run.status.state is State.QUEUED
    except (OSError, ValueError):
        return False


def _take_back(path: Path, before: Status | None) -> None:
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
