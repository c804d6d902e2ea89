"""What the data check says of the tasks of a study: no score says more than the data it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mtscale.checks.check import Check, Checked
from mtscale.checks.findings import Severity
from mtscale.errors import MtscaleError
from mtscale.inputs.encode import PieceVocabulary
from mtscale.model.encoder import load_tokenizer, longest_input
from mtscale.runs import is_finished
from mtscale.study.document import Block, Grid, Heading, Paragraph
from mtscale.study.plan import Plan
from mtscale.study.spec import EncoderSource


def blocks(plan: Plan, runs: Path, study_folder: Path, data_root: Path | None) -> Iterator[Block]:
    """The section: errors and warnings about the tasks that finished runs were trained on; notes are counted."""
    used = {task for unit in plan.units if is_finished(runs / unit.name) for task in unit.tasks}
    if not used:
        return
    yield Heading("Findings of the data check")
    try:
        checked = _check(plan, used, study_folder, data_root)
    except MtscaleError as error:
        yield Paragraph(f"Not checked: {error}.")
        return
    numbers = [(checked.number(severity), severity) for severity in Severity]
    counts = ", ".join(f"{number} {severity}{'s' if number != 1 else ''}" for number, severity in numbers)
    yield Paragraph(
        f"The whole corpora as they are now, in word pieces of the encoder {checked.encoder} (at most "
        f"{checked.max_pieces}): {counts}. Notes are left out here; mtscale corpora check has all, with ids."
    )
    rows = [
        (finding.severity.value, finding.task, finding.split, f"{finding.count:,}", finding.what)
        for finding in checked.findings
        if finding.severity is not Severity.NOTE
    ]
    if rows:
        header = ("severity", "task", "split", "count", "of what")
        yield Grid("Findings", header, tuple(rows), folded=len(rows) > 12, words=True)


def _check(plan: Plan, used: set[str], study_folder: Path, data_root: Path | None) -> Checked:
    trained = [unit for unit in plan.units if unit.tasks]
    given = [unit for unit in trained if not isinstance(plan.study.encoders[unit.encoder], EncoderSource)]
    encoder = (given or trained)[0].recipe.encoder
    tasks = tuple(one.resolve(data_root, study_folder).whole for one in plan.study.tasks if one.name in used)
    return Check(
        plan.study.name,
        tasks,
        data_root,
        encoder.name,
        encoder.max_pieces,
        PieceVocabulary.of(load_tokenizer(encoder.name)),
        longest=longest_input(encoder.name),
    ).run()
