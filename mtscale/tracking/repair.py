"""Runs whose processes died without a word get the final state that nobody could write, in MLflow too."""

from __future__ import annotations

import time

from mtscale import processes
from mtscale.errors import ConfigError
from mtscale.runs import RunDirectory, State
from mtscale.tracking.replay import replay

DIED = "its processes died without a word: killed, out of memory, or the machine went down"


def repair(run: RunDirectory, state: State = State.FAILED, why: str = DIED) -> bool:
    """Write the final state of a lost run and show it in MLflow; whether all of it got there.

    Raises:
        ConfigError: the run is not lost, another host's or user's, or processes of it still live.
    """
    processes.require_own(run)
    found = run.state()
    if found is not State.LOST:
        raise ConfigError(f"{run.path} is {found}: only a lost run can be repaired")
    if left := processes.living(run):
        raise ConfigError(f"{run.path}: {processes.listed(left)} still alive; `mtscale runs stop --kill` ends them")
    run.write_status(run.status.model_copy(update={"state": state, "message": why, "time": time.time()}))
    # A run that never started has nothing to show there.
    return replay(run) if run.record.started else True
