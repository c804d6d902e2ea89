"""The numbers of a study: for each table its scores over seeds, for the figure its gains. From run directories alone.

A table holds runs of one protocol, always: a study has one, and a run of another is refused.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mtscale.errors import ConfigError
from mtscale.run_summary import RunSummary, summarize
from mtscale.runs import RunDirectory, State
from mtscale.study.plan import Cell, Edge, Plan


@dataclass(frozen=True)
class Score:
    """A score by seed, of the seeds whose run is finished."""

    by_seed: Mapping[int, float]
    wanted: int

    @property
    def mean(self) -> float:
        """The mean over the seeds there are."""
        return statistics.fmean(self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds (n - 1); None for one seed."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None

    @property
    def is_whole(self) -> bool:
        """Whether every seed is there."""
        return len(self.by_seed) == self.wanted


@dataclass(frozen=True)
class ScoreRow:
    """A model of a table: its score on each task, and the plain mean over tasks, by seed; None where none is there."""

    label: str
    scores: Mapping[str, Score | None]
    average: Score | None


@dataclass(frozen=True)
class ScoreTable:
    """A table of scores on test, with the floor of each task."""

    key: str
    title: str
    protocol: str
    tasks: tuple[str, ...]
    metrics: Mapping[str, str]
    rows: tuple[ScoreRow, ...]
    baseline: str | None
    turned: bool
    paper: int | None = None
    floors: Mapping[str, float] = field(default_factory=dict)


class Finished:
    """The summaries of a study's finished runs, each read once."""

    def __init__(self, summarized: Callable[[str], RunSummary | None]) -> None:
        """``summarized`` gives the summary of a run by its name, in any state; None if it is not there."""
        self._summarized = summarized
        self._read: dict[str, RunSummary | None] = {}

    def summary(self, name: str, protocol: str) -> RunSummary | None:
        """The summary of a run; None if it is not finished.

        Raises:
            ConfigError: it was made under another protocol.
        """
        if name not in self._read:
            self._read[name] = self._summarized(name)
        found = self._read[name]
        if found is None or found["state"] != State.FINISHED:
            return None
        if found["protocol"] != protocol:
            raise ConfigError(
                f"{found['dir']} has the protocol {found['protocol']}, its table {protocol}: they do not go together"
            )
        return found

    def score(self, cell: Cell, protocol: str) -> Score | None:
        """The scores on test of a cell; None if no run of it is finished.

        Raises:
            ConfigError: a run was made under another protocol.
        """
        found = {}
        for seed, name in cell.runs.items():
            summary = self.summary(name, protocol)
            score = summary["scores"][cell.task]["test"] if summary else None
            if score is not None:
                found[seed] = score
        return Score(found, len(cell.runs)) if found else None

    def floor(self, cell: Cell, protocol: str) -> float | None:
        """The floor of a cell's task on test."""
        summaries = filter(None, (self.summary(name, protocol) for name in cell.runs.values()))
        return next((floor for one in summaries if (floor := one["scores"][cell.task]["floor"]) is not None), None)


def in_folder(runs: Path) -> Callable[[str], RunSummary | None]:
    """Reads summaries from the run directories of a folder."""

    def summarized(name: str) -> RunSummary | None:
        try:
            return summarize(RunDirectory(runs / name))
        except (OSError, ValueError):
            return None

    return summarized


def score_tables(plan: Plan, finished: Finished) -> list[ScoreTable]:
    """The tables of a plan, as far as their runs are finished."""
    return [_score_table(plan, key, finished) for key in plan.study.tables]


def pair_gains(plan: Plan, finished: Finished) -> list[tuple[Edge, Score | None]]:
    """What each pair of the figure gains over its target alone, seed by seed; None while no seed has both."""
    gains: list[tuple[Edge, Score | None]] = []
    for edge in plan.edges:
        pair, alone = (finished.score(Cell(edge.target, runs), plan.study.protocol) for runs in (edge.pair, edge.alone))
        shared = sorted(set(pair.by_seed) & set(alone.by_seed)) if pair and alone else []
        by_seed = {seed: pair.by_seed[seed] - alone.by_seed[seed] for seed in shared if pair and alone}
        gains.append((edge, Score(by_seed, len(edge.pair)) if by_seed else None))
    return gains


def _score_table(plan: Plan, key: str, finished: Finished) -> ScoreTable:
    table, protocol = plan.study.tables[key], plan.study.protocol_of(key)
    tasks = plan.study.tasks_of(table.tasks)
    resolved = {one.name: one.resolve(None, Path()) for one in plan.study.tasks if one.name in tasks}
    rows: list[ScoreRow] = []
    floors: dict[str, float] = {}
    for row in table.rows:
        cells = plan.cells[key][row.label]
        scores = {task: finished.score(cells[task], protocol) for task in tasks}
        rows.append(ScoreRow(row.label, scores, average(scores.values())))
        floors |= {task: floor for task in tasks if (floor := finished.floor(cells[task], protocol)) is not None}
    metrics = {task: resolved[task].metric for task in tasks}
    return ScoreTable(
        key=key,
        title=table.title,
        protocol=protocol,
        tasks=tasks,
        metrics=metrics,
        rows=tuple(rows),
        baseline=table.baseline,
        turned=table.turned,
        paper=table.paper,
        floors=floors,
    )


def average(scores: Iterable[Score | None]) -> Score | None:
    """The plain mean over tasks, seed by seed; None unless some seed has a score on every task."""
    found = list(scores)
    whole = [score for score in found if score is not None]
    if not whole or len(whole) < len(found):
        return None
    seeds = set.intersection(*(set(score.by_seed) for score in whole))
    by_seed = {seed: statistics.fmean(score.by_seed[seed] for score in whole) for seed in sorted(seeds)}
    return Score(by_seed, whole[0].wanted) if by_seed else None
