"""What the models of a study gain over their baselines, with statistics, from stored predictions.

The comparisons of a table with its baseline are one family, all directed edges of the figure another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mtscale.runs import RunDirectory, is_finished
from mtscale.study.differences import Adjusted, Difference, adjust
from mtscale.study.figure import Relations
from mtscale.study.models import Comparer, Model
from mtscale.study.plan import Plan
from mtscale.study.tables import ScoreTable


@dataclass(frozen=True)
class TableGains:
    """The gains of a table's rows over its baseline, {(row, task): gain}; of rows and seeds that are whole alone."""

    key: str
    baseline: str
    gains: Mapping[tuple[str, str], Adjusted]


class Gains:
    """Compares the runs of a plan; gold and predictions are read once."""

    def __init__(self, plan: Plan, runs: Path, data_root: Path | None) -> None:
        self._plan, self._runs = plan, runs
        self._comparer = Comparer("test", data_root)

    def of_table(self, table: ScoreTable) -> TableGains | None:
        """The gains of a table; None without a baseline."""
        if table.baseline is None:
            return None
        cells, found = self._plan.cells[table.key], {}
        for row in table.rows:
            for task in table.tasks if row.label != table.baseline else ():
                one = self._difference(task, cells[table.baseline][task].runs, cells[row.label][task].runs)
                if one is not None:
                    found[row.label, task] = one
        return TableGains(table.key, table.baseline, dict(zip(found, adjust(list(found.values())), strict=True)))

    def relations(self) -> list[Relations]:
        """The edges of the figure by domain; all of them are adjusted together."""
        edges = {
            (edge.domain, edge.source, edge.target): self._difference(edge.target, edge.alone, edge.pair)
            for edge in self._plan.edges
        }
        known = {key: one for key, one in edges.items() if one is not None}
        adjusted = dict(zip(known, adjust(list(known.values())), strict=True))
        groups = []
        for domain in dict.fromkeys(domain for domain, _, _ in edges):
            own = {(source, target): adjusted.get((d, source, target)) for d, source, target in edges if d == domain}
            tasks = tuple(dict.fromkeys(source for source, _ in own))
            groups.append(Relations(domain, tasks, own))
        return groups

    def _difference(self, task: str, baseline: Mapping[int, str], other: Mapping[int, str]) -> Difference | None:
        """Other minus baseline; None while a run is missing."""
        folders = [[self._runs / name for name in runs.values()] for runs in (baseline, other)]
        if not all(is_finished(folder) for group in folders for folder in group):
            return None
        one, two = (Model(group[0].name, tuple(map(RunDirectory, group))) for group in folders)
        return self._comparer.difference(task, one, two)
