"""What a report rests on: commands, versions, hashes of recipes, encoders and data, looks at test, hours."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mtscale import names
from mtscale.durations import duration_text
from mtscale.errors import ConfigError, MtscaleError
from mtscale.inputs.private import file_hash
from mtscale.model.encoder import WEIGHT_FILES, locate
from mtscale.run_summary import perplexities
from mtscale.runs import RunDirectory, RunRecord, is_finished
from mtscale.study import store
from mtscale.study.document import Block, Grid, Heading, Lines, Paragraph
from mtscale.study.plan import Plan
from mtscale.study.store import Outcome, StudyFolder
from mtscale.training import looks

# Options that say where things lie on this machine.
PLACES = ("--runs", "--data")

# An attempt is written down a little after its end, and clocks are set.
SLACK_SECONDS = 60.0

# When it ended, and how.
_Attempt = tuple[float, Outcome]


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
    attempts = _attempts(folder)
    # Only of what is finished: what else was tried has made no run that the report rests on.
    finished = [unit for unit in plan.units if all(name in records for name in unit.runs)]
    known = {
        unit.name: attempts.get(unit.name, [])
        for unit in finished
        if all(_covered(attempts.get(unit.name, []), records[name].created, folder.runs / name) for name in unit.runs)
    }
    took = {unit.name: "not known" for unit in finished}
    took |= {name: duration_text(_wall_seconds(own)) for name, own in known.items()}
    rows = []
    for unit in plan.units:
        of_unit = [records[name] for name in unit.runs if name in records]
        hashes = sorted({value for record in of_unit for value in record.data_hashes.values()})
        recipe_hash, ids = of_unit[0].recipe_hash if of_unit else "-", ", ".join(record.id for record in of_unit)
        rows.append((unit.name, ids, recipe_hash, " ".join(hashes), took.get(unit.name, "-")))
    yield Heading("Runs", 3)
    runs = sum(len(unit.runs) for unit in finished)
    yield Paragraph(_hours_text(runs, len(finished), list(known.values())))
    header = ("unit", "runs", "recipe", "data", "took")
    yield Grid("Units with the hashes of their recipes and data", header, tuple(rows), words=True, folded=True)


def _hours_text(runs: int, units: int, known: Sequence[Sequence[_Attempt]]) -> str:
    """What finished units took, by the attempts of each unit whose hours are known."""
    if not units:
        return "No unit is finished."
    text, unknown = f"{runs} runs in {units} units", units - len(known)
    if unknown:
        text += f". The hours of {unknown} of them are not known: trained elsewhere, or cut off without a record"
    if not known:
        return f"{text}."
    text += f". The other {len(known)}" if unknown else ""
    hours = sum(map(_wall_seconds, known)) / 3600
    clock = _wall_seconds([one for attempts in known for one in attempts]) / 3600
    return f"{text} took {hours:.2f} hours of work, several at once: {clock:.2f} hours by the clock."


def _attempts(folder: StudyFolder) -> Mapping[str, Sequence[_Attempt]]:
    """All that is written down of each unit: studies of one folder share units, which the first of them has trained."""
    found: dict[str, list[_Attempt]] = defaultdict(list)
    for study in store.planned(folder.runs):
        for time, one in StudyFolder(folder.runs, study).attempts():
            found[one.unit].append((time, one))
    return found


def _covered(attempts: Sequence[_Attempt], created: float, run: Path) -> bool:
    """Whether all that a run has recorded falls into the attempts, so that none was cut off or made elsewhere."""
    times = [created]
    with contextlib.suppress(FileNotFoundError):
        # Not by RunDirectory.events: what a resume took back was work, too.
        for line in (run / "events.jsonl").read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                times.append(float(json.loads(line)["time"]))
    spans = [(end - one.seconds - SLACK_SECONDS, end + SLACK_SECONDS) for end, one in attempts]
    return all(any(start <= time <= end for start, end in spans) for time in times)


def _wall_seconds(attempts: Sequence[_Attempt]) -> float:
    """The time in which at least one unit was trained."""
    total, until = 0.0, 0.0
    for start, end in sorted((time - one.seconds, time) for time, one in attempts):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
