"""The tables of a report as text: scores with deviations, gains with intervals, and the paper's numbers beside."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from mtscale import names
from mtscale.study.differences import Adjusted
from mtscale.study.document import Grid, Verdict
from mtscale.study.figure import Relations
from mtscale.study.gains import TableGains
from mtscale.study.tables import Score, ScoreTable

MISSING = "-"
AT_FLOOR = "≤ floor"
SMALLEST_P = 0.001


def scores(table: ScoreTable) -> Grid:
    """Mean and standard deviation over seeds; the floor last."""
    header = ["model", *(f"{task} ({table.metrics[task]})" for task in table.tasks), "average"]
    rows = [
        [row.label, *(_score(row.scores[task], table.floors.get(task)) for task in table.tasks), _score(row.average)]
        for row in table.rows
    ]
    floors = [f"{table.floors[task]:.4f}" if task in table.floors else MISSING for task in table.tasks]
    rows.append(["floor", *floors, MISSING])
    seeds = max((score.wanted for row in table.rows for score in row.scores.values() if score), default=0)
    caption = f"{table.title}: test, mean and standard deviation over {seeds} seed{'s' if seeds != 1 else ''}"
    grid = Grid(caption + optimism(table.protocol), tuple(header), tuple(map(tuple, rows)), table.key)
    return turned(grid, "task") if table.turned else grid


def optimism(protocol: str) -> str:
    """What every caption of scores chosen on test says."""
    return f" ({names.OPTIMISTIC})" if names.chosen_on(protocol) == "test" else ""


def _score(score: Score | None, floor: float | None = None) -> str:
    if score is None:
        return MISSING
    spread = "" if score.deviation is None else f" ± {score.deviation:.4f}"
    lacks = "" if score.is_whole else f" ({len(score.by_seed)} of {score.wanted} seeds)"
    mark = f" {AT_FLOOR}" if floor is not None and score.mean <= floor else ""
    return f"{score.mean:.4f}{spread}{lacks}{mark}"


def turned(grid: Grid, corner: str) -> Grid:
    """Rows as columns."""
    columns = list(zip(grid.header, *grid.rows, strict=True))
    return replace(grid, header=(corner, *columns[0][1:]), rows=tuple(columns[1:]))


def gains(table: ScoreTable, found: TableGains) -> Grid:
    """Differences from the baseline, in points, with the adjusted interval and p."""
    rows = []
    for row in table.rows:
        if row.label != found.baseline:
            own = [found.gains.get((row.label, task)) for task in table.tasks]
            rows.append([row.label, *map(gain, own), _mean_gain(own)])
    caption = f"{table.title}: points over {found.baseline}, adjusted 95% interval, adjusted p"
    grid = Grid(
        caption + optimism(table.protocol),
        ("model", *table.tasks, "average"),
        tuple(map(tuple, rows)),
        f"{table.key}-gains",
    )
    return turned(grid, "task") if table.turned else grid


def gain(found: Adjusted | None) -> str:
    """A gain in points, with its verdict in a word: no colour is needed to read it."""
    if found is None:
        return MISSING
    number = points(found.difference.difference)
    if not found.difference.comparison.error:
        return Verdict(number, found.verdict, "the same in every part of test")
    p = f"p {found.p:.3f}" if found.p >= SMALLEST_P else f"p < {SMALLEST_P}"
    detail = f"[{points(found.low)}, {points(found.high)}] {p}"
    return Verdict(number, found.verdict, detail)


def points(difference: float) -> str:
    """A difference of scores in points; what rounds to 0 has no minus."""
    return f"{round(100 * difference, 2) + 0.0:+.2f}"


def verdicts(found: Collection[Adjusted]) -> str:
    """How many of a family are what, with what must be said beside them."""
    counts = Counter(one.verdict for one in found)
    gains, losses = counts["gain"], counts["loss"]
    told = [
        f"{gains} gain{'s' if gains != 1 else ''}, {losses} loss{'es' if losses != 1 else ''}, "
        f"{counts['unclear']} unclear",
        *dict.fromkeys(label for one in found if (label := one.difference.label)),
    ]
    return f"{len(found)} comparison{'s' if len(found) != 1 else ''}: {'; '.join(told)}."


def _mean_gain(found: Sequence[Adjusted | None]) -> str:
    """Without an interval: the tasks may share documents."""
    differences = [one.difference.difference for one in found if one is not None]
    return points(statistics.fmean(differences)) if len(differences) == len(found) else MISSING


def matrix(group: Relations, protocol: str) -> Grid:
    """The figure in numbers: a row trains with the column's task, which gains or loses."""
    rows = [
        (source, *("" if source == target else gain(group.gains.get((source, target))) for target in group.tasks))
        for source in group.tasks
    ]
    caption = f"{group.domain}: what training with the row's task does to the column's, in points, adjusted"
    caption += optimism(protocol)
    return Grid(caption, ("with", *group.tasks), tuple(rows), f"figure2-{group.domain}")
