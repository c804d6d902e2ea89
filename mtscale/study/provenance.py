"""What a report rests on: commands, versions, hashes of recipes and data, looks at test, hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mtscale import names
from mtscale.durations import duration_text
from mtscale.errors import EXIT_FINISHED
from mtscale.runs import RunDirectory, RunRecord, is_finished
from mtscale.study.document import Block, Grid, Heading, Lines, Paragraph
from mtscale.study.plan import Plan
from mtscale.study.store import StudyFolder
from mtscale.training import looks


def blocks(plan: Plan, folder: StudyFolder, commands: Sequence[str]) -> Iterator[Block]:
    """The sections."""
    records = {
        name: RunDirectory(folder.runs / name).record
        for unit in plan.units
        for name in unit.runs
        if is_finished(folder.runs / name)
    }
    yield from _looks(plan, folder, records)
    yield Heading("How to make it again")
    yield Lines(tuple(commands))
    yield from _versions(records)
    yield from _runs(plan, folder, records)


def _looks(plan: Plan, folder: StudyFolder, records: dict[str, RunRecord]) -> Iterator[Block]:
    """How often each test set was looked at by these runs, and from this folder at all."""
    ids = {record.id for record in records.values()}
    found = looks.read(folder.runs)
    own = Counter(look.task for look in found if look.id in ids)
    every = Counter(look.task for look in found)
    rows = [(task.name, str(own[task.name]), str(every[task.name])) for task in plan.study.tasks]
    yield Heading("Looks at test")
    often = {"dev": "once, with the epoch chosen on dev", "test": "after each epoch"}
    said = "; ".join(f"{often[names.chosen_on(protocol)]} (protocol {protocol})" for protocol in plan.study.protocols)
    yield Paragraph(f"Each run scores each of its test sets {said}. Each look is written down before the gold is read.")
    yield Grid("Looks at test", ("task", "by this study's runs", "by all runs of the folder"), tuple(rows))


def _versions(records: dict[str, RunRecord]) -> Iterator[Block]:
    versions = {tuple(sorted(record.versions.items())) for record in records.values()}
    commits = sorted({record.git for record in records.values() if record.git})
    hosts = len({record.host for record in records.values()})
    lines = [", ".join(f"{name} {version}" for name, version in found) for found in sorted(versions)]
    lines += [f"commit of mtscale: {commit}" for commit in commits]
    if records:
        yield Heading("Versions", 3)
        yield Lines((*lines, f"{hosts} machine{'s' if hosts > 1 else ''}"))


def _runs(plan: Plan, folder: StudyFolder, records: dict[str, RunRecord]) -> Iterator[Block]:
    outcomes = folder.outcomes()
    took = {name: one.seconds for name, one in outcomes.items() if one.code == EXIT_FINISHED}
    rows = []
    for unit in plan.units:
        known = [records[name] for name in unit.runs if name in records]
        hashes = sorted({value for record in known for value in record.data_hashes.values()})
        seconds = duration_text(took[unit.name]) if unit.name in took else "-"
        recipe_hash = known[0].recipe_hash if known else "-"
        rows.append((unit.name, ", ".join(record.id for record in known), recipe_hash, " ".join(hashes), seconds))
    yield Heading("Runs", 3)
    hours = sum(took.get(unit.name, 0.0) for unit in plan.units) / 3600
    yield Grid(f"Units, {hours:.2f} hours in all", ("unit", "runs", "recipe", "data", "took"), tuple(rows))
