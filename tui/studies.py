"""What the screens of studies show, read from the folders of studies beside the runs as read; no widgets here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import get_args

from mtscale.errors import MtscaleError
from mtscale.run_summary import RunSummary
from mtscale.states import LIVE, State
from mtscale.study import store
from mtscale.study.plan import Edge, Plan, Unit
from mtscale.study.store import Outcome, StudyFolder, UnitState, unit_state
from mtscale.study.tables import Finished, Score, ScoreTable, pair_gains, score_tables

from .places import mlflow_run

STATES: tuple[UnitState, ...] = get_args(UnitState)


@dataclass(frozen=True, slots=True)
class UnitSeen:
    """A unit: its runs that are there, what was estimated, what it took (until now, where it runs), what is wrong."""

    unit: Unit
    state: UnitState
    runs: tuple[RunSummary, ...]
    estimate: float | None
    seconds: float | None
    why: str


@dataclass(frozen=True, slots=True)
class StudySeen:
    """A study as it stands; all but ``problem`` is empty where the plan cannot be read.

    ``left`` are the seconds that training what is left takes, by the estimates and how far they were off until now.
    """

    name: str
    problem: str = ""
    plan: Plan | None = None
    units: tuple[UnitSeen, ...] = ()
    left: float | None = None
    tables: tuple[ScoreTable, ...] = ()
    gains: tuple[tuple[Edge, Score | None], ...] = ()

    @property
    def counts(self) -> Counter[UnitState]:
        """How many units there are in each state."""
        return Counter(seen.state for seen in self.units)


def read_studies(root: Path, names: Sequence[str], runs: Sequence[RunSummary]) -> list[StudySeen]:
    """The studies of a folder of runs, of which ``runs`` are known."""
    known = {Path(summary["dir"]).name: summary for summary in runs if not mlflow_run(summary["dir"])}
    return [_read(StudyFolder(root.absolute(), name), known) for name in names]


def planned(root: Path) -> list[str]:
    """The names of the studies of a folder."""
    return store.planned(root)


def _read(folder: StudyFolder, known: Mapping[str, RunSummary]) -> StudySeen:
    try:
        plan, seconds = folder.load()
        outcomes = folder.outcomes()
        units = tuple(_unit(unit, known, outcomes.get(unit.name), seconds) for unit in plan.units)
        left = _seconds_left(units, outcomes, seconds.get("", 0.0))
    except MtscaleError as error:
        return StudySeen(folder.name, str(error))
    # Whatever stands in a damaged file, the screen must go on.
    except Exception as error:
        return StudySeen(folder.name, f"{folder.path}: cannot be read ({type(error).__name__})")
    try:
        finished = Finished(known.get)
        tables, gains = tuple(score_tables(plan, finished)), tuple(pair_gains(plan, finished))
    except MtscaleError as error:
        return StudySeen(folder.name, str(error), plan, units, left)
    except Exception as error:
        problem = f"{folder.path}: its scores cannot be read ({type(error).__name__})"
        return StudySeen(folder.name, problem, plan, units, left)
    return StudySeen(folder.name, "", plan, units, left, tables, gains)


def _unit(
    unit: Unit, known: Mapping[str, RunSummary], outcome: Outcome | None, seconds: Mapping[str, float]
) -> UnitSeen:
    found = [known.get(name) for name in unit.runs]
    runs = tuple(summary for summary in found if summary is not None)
    state = unit_state([State(one["state"]) if one else None for one in found], outcome is not None)
    took = None
    if state == "running":
        took = time() - min(one["created"] for one in runs if one["state"] in LIVE)
    elif outcome is not None and outcome.code == 0:
        took = float(outcome.seconds)
    return UnitSeen(unit, state, runs, seconds.get(unit.name), took, _why(unit, state, runs, outcome, known.get))


def _why(
    unit: Unit,
    state: UnitState,
    runs: Sequence[RunSummary],
    outcome: Outcome | None,
    summary_of: Callable[[str], RunSummary | None],
) -> str:
    """What is wrong with a unit that failed or was stopped, what another one waits for."""
    if state in {"failed", "stopped"}:
        said = [one["message"] or one["state"] for one in runs if one["state"] in {State.FAILED, State.LOST}]
        said += [outcome.message] if outcome is not None else []
        return next((line for text in said for line in text.splitlines() if line.strip()), "")
    before = [summary_of(name) for name in unit.needs]
    unmet = [name for name, one in zip(unit.needs, before, strict=True) if not one or one["state"] != State.FINISHED]
    return f"after {', '.join(unmet)}" if state == "waiting" and unmet else ""


def _seconds_left(units: Sequence[UnitSeen], outcomes: Mapping[str, Outcome], whole: float) -> float | None:
    """Of the units at work and to come; those that failed count when nothing runs, for the next run trains them."""
    estimates = {seen.unit.name: seen.estimate for seen in units if seen.estimate}
    timed = [name for name, one in outcomes.items() if one.code == 0 and one.seconds > 0 and name in estimates]
    if not estimates or not whole:
        return None
    # As many at once as the plan's own total assumes.
    at_once = max(1.0, sum(filter(None, estimates.values())) / whole)
    pace = sum(outcomes[name].seconds for name in timed) / sum(estimates[name] or 0.0 for name in timed) if timed else 1
    runs = any(seen.state == "running" for seen in units)
    left = 0.0
    for seen in units:
        if seen.state == "finished" or (runs and seen.state == "failed"):
            continue
        done = seen.seconds or 0.0 if seen.state == "running" else 0.0
        left += max(0.0, (seen.estimate or 0.0) * pace - done)
    return left / at_once
