"""How far a score of protocol ``paper`` is from that of ``clean``, and how much of it comes of choosing on test."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtscale import names
from mtscale.runs import RunDirectory, is_finished
from mtscale.study.document import Block, Grid, Heading, Paragraph
from mtscale.study.plan import Cell, Plan
from mtscale.study.selection_gap import SelectionGap, selection_gap
from mtscale.study.tables import Finished, Score
from mtscale.study.text import MISSING, points

EXPLANATION = (
    "Selection gap: a task's best epoch on test less the last epoch of the same run, which is what choosing on test "
    "adds. Data and procedure: the last epoch less the same model's score under protocol clean; it trains on dev too, "
    "and as the authors' code does. Both together are the distance of the two protocols. A table shows the epoch that "
    "was kept, the best of a run's tasks together, so of several tasks one's own best epoch may lie above it. The "
    "scores themselves stand in tables of their own and are not compared."
)


def blocks(plan: Plan, runs: Path, finished: Finished) -> Iterator[Block]:
    """The section; nothing where no table has a protocol that chooses on test."""
    keys = [key for key in plan.study.tables if names.chosen_on(plan.study.protocol_of(key)) == "test"]
    if not keys:
        return
    yield Heading("Selection gaps")
    rows, runs_seen = [], []
    for key in keys:
        for label, cells in plan.cells[key].items():
            for task, cell in cells.items():
                gaps = _gaps(cell, runs)
                clean = finished.score(Cell(task, cell.clean), names.CLEAN)
                rows.append((key, label, task, *_parts(cell, gaps, clean)))
                runs_seen += [(name, gap) for name, gap in gaps.items()]
    header = ("table", "model", "task", "selection gap", "data and procedure", "distance to clean")
    yield Paragraph(EXPLANATION)
    yield Grid(f"In points, mean over seeds ({names.OPTIMISTIC})", header, tuple(rows), "selection-gaps")
    if runs_seen:
        yield _by_run(runs_seen)


def _gaps(cell: Cell, runs: Path) -> dict[str, SelectionGap]:
    """Of the runs of a cell that are finished, by seed."""
    found = {}
    for name in cell.runs.values():
        if is_finished(runs / name):
            found[name] = next(gap for gap in selection_gap(RunDirectory(runs / name)) if gap.task == cell.task)
    return found


def _parts(cell: Cell, gaps: dict[str, SelectionGap], clean: Score | None) -> tuple[str, str, str]:
    """Gap, rest and their sum, in points; the rest of whole sets of seeds alone."""
    if not gaps:
        return MISSING, MISSING, MISSING
    gap = statistics.fmean(one.gap for one in gaps.values())
    final = statistics.fmean(one.final for one in gaps.values())
    if clean is None or not clean.is_whole or len(gaps) < len(cell.runs):
        return points(gap), MISSING, MISSING
    return points(gap), points(final - clean.mean), points(gap + final - clean.mean)


def _by_run(found: Sequence[tuple[str, SelectionGap]]) -> Grid:
    rows = [
        (
            name,
            gap.task,
            f"{gap.best:.4f} (epoch {gap.best_epoch})",
            f"{gap.final:.4f} (epoch {gap.final_epoch})",
            points(gap.gap),
        )
        for name, gap in found
    ]
    header = ("run", "task", "best on test", "last epoch", "gap")
    return Grid(f"Selection gaps run by run ({names.OPTIMISTIC})", header, tuple(rows), folded=True)
