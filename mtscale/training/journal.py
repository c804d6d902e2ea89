"""What a run writes down while it goes: status with heartbeat, events, the log file, progress for who looks on."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mtscale.runs import HEARTBEAT_SECONDS, EventKind, RunDirectory, State, Status
from mtscale.tracking.tracker import RunTracker
from mtscale.training.console import PlainFormatter

logger = logging.getLogger("mtscale")

LINE_SECONDS = 15.0


class Journal:
    """The journal of rank 0. Other ranks have a ``SilentJournal``."""

    def __init__(self, run: RunDirectory, tracker: RunTracker, steps: int) -> None:
        self._run = run
        self._tracker = tracker
        self._status = Status(state=State.RUNNING, steps=steps)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._log_file = logging.FileHandler(run.path / "train.log")
        self._log_file.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(self._log_file)
        self._view = _Bar(steps, run.path.name) if sys.stderr.isatty() else _Lines(steps)
        self._heartbeat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heartbeat.start()

    def log(self, kind: EventKind, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Record values in the run directory, then in its mirrors."""
        self._tracker.log(kind, step, epoch, values)

    def artifact(self, path: Path, folder: str) -> None:
        """Show a finished file in the mirrors."""
        self._tracker.artifact(path, folder)

    def progress(self, step: int, epoch: int, note: str) -> None:
        """Say where the run stands; the status file follows with the next heartbeat."""
        with self._lock:
            self._status = self._status.model_copy(update={"step": step, "epoch": epoch})
        self._view.update(step, note)

    def stopping(self) -> None:
        """Say that a stop was asked for and the checkpoint is being written."""
        self._write({"state": State.STOPPING})

    def close(self, state: State, message: str = "") -> None:
        """Write the final state, in the mirrors and here."""
        self._view.close()
        # Last of all comes the state: a run that dies before is lost and can be resumed, its mirrors with it.
        self._tracker.close(state)
        self._ended.set()
        self._heartbeat.join()
        try:
            self._write({"state": state, "message": message})
        finally:
            logger.removeHandler(self._log_file)
            self._log_file.close()

    def _write(self, changes: Mapping[str, object]) -> None:
        with self._lock:
            self._status = self._status.model_copy(update={"time": time.time(), **changes})
            self._run.write_status(self._status)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self._write({})
            except OSError as error:
                logger.warning("cannot write the heartbeat: %s", error.strerror)


class SilentJournal:
    """The journal of the ranks that write nothing."""

    def log(self, kind: EventKind, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def artifact(self, path: Path, folder: str) -> None:
        """Nothing."""

    def progress(self, step: int, epoch: int, note: str) -> None:
        """Nothing."""

    def stopping(self) -> None:
        """Nothing."""

    def close(self, state: State, message: str = "") -> None:
        """Nothing."""


class _Bar:
    """A progress bar, for a terminal."""

    def __init__(self, steps: int, title: str) -> None:
        from rich.console import Console

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(title, total=steps, note="")
        self._progress.start()

    def update(self, step: int, note: str) -> None:
        self._progress.update(self._task, completed=step, note=note)

    def close(self) -> None:
        self._progress.stop()


class _Lines:
    """A plain line now and then, for a file."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._first: tuple[int, float] | None = None
        self._last_line = time.monotonic()

    def update(self, step: int, note: str) -> None:
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now - self._last_line < LINE_SECONDS:
            return
        self._last_line = now
        done = step - self._first[0]
        left = f", {_duration((self._steps - step) * (now - self._first[1]) / done)} left" if done else ""
        logger.info("step %d/%d%s, %s", step, self._steps, left, note)

    def close(self) -> None:
        """Nothing is open."""


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
