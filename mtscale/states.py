"""The states of a run, for whoever names them without reading runs."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of a run. ``stalled`` and ``lost`` are never written, they are concluded by whoever looks."""

    QUEUED = "queued"
    RUNNING = "running"
    STALLED = "stalled"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


LIVE = frozenset({State.QUEUED, State.RUNNING, State.STALLED, State.STOPPING})
