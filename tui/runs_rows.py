"""The rows of the table of runs: which, in which order, and what stands in them. No widgets here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from mtscale.states import State

from .cells import NOTHING, STATE_STYLE, Cell, Column, chose_on_dev, duration, plain, progress, run_name
from .groups import grouped, kept_score, mean, member_name, spread

if TYPE_CHECKING:
    from mtscale.run_summary import RunSummary

COLUMNS = (
    *map(Column, ("state", "name", "recipe", "stage")),
    *(Column(title, number=True) for title in ("seed", "step", "left", "macro")),
)
# Of a group the state that most needs a look is shown.
_URGENT = (
    *(State.FAILED, State.LOST, State.STALLED, State.STOPPING),
    *(State.RUNNING, State.QUEUED, State.STOPPED, State.FINISHED),
)
NEWEST = "newest"
UNMARKED = Cell("  ", "bold")

Members: TypeAlias = "tuple[RunSummary, ...]"


@dataclass(frozen=True, slots=True)
class View:
    """What the reader asked for: words to filter by, a column to sort by, groups folded, marks, the baseline."""

    filter: str = ""
    sort: str = NEWEST
    backwards: bool = False
    folded: bool = False
    marked: frozenset[str] = frozenset()
    baseline: frozenset[str] = frozenset()


@dataclass(slots=True)
class RowCache:
    """Cells of rows of which nothing has changed: making them anew for a thousand runs takes a tenth of a second."""

    tasks: tuple[str, ...] = ()
    cells: dict[str, tuple[tuple[object, ...], list[Cell]]] = field(default_factory=dict)


def all_tasks(runs: Iterable[RunSummary]) -> tuple[str, ...]:
    """The tasks of any run, in the order in which they come up."""
    return tuple(dict.fromkeys(task for summary in runs for task in summary["tasks"]))


def matches(summary: RunSummary, wanted: str) -> bool:
    """Whether every word of the filter stands somewhere in the run's name, recipe, stage, state or tasks."""
    parts = (run_name(summary), summary["recipe"], summary["stage"], summary["state"], *summary["tasks"])
    text = " ".join(parts).casefold()
    return all(word in text for word in wanted.casefold().split())


def key_of(members: Members) -> str:
    """The key of a row: the run's directory, or the group."""
    return members[0]["dir"] if len(members) == 1 else f"group {members[0]['group']}"


def arrange(runs: Sequence[RunSummary], view: View) -> dict[str, Members]:
    """The runs that match, folded and sorted as wanted, by the keys of their rows."""
    found = [summary for summary in runs if matches(summary, view.filter)] if view.filter.strip() else list(runs)
    rows = grouped(found) if view.folded else [(summary,) for summary in found]
    if view.sort != NEWEST:
        # What has no value comes last, whichever way the others go.
        with_value = [(value, row) for row in rows if (value := _sort_value(row, view.sort)) is not None]
        with_value.sort(key=lambda pair: pair[0], reverse=_descends(view.sort) != view.backwards)
        without = [row for row in rows if _sort_value(row, view.sort) is None]
        rows = [row for _, row in with_value] + without
    elif view.backwards:
        rows.reverse()
    return {key_of(row): row for row in rows}


def sort_columns(runs: Sequence[RunSummary]) -> list[str]:
    """What rows can be sorted by."""
    return [NEWEST, "macro", *all_tasks(runs), "name", "state"]


def _descends(sort: str) -> bool:
    return sort not in {"name", "state"}


def _sort_value(members: Members, sort: str) -> tuple[float, str] | None:
    if sort == "name":
        return 0.0, member_name(members)
    if sort == "state":
        return float(_URGENT.index(_state(members))), ""
    if sort == "macro":
        value = mean(dev_macro(member) for member in members)
    else:
        value = mean(kept_score(member, sort) for member in members)
    return None if value is None else (value, "")


def dev_macro(summary: RunSummary) -> float | None:
    """The kept epoch's macro score on dev; none of a run that chose on test."""
    return summary["macro"] if chose_on_dev(summary) else None


def _state(members: Members) -> State:
    return min((State(member["state"]) for member in members), key=_URGENT.index)


def _state_cell(members: Members) -> Cell:
    state = _state(members)
    count = Counter(member["state"] for member in members)[state]
    text = str(state) if count == len(members) else f"{state} {count}/{len(members)}"
    return Cell(text, STATE_STYLE.get(state, ""))


def runs_table(
    rows: Mapping[str, Members], tasks: Sequence[str], left: Mapping[str, float], cache: RowCache
) -> tuple[list[Column], dict[str, list[Cell]]]:
    """Columns, and cells by the keys of the rows: what is known of each run, then a dev score for each task of any run.

    A run that chose its epoch on test has no dev scores and says so.
    """
    if cache.tasks != tuple(tasks):
        cache.tasks, cache.cells = tuple(tasks), {}
    cells = {}
    kept = {}
    for key, members in rows.items():
        times = [left[member["dir"]] for member in members if member["dir"] in left]
        time = duration(max(times)) if times else ""
        known = cache.cells.get(key)
        made_of = (*map(id, members), time)
        if known is None or known[0][0] != made_of:
            # The members are kept with their cells, or others could come to have their ids.
            known = ((made_of, members), _cells(members, tasks, time))
        kept[key] = known
        cells[key] = known[1]
    cache.cells = kept
    return [*COLUMNS, *(Column(plain(task), number=True) for task in tasks)], cells


def _cells(members: Members, tasks: Sequence[str], time: str) -> list[Cell]:
    first = members[0]
    stage = plain(first["stage"]) + ("" if chose_on_dev(first) else f" ({plain(first['protocol'])})")
    seeds = [str(member["seed"]) for member in members]
    done, of = sum(member["step"] for member in members), sum(member["steps"] for member in members)
    scores = {task: spread([kept_score(member, task) for member in members]) for task in first["tasks"]}
    return [
        _state_cell(members),
        Cell(member_name(members)),
        Cell(plain(first["recipe"])),
        Cell(stage),
        Cell(",".join(seeds) if len(seeds) <= 4 else f"{len(seeds)} seeds"),
        Cell(progress(first) if len(members) == 1 else f"{done}/{of}" if of else NOTHING),
        Cell(time or NOTHING),
        Cell(spread([dev_macro(member) for member in members])),
        *(Cell(scores.get(task, "")) for task in tasks),
    ]


def mark_cell(members: Members, marked: Set[str], baseline: Set[str]) -> Cell:
    """Whether a row is marked, wholly or in part, and whether it is the baseline."""
    if not marked and not baseline:
        return UNMARKED
    chosen = sum(member["dir"] in marked for member in members)
    mark = "*" if chosen == len(members) else "+" if chosen else " "
    return Cell(mark + ("B" if all(member["dir"] in baseline for member in members) else " "), "bold")
