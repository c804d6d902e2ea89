"""Pairs of mentions for several relation tasks at once, and documents with more of them than anyone waits for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import cast

import pytest

from mtscale.corpora.annotated import Document, Mention
from mtscale.corpora.example import Example, RelationExample
from mtscale.serving import annotate
from mtscale.serving.annotate import Annotated, Annotator
from mtscale.serving.predictor import Outcome, Predictor
from mtscale.serving.units import Unit
from mtscale.tasks import TASKS, Kind, Task

DISEASES = replace(TASKS["cdr-relation"], candidates="all")
GENES = replace(DISEASES, name="own-gene", arguments=("Chemical", "Gene"))


class Positive:
    """A predictor whose heads, those of a pair's types, answer their first class; ``read`` are the pairs read."""

    def __init__(self, *tasks: Task) -> None:
        self.tasks = tasks
        self.read: list[RelationExample] = []

    def of_kind(self, *kinds: Kind) -> list[Task]:
        return [task for task in self.tasks if task.kind in kinds]

    def predict(self, examples: Iterable[Example]) -> Iterator[Outcome]:
        for example in examples:
            assert isinstance(example, RelationExample)
            assert example.arguments is not None
            self.read.append(example)
            types = tuple(one.label for one in example.arguments)
            yield {
                task.name: {"id": example.id, "document": "d", "label": task.labels[0], "probabilities": [1.0, 0.0]}
                for task in self.tasks
                if task.arguments == types
            }


def look(predictor: Positive, text: str, *mentions: Mention) -> Annotated:
    unit = Unit("d", Document("d", text, len(text), mentions, ()), (), 1)
    (found,) = Annotator(cast("Predictor", predictor), "given").annotate([unit])
    return found


def pairs(found: Annotated) -> list[tuple[str, str, str]]:
    return [(one.task, one.first.label, one.second.label) for one in found.relations]


def test_a_pair_of_other_types_is_another_pair() -> None:
    text = "We gave iron to CF patients."
    iron, disease, gene = Mention(8, 12, "Chemical", ()), Mention(16, 18, "Disease", ()), Mention(16, 18, "Gene", ())
    found = look(Positive(DISEASES, GENES), text, iron, disease, gene)
    assert pairs(found) == [("cdr-relation", "Chemical", "Disease"), ("own-gene", "Chemical", "Gene")]


def test_a_pair_of_the_same_types_is_read_once() -> None:
    predictor = Positive(DISEASES, replace(DISEASES, name="again"))
    found = look(predictor, "Iron hurts.", Mention(0, 4, "Chemical", ()), Mention(5, 10, "Disease", ()))
    assert [one.task for one in found.relations] == ["cdr-relation", "again"]
    assert len(predictor.read) == 1


def test_a_crowd_of_pairs_is_told_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate, "MOST_PAIRS", 5)
    types = ["Chemical"] * 3 + ["Disease"] * 3 + ["Gene"]
    predictor = Positive(DISEASES, GENES)
    found = look(predictor, "a " * 7, *(Mention(2 * n, 2 * n + 1, type_, ()) for n, type_ in enumerate(types)))
    assert found.crowded == ["cdr-relation"]
    assert pairs(found) == [("own-gene", "Chemical", "Gene")] * 3
    assert len({id(one.text) for one in predictor.read}) == 1, "a copy of the sentence for every pair"
