"""The tables of a report as text: scores with deviations, gains with intervals, and the paper's numbers beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from mtscale import names
from mtscale.study.differences import Adjusted
from mtscale.study.document import Block, Grid, Paragraph
from mtscale.study.figure import Relations
from mtscale.study.gains import TableGains
from mtscale.study.paper_numbers import paper_numbers
from mtscale.study.tables import Score, ScoreTable

MISSING = "-"
MARKS = {"gain": "+", "loss": "-", "unclear": "~"}


def scores(table: ScoreTable) -> Grid:
    """Mean and standard deviation over seeds; the floor last."""
    header = ["model", *(f"{task} ({table.metrics[task]})" for task in table.tasks), "average"]
    rows = [[row.label, *(_score(row.scores[task]) for task in table.tasks), _score(row.average)] for row in table.rows]
    floors = [f"{table.floors[task]:.4f}" if task in table.floors else MISSING for task in table.tasks]
    rows.append(["floor", *floors, MISSING])
    seeds = max((score.wanted for row in table.rows for score in row.scores.values() if score), default=0)
    caption = f"{table.title}: test, mean and standard deviation over {seeds} seed{'s' if seeds != 1 else ''}"
    if names.chosen_on(table.protocol) == "test":
        caption += f" ({names.OPTIMISTIC})"
    grid = Grid(caption, tuple(header), tuple(map(tuple, rows)), table.key)
    return turned(grid, "task") if table.turned else grid


def _score(score: Score | None) -> str:
    if score is None:
        return MISSING
    spread = "" if score.deviation is None else f" ± {score.deviation:.4f}"
    lacks = "" if score.is_whole else f" ({len(score.by_seed)} of {score.wanted} seeds)"
    return f"{score.mean:.4f}{spread}{lacks}"


def turned(grid: Grid, corner: str) -> Grid:
    """Rows as columns."""
    columns = list(zip(grid.header, *grid.rows, strict=True))
    return replace(grid, header=(corner, *columns[0][1:]), rows=tuple(columns[1:]))


def paper_scores(table: ScoreTable) -> Iterator[Block]:
    """The paper's table, as printed, with what does not agree in it."""
    if table.paper is None:
        return
    printed = paper_numbers().tables[table.paper]
    tasks = [task for task in table.tasks if task in printed.tasks]
    rows = [(model, *(f"{printed.cell(model, task).value:.3f}" for task in (*tasks, None))) for model in printed.models]
    grid = Grid(
        f"Table {table.paper} of the paper, as printed: {printed.caption}", ("model", *tasks, "average"), tuple(rows)
    )
    yield turned(grid, "task") if table.turned else grid
    yield from (Paragraph(note) for note in {printed.note, *(cell.note for cell in printed.cells)} - {""})


def gains(table: ScoreTable, found: TableGains) -> Grid:
    """Differences from the baseline, in points, with the adjusted interval and p."""
    rows = []
    for row in table.rows:
        if row.label != found.baseline:
            rows.append([row.label, *(gain(found.gains.get((row.label, task))) for task in table.tasks)])
    caption = f"{table.title}: points over {found.baseline}, adjusted 95 % interval, adjusted p"
    grid = Grid(caption, ("model", *table.tasks), tuple(map(tuple, rows)), f"{table.key}-gains")
    return turned(grid, "task") if table.turned else grid


def gain(found: Adjusted | None) -> str:
    """A gain in points, with its verdict in a sign: no colour is needed to read it."""
    if found is None:
        return MISSING
    points = 100 * found.difference.difference
    return f"{MARKS[found.verdict]} {points:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}] p {found.p:.3f}"


def matrix(group: Relations) -> Grid:
    """The figure in numbers: a row trains with the column's task, which gains or loses."""
    rows = [
        (source, *("" if source == target else gain(group.gains.get((source, target))) for target in group.tasks))
        for source in group.tasks
    ]
    caption = f"{group.domain}: what training with the row's task does to the column's, in points, adjusted"
    return Grid(caption, ("with", *group.tasks), tuple(rows), f"figure2-{group.domain}")


def labels(found: Iterable[Adjusted]) -> list[str]:
    """What must be said beside gains, each once."""
    return list(dict.fromkeys(label for one in found if (label := one.difference.label)))
