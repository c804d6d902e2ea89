"""How training records numbers: each goes into the run directory first, then to a mirror such as MLflow.

The run directory is the truth; a mirror only shows it, and one that fails never stops a training.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mtscale.runs import Event, EventKind, RunDirectory, RunRecord, State

logger = logging.getLogger(__name__)

Param = str | int | float


class Tracker(Protocol):
    """What the training loop knows of tracking."""

    def log(self, kind: EventKind, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Record values under names of ``mtscale.names``; ``step`` counts optimizer steps of the whole run."""

    def artifact(self, path: Path, folder: str) -> None:
        """Show a finished file in the mirror, under ``folder`` (empty for the top)."""

    def close(self, state: State) -> None:
        """End the record with the final state of the run."""


class Mirror(Protocol):
    """A copy of the record for others to look at."""

    def start(self, record: RunRecord, params: Mapping[str, Param], tags: Mapping[str, str]) -> None:
        """Begin, or go on where the mirror of this run was left."""

    def log(self, event: Event) -> None:
        """Show one event; what is shown already is passed over."""

    def artifact(self, path: Path, folder: str) -> None:
        """Show a file."""

    def close(self, state: State) -> None:
        """Show the final state, and what has not been shown yet."""


class RunTracker:
    """The tracker of rank 0. ``nonfinite`` counts the values that were left out as not finite."""

    def __init__(self, run: RunDirectory, mirror: Mirror | None) -> None:
        self._run = run
        self._mirror = mirror
        self._mirror_failed = False
        self.nonfinite = 0

    def start(self, params: Mapping[str, Param], tags: Mapping[str, str]) -> None:
        """Start the mirror and hand it the events recorded so far, which are some when a run is resumed."""

        def catch_up(mirror: Mirror) -> None:
            mirror.start(self._run.record, params, tags)
            for event in self._run.events():
                mirror.log(event)

        self._tell(catch_up)

    def log(self, kind: EventKind, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """Append an event to ``events.jsonl``, then show it in the mirror. NaN and infinities are left out.

        Raises:
            OSError: the run directory cannot be written.
        """
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if len(finite) < len(values):
            if not self.nonfinite:
                names = ", ".join(sorted(values.keys() - finite.keys()))
                logger.warning("not finite at step %d, so not recorded: %s", step, names)
            self.nonfinite += len(values) - len(finite)
        event = self._run.append_event(kind, step, epoch, finite)
        self._tell(lambda mirror: mirror.log(event))

    def artifact(self, path: Path, folder: str) -> None:
        """Show a file of the run in the mirror; it must not change any more."""
        self._tell(lambda mirror: mirror.artifact(path, folder))

    def close(self, state: State) -> None:
        """Close the mirror. ``status.json`` is the caller's to write."""
        self._tell(lambda mirror: mirror.close(state))

    def _tell(self, message: Callable[[Mirror], None]) -> None:
        if self._mirror is None:
            return
        try:
            message(self._mirror)
        except Exception as error:
            if not self._mirror_failed:
                logger.warning("the mirror of this run failed (%r); the numbers are in %s", error, self._run.path)
            self._mirror_failed = True
