"""Runs, or groups of runs that differ in their seed, side by side. No widgets here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale import names
from mtscale.run_summary import RunSummary

from .cells import NOTHING, Cell, Column, delta, plain
from .chart import label
from .groups import grouped, kept_score, macro, mean, member_name, spread
from .runs_rows import Members, all_tasks
from .settings import differing
from .store import RunDetail

_NAME_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared: the columns, the first of which the others are measured by, and what had to be left out."""

    columns: tuple[Members, ...]
    split: str
    left_out: str

    @property
    def runs(self) -> list[RunSummary]:
        """All runs of all columns."""
        return [summary for members in self.columns for summary in members]


def compare(runs: Sequence[RunSummary], baseline: Collection[str], folded: bool, test: bool) -> Comparison:
    """The runs in their order, the baseline first; those of the first one's protocol only."""
    columns = grouped(runs) if folded else [(summary,) for summary in runs]
    columns.sort(key=lambda members: not all(member["dir"] in baseline for member in members))
    if not columns:
        return Comparison((), "dev", "")
    protocol = columns[0][0]["protocol"]
    kept = tuple(members for members in columns if members[0]["protocol"] == protocol)
    others = sum(len(members) for members in columns) - sum(len(members) for members in kept)
    left_out = f"{others} of another protocol left out: their scores do not compare" if others else ""
    chosen_on = names.chosen_on(protocol)
    return Comparison(kept, "test" if test or chosen_on == "test" else "dev", left_out)


def column_names(comparison: Comparison) -> list[str]:
    """A letter and the name of each column; the letter is that of its curve."""
    shown = []
    for number, members in enumerate(comparison.columns):
        shown.append(f"{letters(number)} {label(member_name(members), _NAME_WIDTH)}")
    return shown


def letters(number: int) -> str:
    """A, B, ... and after Z: A2, B2, ..."""
    round_, letter = divmod(number, 26)
    return chr(ord("A") + letter) + (str(round_ + 1) if round_ else "")


def scores_table(
    comparison: Comparison, verdicts: Mapping[str, str] | None = None
) -> tuple[list[Column], dict[str, list[Cell]]]:
    """Tasks by runs: the score, and beside it how far it is above the first column's; last, the verdicts by task."""
    columns = [Column("task")]
    for number, name in enumerate(column_names(comparison)):
        columns += [Column(name, number=True), *([Column("Δ A", number=True)] if number else [])]
    columns.append(Column("significance"))
    rows = {}
    for task in (*all_tasks(comparison.runs), None):
        values = [[_score(member, task, comparison.split) for member in members] for members in comparison.columns]
        cells = [Cell("macro" if task is None else plain(task), "bold" if task is None else "")]
        best = max((value for one in values if (value := mean(one)) is not None), default=None)
        for number, one in enumerate(values):
            own = mean(one)
            is_best = len(values) > 1 and own is not None and own == best
            cells.append(Cell(spread(one) + ("*" if is_best else ""), "bold" if is_best else ""))
            if number:
                cells.append(delta(own, mean(values[0])))
        rows[task or ""] = [*cells, Cell((verdicts or {}).get(task or "", NOTHING))]
    return columns, rows


def _score(summary: RunSummary, task: str | None, split: str) -> float | None:
    return macro(summary, split) if task is None else kept_score(summary, task, split)


def settings_table(
    comparison: Comparison, details: Mapping[Path, RunDetail]
) -> tuple[list[Column], dict[str, list[Cell]]]:
    """The settings that differ, and where they differ; the runs of a group share theirs, but for the seeds."""
    read = [(members, details.get(Path(members[0]["dir"]))) for members in comparison.columns]
    known = [(members, detail) for members, detail in read if detail is not None]
    different = differing([detail.settings for _, detail in known])
    seeds = tuple(",".join(str(member["seed"]) for member in members) for members, _ in known)
    hardware = tuple(plain(members[0]["ds_config"]) for members, _ in known)
    rows = {
        "seed": seeds,
        "--ds_config": hardware,
        **{name: value for name, value in different.items() if name != "seeds"},
    }
    marks = [letters(comparison.columns.index(members)) for members, _ in known]
    columns = [Column("setting"), *(Column(mark) for mark in marks)]
    return columns, {name: [Cell(name), *map(Cell, values)] for name, values in rows.items() if len(set(values)) > 1}
