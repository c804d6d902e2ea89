"""Predictions that are partly right, made of the gold of the packaged sample, and runs that stored them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from mtscale.corpora import catalogue
from mtscale.corpora.example import PairExample, SplitName, TaggedExample
from mtscale.corpora.tags import tag_words
from mtscale.predictions import Prediction, store
from mtscale.runs import RunDirectory, RunRecord, State
from mtscale.tasks import TASKS, Kind, Task


def noisy(task: Task, split: SplitName, right: float, seed: int) -> list[Prediction]:
    """Predictions of which about the part ``right`` is; of tagging and relations some are lost as well."""
    source = random.Random(f"{task.name} {seed}")
    if task.kind is Kind.TAGGING:
        return list(_sentences(task, split, right, source))
    made = []
    for item in catalogue.iterate_gold(task, split, None):
        one = Prediction(id=item.id, document=item.document)
        if task.kind is Kind.SIMILARITY:
            one["score"] = float(str(item.value)) * right + source.gauss(0, 1)
        else:
            known = item.value[0] if isinstance(item.value, tuple) else str(item.value)
            one["label"] = known if source.random() < right else source.choice(task.labels)
        if task.kind is not Kind.RELATION or source.random() < 0.95:
            made.append(one)
    return made


def _sentences(task: Task, split: SplitName, right: float, source: random.Random) -> list[Prediction]:
    made = []
    for one in catalogue.read_examples(task, split, None):
        assert isinstance(one, TaggedExample)
        words, at = [], one.offset
        for word in one.text.split(" "):
            words += [(at, at + len(word))] if word else []
            at += len(word) + 1
        tags = tag_words(words, [span for span in one.spans if source.random() < right])
        label = task.labels[0]
        tags = [tag if source.random() < 0.97 else source.choice([f"B-{label}", f"I-{label}", "X"]) for tag in tags]
        spans = [(span.start, span.end - (source.random() > right), span.label) for span in one.spans]
        spans = [span for span in spans if span[1] > span[0] and source.random() < 0.95]
        if source.random() < 0.97:
            made.append(Prediction(id=one.id, document=one.document, spans=spans, words=words, tags=tags))
    return made


def texts(task: Task, split: SplitName) -> list[str]:
    """The texts of a split, none of which may be printed."""
    found = []
    for one in catalogue.read_examples(task, split, None):
        found += [one.first, one.second] if isinstance(one, PairExample) else [one.text]
    return found


def run_with_predictions(
    runs: Path,
    name: str,
    right: float,
    *,
    seed: int = 1,
    recipe: str = "shared",
    tasks: Sequence[str] = ("cdr-disease", "cdr-relation"),
    splits: Sequence[SplitName] = ("dev", "test"),
    protocol: str = "clean",
    stage: str = "refine",
    hashes: str = "aaa-bbb-ccc",
    epochs: int = 3,
) -> RunDirectory:
    """The directory of a finished run with stored predictions; runs of one ``recipe`` differ only in their seed."""
    content = {
        "name": recipe,
        "protocol": protocol,
        "refine": {"epochs": epochs},
        "tasks": [{"name": task} for task in tasks],
    }
    record = RunRecord(
        name=name,
        family=name,
        group=f"{recipe}-{stage}" + (f"-{tasks[0]}" if stage == "finetune" else ""),
        recipe=recipe,
        stage=stage,
        seed=seed,
        protocol=protocol,
        tasks=tuple(tasks),
        ds_config="cpu",
        world_size=1,
        command=("train.py", "--recipe", f"{recipe}.toml"),
        versions={},
        data_hashes=dict.fromkeys(tasks, hashes),
        recipe_hash=recipe,
    )
    run = RunDirectory.create(runs / name, record, tomli_w.dumps(content), "{}\n", State.FINISHED)
    for task in tasks:
        for split in splits:
            path = run.path / "predictions" / f"{split}.{task}.jsonl"
            store(noisy(TASKS[task], split, right, seed + hash_of(name)), path)
    return run


def hash_of(name: str) -> int:
    """A number that is the same in every process."""
    return sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 10_000
