"""Runs that differ only in their seed, and their scores as a mean with its deviation. No widgets here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .cells import NOTHING, plain, run_name

if TYPE_CHECKING:
    from mtscale.run_summary import RunSummary


def grouped(runs: Iterable[RunSummary]) -> list[tuple[RunSummary, ...]]:
    """The groups where their first member stands; members by seed."""
    groups: dict[str, list[RunSummary]] = {}
    for summary in runs:
        groups.setdefault(summary["group"], []).append(summary)
    return [tuple(sorted(members, key=lambda member: member["seed"])) for members in groups.values()]


def group_name(members: Sequence[RunSummary]) -> str:
    """What stands for a group: its recipe, stage and task."""
    first = members[0]
    return plain("-".join(part for part in (first["recipe"], first["stage"], first["task"]) if part))


def member_name(members: Sequence[RunSummary]) -> str:
    """The name of a run, or of a group with its number of runs."""
    return run_name(members[0]) if len(members) == 1 else f"{group_name(members)} [{len(members)}]"


def kept_score(summary: RunSummary, task: str, split: str = "dev") -> float | None:
    """A task's score at the kept epoch, on ``dev`` or ``test``."""
    known = summary["scores"].get(task)
    return None if known is None else known["dev"] if split == "dev" else known["test"]


def macro(summary: RunSummary, split: str = "dev") -> float | None:
    """The mean of all tasks' scores; None as long as one is not known."""
    scores = [kept_score(summary, task, split) for task in summary["tasks"]]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def spread(values: Sequence[float | None]) -> str:
    """A score, or mean, standard deviation and number of several."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    if len(values) == 1:
        return f"{known[0]:.3f}"
    # Needed where seeds are folded: its decimals and fractions take a while to load.
    import statistics

    deviation = f"±{statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.3f}{deviation} [{len(known)}]"
