"""The report of a study: tables, gains, graph, curves, looks at test, and everything needed to make it again.

What is not finished is left out and said so; the report of a study that is half done is as honest as the whole one.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtscale import names
from mtscale.corpora.example import SPLITS
from mtscale.corpora.stats import PAPER_DIFFERENCES, PAPER_TABLE_1, UNITS, split_stats
from mtscale.errors import ConfigError, MtscaleError
from mtscale.metrics.significance import CONDITIONAL, FEW_SEEDS
from mtscale.runs import RunDirectory
from mtscale.states import State
from mtscale.study import affinities, beside_paper, curves, data_check, figure, optimism, provenance, text
from mtscale.study.differences import RULE
from mtscale.study.document import Block, Grid, Heading, Paragraph, Picture, as_html, as_latex, as_markdown
from mtscale.study.gains import Gains
from mtscale.study.plan import Plan, Unit, size_text
from mtscale.study.spec import CORPORA, FIGURE
from mtscale.study.store import Outcome, StudyFolder
from mtscale.study.tables import Finished, ScoreTable, in_folder, score_tables


@dataclass(frozen=True)
class _Place:
    """What the parts of a report are made from, and where pictures go."""

    plan: Plan
    folder: StudyFolder
    out: Path
    study_folder: Path
    data_root: Path | None


def write(plan: Plan, folder: StudyFolder, out: Path, study_folder: Path, data_root: Path | None) -> list[Path]:
    """Write ``report.html`` (which holds its pictures), ``report.md``, ``tables.tex`` and the pictures; their paths.

    Raises:
        ConfigError: they cannot be written.
    """
    try:
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Built aside, so that a failure leaves the report before it.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".report-") as aside:
            place = _Place(plan, folder, Path(aside), study_folder, data_root)
            blocks = list(_blocks(place))
            (place.out / "report.html").write_text(as_html(blocks), encoding="utf-8")
            (place.out / "report.md").write_text(as_markdown(blocks), encoding="utf-8")
            grids = [block for block in blocks if isinstance(block, Grid) and block.label]
            (place.out / "tables.tex").write_text(as_latex(grids), encoding="utf-8")
            made = sorted(path.name for path in place.out.iterdir())
            out.mkdir(mode=0o700, exist_ok=True)
            for name in made:
                shutil.move(place.out / name, out / name)
    except OSError as error:
        raise ConfigError(f"{out}: cannot write the report: {error.strerror}; name another folder") from None
    return [out / name for name in made]


def _blocks(place: _Place) -> Iterator[Block]:
    plan, runs = place.plan, place.folder.runs
    yield Heading(plan.study.title or plan.study.name, 1)
    yield from _summary(place)
    yield from _reading(plan)
    yield from _corpora(place)
    yield from data_check.blocks(plan, runs, place.study_folder, place.data_root)
    finished = Finished(in_folder(runs))
    gains = Gains(plan, runs, place.data_root)
    for table in score_tables(plan, finished):
        yield from _table(place, table, gains)
    if plan.edges:
        yield from _figure(place, gains)
    yield from curves.blocks(plan, runs, place.out)
    yield from optimism.blocks(plan, runs, finished)
    yield from provenance.blocks(plan, place.folder)


def _summary(place: _Place) -> Iterator[Block]:
    plan, folder = place.plan, place.folder
    states = [folder.state_of(unit) for unit in plan.units]
    done = states.count("finished")
    if plan.study.scope:
        yield Paragraph(" ".join(plan.study.scope.split()))
    yield Paragraph(
        f"{done} of {len(states)} units are finished"
        + ("." if done == len(states) else "; what is not stands as a dash, and its comparisons are left out.")
    )
    yield Paragraph(size_text(plan))
    for protocol in plan.study.protocols:
        if names.chosen_on(protocol) == "test":
            yield Paragraph(f"Protocol {protocol} is {names.OPTIMISTIC}. Its scores are too high.")
    outcomes = folder.outcomes()
    broken = [
        (unit.name, _why(folder, unit, outcomes.get(unit.name)))
        for unit, state in zip(plan.units, states, strict=True)
        if state == "failed"
    ]
    if broken:
        yield Grid("Units that failed", ("unit", "why"), tuple(broken), words=True)


def _why(folder: StudyFolder, unit: Unit, outcome: Outcome | None) -> str:
    """What went wrong: a run's own word first, since who was killed has left no outcome of this attempt."""
    runs = [RunDirectory(folder.runs / name) for name in unit.runs if (folder.runs / name).is_dir()]
    said = [run.status.message or run.state() for run in runs if run.state() in {State.FAILED, State.LOST}]
    said += [outcome.message] if outcome else []
    return next((line for text_ in said for line in text_.splitlines() if line.strip()), "")


def _reading(plan: Plan) -> Iterator[Block]:
    """What is true of every table, said once."""
    yield Heading("How to read the tables")
    seeds = f"mean ± standard deviation over {len(plan.study.seeds)} seeds" if len(plan.study.seeds) > 1 else "one seed"
    yield Paragraph(
        f"Scores are of test, from 0 to 1: {seeds}. The floor is what a constant or a dictionary of the training text "
        f"reaches; {text.AT_FLOOR} marks a score that is not above it. Gains are differences in points of 100."
    )
    yield Paragraph(f"{RULE}.")
    if len(plan.study.seeds) < FEW_SEEDS:
        yield Paragraph(
            f"With fewer than {FEW_SEEDS} seeds all this is {CONDITIONAL}: intervals and p-values speak of other "
            "documents, not of other seeds."
        )


def _called(key: str) -> str:
    """What a heading calls a part: ``Table 2`` for ``table2``, and by its key what a study calls otherwise."""
    numbered = re.fullmatch(r"(table|figure)(\d+)", key)
    return f"{numbered[1].capitalize()} {numbered[2]}" if numbered else f"Table {key}"


def _corpora(place: _Place) -> Iterator[Block]:
    """Table 1: what is in each split, in the units of the paper."""
    study = place.plan.study
    yield Heading(f"{_called(CORPORA)}: {study.corpora}")
    rows = []
    for one in study.tasks:
        task = one.resolve(place.data_root, place.study_folder).whole
        try:
            counts = [f"{split_stats(task, split, place.data_root).count:,}" for split in SPLITS]
        except MtscaleError as error:
            yield Paragraph(f"Not counted: {error}.")
            counts = ["-"] * len(SPLITS)
        paper = " / ".join(f"{count:,}" for count in PAPER_TABLE_1.get(task.name, ()))
        rows.append(
            (task.name, task.kind.value, task.metric, task.domain, UNITS[task.kind], *counts, paper or text.MISSING)
        )
    header = ["task", "kind", "metric", "domain", "counted", *SPLITS, "paper: train / dev / test"]
    if not any(task.name in PAPER_TABLE_1 for task in study.tasks):
        header, rows = header[:-1], [row[:-1] for row in rows]
    yield Grid(f"{study.corpora}: all that is in them", tuple(header), tuple(rows), CORPORA)
    for name in [task.name for task in study.tasks if task.name in PAPER_DIFFERENCES]:
        yield Paragraph(f"{name}, ours and the paper's: {PAPER_DIFFERENCES[name]}.")
    yield Paragraph("How much of train was used is said above.")


def _table(place: _Place, table: ScoreTable, gains: Gains) -> Iterator[Block]:
    yield Heading(f"{_called(table.key)}: {table.title}")
    yield text.scores(table)
    yield from beside_paper.blocks(place.plan, table, place.folder.runs)
    try:
        found = gains.of_table(table)
    except MtscaleError as error:
        yield Paragraph(f"Not compared: {error}.")
        return
    if found and found.gains:
        yield text.gains(table, found)
        yield Paragraph(text.verdicts(found.gains.values()))


def _figure(place: _Place, gains: Gains) -> Iterator[Block]:
    study = place.plan.study
    assert study.figure is not None
    yield Heading(f"{_called(FIGURE)}: {study.figure.title}")
    try:
        groups = gains.relations()
    except MtscaleError as error:
        yield Paragraph(f"Not compared: {error}.")
        return
    for kind in ("png", "svg"):
        figure.draw_graphs(groups, place.out / f"{FIGURE}.{kind}", study.protocol)
    svg = (place.out / f"{FIGURE}.svg").read_text(encoding="utf-8")
    yield Picture(study.figure.title, f"{FIGURE}.png", svg)
    yield Paragraph(figure.RULE)
    for group in groups:
        yield text.matrix(group, study.protocol)
    known = [gain for group in groups for gain in group.gains.values() if gain is not None]
    yield Paragraph(text.verdicts(known))
    yield from affinities.blocks(place.plan, place.folder.runs, groups)
