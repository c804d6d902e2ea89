"""The paper's numbers beside a study's own: scores by the paper's metrics, and gains, which compare better."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

from mtscale import names
from mtscale.runs import RunDirectory, is_finished
from mtscale.study import text
from mtscale.study.document import Block, Grid, Paragraph
from mtscale.study.paper_numbers import Table as PaperTable
from mtscale.study.paper_numbers import paper_numbers
from mtscale.study.plan import Cell, Plan
from mtscale.study.tables import Score, ScoreTable, average
from mtscale.tasks import Kind

# The paper scores entities as conlleval does; relations by micro F1, pairs by Pearson and accuracy, as here.
PAPER_TAGGING = "conlleval_f1"
CAUTION = (
    "Ours / the paper's. The paper's encoders are of the size of BERT-base and trained as its section 4.2 says. Its "
    "text does not say how the epoch was chosen, and its authors' code chooses it on test (optimistic). Entities are "
    "scored here as there, by conlleval."
)

# Scores by task, None being the average over them; a score is None while its runs are missing.
Ours = Mapping[str | None, float | None]
Theirs = Mapping[str | None, float]


def blocks(plan: Plan, table: ScoreTable, runs: Path) -> Iterator[Block]:
    """The grids under a table that names one of the paper's."""
    if table.paper is None:
        return
    printed = paper_numbers().tables[table.paper]
    models = {row.label: row.paper or row.label for row in plan.study.tables[table.key].rows}
    shown = {label: model for label, model in models.items() if model in printed.models}
    tasks = [task for task in table.tasks if task in printed.tasks]
    if not tasks:
        return
    ours = {label: _scores(plan, table, label, tasks, runs) for label in shown}
    theirs = {label: _theirs(printed, shown[label], tasks) for label in shown}
    header = ("model", *tasks, "average")
    rows = [(_called(label, shown), *_side_by_side(ours[label], theirs[label])) for label in shown]
    caption = f"Beside Table {table.paper} of the paper ({printed.caption.rstrip('.')}): ours / the paper's"
    if len(tasks) < len(printed.tasks):
        caption += f", the average of both over these {len(tasks)} tasks"
    caption += text.optimism(table.protocol)
    yield _turned(Grid(caption, header, tuple(rows), f"{table.key}-paper"), table)
    if table.baseline in shown and len(shown) > 1:
        yield _turned(_gains(table, table.baseline, header, shown, ours, theirs), table)
    yield Paragraph(CAUTION)
    yield from map(Paragraph, _notes(table.paper))


def _scores(plan: Plan, table: ScoreTable, label: str, tasks: list[str], runs: Path) -> Ours:
    """A row's means over seeds by the paper's metrics."""
    found = [_score(plan.cells[table.key][label][task], _metric(plan, task), runs) for task in tasks]
    means = [score.mean if score else None for score in (*found, average(found))]
    return dict(zip((*tasks, None), means, strict=True))


def _metric(plan: Plan, task: str) -> str:
    resolved = next(one for one in plan.study.tasks if one.name == task).resolve(None, Path())
    return PAPER_TAGGING if resolved.kind is Kind.TAGGING else resolved.metric


def _score(cell: Cell, metric: str, runs: Path) -> Score | None:
    finished = {seed: RunDirectory(runs / name) for seed, name in cell.runs.items() if is_finished(runs / name)}
    values = {seed: _kept(run, cell.task, metric) for seed, run in finished.items()}
    by_seed = {seed: value for seed, value in values.items() if value is not None}
    return Score(by_seed, len(cell.runs)) if by_seed else None


def _kept(run: RunDirectory, task: str, metric: str) -> float | None:
    """A metric on test at the epoch that was kept."""
    name = names.metric("test", task, metric)
    kept: float | None = None
    by_epoch = {}
    for event in run.events():
        kept = event.values.get(names.BEST_EPOCH, kept)
        if event.kind == "test" and name in event.values:
            by_epoch[event.epoch] = event.values[name]
    return None if kept is None else by_epoch.get(int(kept))


def _called(label: str, shown: Mapping[str, str]) -> str:
    return label if shown[label] == label else f"{label} / {shown[label]}"


def _side_by_side(ours: Ours, theirs: Theirs, spelling: str = ".3f") -> list[str]:
    cells = []
    for task, value in theirs.items():
        own = ours[task]
        cells.append(f"{text.MISSING if own is None else format(own, spelling)} / {value:{spelling}}")
    return cells


def _theirs(printed: PaperTable, model: str, tasks: list[str]) -> Theirs:
    """A row as printed; of the average the mean of the tasks that are shared, where these are not all."""
    cells: dict[str | None, float] = {task: printed.cell(model, task).value for task in tasks}
    whole = len(tasks) == len(printed.tasks)
    return {**cells, None: printed.cell(model, None).value if whole else statistics.fmean(cells.values())}


def _gains(
    table: ScoreTable,
    baseline: str,
    header: tuple[str, ...],
    shown: Mapping[str, str],
    ours: Mapping[str, Ours],
    theirs: Mapping[str, Theirs],
) -> Grid:
    """What each row gains over the baseline, here and in the paper."""
    rows = []
    for label in shown:
        if label != baseline:
            gained = {task: _points(value, ours[baseline][task]) for task, value in ours[label].items()}
            printed = {task: 100 * (value - theirs[baseline][task]) for task, value in theirs[label].items()}
            rows.append((_called(label, shown), *_side_by_side(gained, printed, "+.1f")))
    caption = f"Points over {_called(baseline, shown)}: ours / the paper's"
    return Grid(caption + text.optimism(table.protocol), header, tuple(rows), f"{table.key}-paper-gains")


def _points(value: float | None, baseline: float | None) -> float | None:
    return None if value is None or baseline is None else 100 * (value - baseline)


def _turned(grid: Grid, table: ScoreTable) -> Grid:
    return text.turned(grid, "task") if table.turned else grid


def _notes(number: int) -> Iterator[str]:
    """What does not agree in the paper where it is about a table."""
    for one in paper_numbers().inconsistencies:
        if f"Table {number}" in f"{one.place} {one.text}":
            yield f"The paper, {one.place}: {one.text}"
