"""What a report rests on: commands, versions, hashes of recipes, encoders and data, looks at test, hours."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtscale import names
from mtscale.durations import duration_text
from mtscale.errors import EXIT_FINISHED, ConfigError, MtscaleError
from mtscale.inputs.private import file_hash
from mtscale.model.encoder import WEIGHT_FILES, locate
from mtscale.run_summary import perplexities
from mtscale.runs import RunDirectory, RunRecord, is_finished
from mtscale.study.document import Block, Grid, Heading, Lines, Paragraph
from mtscale.study.plan import Plan
from mtscale.study.store import Outcome, StudyFolder
from mtscale.training import looks

# Options that say where things lie on this machine.
PLACES = ("--runs", "--data")


def blocks(plan: Plan, folder: StudyFolder) -> Iterator[Block]:
    """The sections."""
    records = {
        name: RunDirectory(folder.runs / name).record
        for unit in plan.units
        for name in unit.runs
        if is_finished(folder.runs / name)
    }
    yield from _looks(plan, folder, records)
    yield from _commands(folder)
    yield from _versions(records)
    yield from _encoders(plan, folder)
    yield from _runs(plan, folder, records)


def _looks(plan: Plan, folder: StudyFolder, records: Mapping[str, RunRecord]) -> Iterator[Block]:
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


def _commands(folder: StudyFolder) -> Iterator[Block]:
    """As they were given, but for where things lie on this machine."""
    planned, machine = folder.planned_by()
    study = planned[0] if planned else folder.name
    try:
        run = [study, *_without_places(folder.command()[1:])]
    except ConfigError:
        run = [study]
    lines = [("plan", planned or [study]), ("run", run), ("report", [study, *_parts(planned)])]
    yield Heading("How to make it again")
    yield Lines(tuple(f"mtscale study {command} {shlex.join(words)}" for command, words in lines))
    yield Paragraph(
        "Corpora are looked up under --data or MTSCALE_DATA; mtscale corpora list says who gives them out. Each unit's "
        "recipe lies in the study's folder recipes: mtscale train --recipe FILE --seed N trains it alone."
        + (f" Planned for this machine: {machine}." if machine else "")
    )


def _without_places(words: Sequence[str]) -> list[str]:
    before = ["", *words]
    return [word for one, word in zip(before, words, strict=False) if word not in PLACES and one not in PLACES]


def _parts(words: Sequence[str]) -> list[str]:
    return [word for one, word in zip(["", *words], words, strict=False) if "--only" in (word, one)]


def _versions(records: Mapping[str, RunRecord]) -> Iterator[Block]:
    versions = {tuple(sorted(record.versions.items())) for record in records.values()}
    commits = sorted({record.git for record in records.values() if record.git})
    hosts = len({record.host for record in records.values()})
    computed = sorted({(record.ds_config, str(record.params.get("ds.precision", ""))) for record in records.values()})
    lines = [", ".join(f"{name} {version}" for name, version in found) for found in sorted(versions)]
    lines += [f"commit of mtscale: {commit}" for commit in commits]
    lines += [f"DeepSpeed config {Path(config).name}, precision {precision}" for config, precision in computed]
    if records:
        yield Heading("Versions", 3)
        yield Lines((*lines, f"{hosts} machine{'s' if hosts > 1 else ''}"))


def _encoders(plan: Plan, folder: StudyFolder) -> Iterator[Block]:
    """The weights that training started from, of each encoder that a finished run has used."""
    trained = [unit for unit in plan.units if unit.tasks and is_finished(folder.runs / unit.name)]
    rows = []
    for encoder, name in {unit.encoder: unit.recipe.encoder.name for unit in trained}.items():
        source = plan.study.encoders[encoder]
        told = source if isinstance(source, str) else f"pretrained by {source.pretrain}"
        rows.append((encoder, told, _weights_hash(name)))
    if rows:
        header = ("encoder", "source", "sha256 of the weights")
        yield Heading("Encoders", 3)
        yield Grid("What training started from", header, tuple(rows), words=True)
    yield from _pretraining(plan, folder)


def _pretraining(plan: Plan, folder: StudyFolder) -> Iterator[Block]:
    """How well the encoders that the study has made itself know text that they were not trained on."""
    made = [unit for unit in plan.units if unit.kind == "pretrain" and is_finished(folder.runs / unit.name)]
    rows = []
    for unit in made:
        found = perplexities(RunDirectory(folder.runs / unit.name))
        told = ("-" if value is None else f"{value:.1f}" for value in (found.at_start, found.kept, found.unigram))
        rows.append((unit.encoder, *told))
    if rows:
        header = ("encoder", "at the start", "as kept", "of the unigram model")
        yield Grid("Perplexity of held-out text, of encoders pretrained here: lower is better", header, tuple(rows))


def _weights_hash(name: str) -> str:
    """Of the first file of weights; of an encoder on the hub nothing is downloaded for it."""
    try:
        place = Path(locate(name))
        file = next(path for weights in WEIGHT_FILES if (path := place / weights).is_file())
        return file_hash(file)
    except (MtscaleError, OSError, StopIteration):
        return "not in a folder"


def _runs(plan: Plan, folder: StudyFolder, records: Mapping[str, RunRecord]) -> Iterator[Block]:
    attempts = folder.attempts()
    took = {one.unit: one.seconds for _, one in attempts if one.code == EXIT_FINISHED}
    rows = []
    for unit in plan.units:
        known = [records[name] for name in unit.runs if name in records]
        hashes = sorted({value for record in known for value in record.data_hashes.values()})
        seconds = duration_text(took[unit.name]) if unit.name in took else "-"
        recipe_hash = known[0].recipe_hash if known else "-"
        rows.append((unit.name, ", ".join(record.id for record in known), recipe_hash, " ".join(hashes), seconds))
    yield Heading("Runs", 3)
    own = {unit.name for unit in plan.units}
    spent = [(time, one) for time, one in attempts if one.unit in own]
    hours = sum(one.seconds for _, one in spent) / 3600
    yield Paragraph(
        f"{len(records)} runs in {len(rows)} units took {hours:.2f} hours of work, several at once: "
        f"{_wall_seconds(spent) / 3600:.2f} hours by the clock."
    )
    header = ("unit", "runs", "recipe", "data", "took")
    yield Grid("Units with the hashes of their recipes and data", header, tuple(rows), words=True, folded=True)


def _wall_seconds(attempts: Sequence[tuple[float, Outcome]]) -> float:
    """The time in which at least one unit was trained."""
    total, until = 0.0, 0.0
    for start, end in sorted((time - one.seconds, time) for time, one in attempts):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
