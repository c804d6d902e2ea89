from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from mtscale.corpora import catalogue
from mtscale.corpora.conformance import Fault, conformance_faults
from mtscale.corpora.example import SPLITS, Example, GoldValue, PairExample, RelationExample, Span, TaggedExample
from mtscale.tasks import SAMPLE_TASKS, TASKS, Task

SIMILARITY, INFERENCE = TASKS["cdr-similarity"], TASKS["evidence-inference"]
TAGGING, RELATION = TASKS["cdr-disease"], TASKS["cdr-relation"]
OTHER_KIND = "a value that is none for a task of kind"
MENTION = "a mention that is empty, below 0 or of a type that is none of the task's"
LABEL = INFERENCE.labels[0]

SCORED = PairExample("1", "1", "a", "b", 2.5)
CLASSED = PairExample("1", "1", "a", "b", LABEL)
RELATED = RelationExample("1", "d", "a to b", 10, (Span(10, 11, "A"), Span(15, 16, "B")), ("induces",))
TAGGED = TaggedExample("d.s0", "d", "a to b", 10, (Span(10, 14, "Disease"),), ((10, 11), (12, 14), (15, 16)))
MENTIONS = frozenset({Span(10, 14, "Disease"), Span(40, 45, "Disease")})
GOLD: Mapping[str, tuple[Task, Example, Mapping[str, GoldValue]]] = {
    "similarity": (SIMILARITY, SCORED, {"1": 2.5, "2": 0.0}),
    "inference": (INFERENCE, CLASSED, {"1": LABEL}),
    "relation": (RELATION, RELATED, {"1": ("induces",), "lost": ("induces",)}),
    "tagging": (TAGGING, TAGGED, {"d": MENTIONS, "e": frozenset()}),
}


@pytest.mark.parametrize("task", SAMPLE_TASKS, ids=lambda task: task.name)
def test_the_sample_conforms(task: Task) -> None:
    for split in SPLITS:
        gold = catalogue.read_gold(task, split, None)
        assert list(conformance_faults(task, catalogue.read_examples(task, split, None), gold)) == []


@pytest.mark.parametrize("kind", GOLD)
def test_good_examples_have_no_fault(kind: str) -> None:
    task, example, gold = GOLD[kind]
    assert list(conformance_faults(task, [example], gold)) == []
    if isinstance(example, RelationExample):
        assert list(conformance_faults(task, [replace(example, arguments=None)], gold)) == []
    if isinstance(example, TaggedExample):
        others = [replace(example, id="d.s1", text=" ", offset=16, spans=(), words=((16, 17),))]
        others.append(replace(example, id="e.s0", document="e", offset=0, spans=(), words=None))
        assert list(conformance_faults(task, [example, *others], gold)) == []


@pytest.mark.parametrize(
    ("kind", "changes", "what"),
    [
        ("inference", {"id": " "}, "examples with a blank or unprintable id"),
        ("inference", {"id": "1\n"}, "examples with a blank or unprintable id"),
        ("tagging", {"document": ""}, "examples with a blank or unprintable document id"),
        ("similarity", {"second": " "}, "examples with a blank text"),
        ("tagging", {"text": "", "spans": (), "words": None}, "examples with a blank text"),
        ("similarity", {"first": "\ud83d"}, "examples with half of a surrogate pair in a text"),
        ("similarity", {"label": float("nan")}, "a score that is not finite or out of the task's range"),
        ("similarity", {"label": 5.5}, "a score that is not finite or out of the task's range"),
        ("similarity", {"label": "x"}, "a value that is none for a task of kind similarity"),
        ("inference", {"label": "x"}, "a label that is none of the task's"),
        ("inference", {"label": 2.5}, "a value that is none for a task of kind inference"),
        ("relation", {"labels": ()}, "no label, one twice, or one that is none"),
        ("relation", {"labels": ("induces", "induces")}, "no label, one twice, or one that is none"),
        ("relation", {"labels": ("treats",)}, "no label, one twice, or one that is none"),
        ("relation", {"labels": ("induces", "none")}, "a negative label beside another"),
        ("relation", {"labels": ("none",)}, "examples that the gold lacks or gives another label"),
        ("relation", {"id": "3"}, "examples that the gold lacks or gives another label"),
        ("relation", {"offset": -1, "arguments": None}, "examples with an offset below 0"),
        ("relation", {"arguments": (Span(10, 11, "A"), Span(15, 17, "B"))}, "examples with an argument that is empty"),
        ("relation", {"arguments": (Span(9, 11, "A"), Span(15, 16, "B"))}, "examples with an argument that is empty"),
        ("relation", {"arguments": (Span(11, 11, "A"), Span(15, 16, "B"))}, "examples with an argument that is empty"),
        ("relation", {"arguments": (Span(10, 11, " "), Span(15, 16, "B"))}, "examples with an argument .* type"),
        ("tagging", {"spans": (Span(10, 17, "Disease"),)}, "examples with a mention that is empty or outside"),
        ("tagging", {"spans": (Span(10, 10, "Disease"),)}, "examples with a mention that is empty or outside"),
        ("tagging", {"spans": (Span(10, 14, "Gene"),)}, "examples with a mention of a type that is none"),
        ("tagging", {"spans": (Span(10, 13, "Disease"),)}, "examples with a mention, or of a document, that the gold"),
        ("tagging", {"document": "f", "spans": ()}, "examples with a mention, or of a document, that the gold"),
        ("tagging", {"words": ((10, 12), (11, 14))}, "examples with a word that is empty, outside"),
        ("tagging", {"words": ((10, 10),)}, "examples with a word that is empty, outside"),
        ("tagging", {"words": ((15, 17),)}, "examples with a word that is empty, outside"),
        ("tagging", {"words": ((9, 11),)}, "examples with a word that is empty, outside"),
    ],
)
def test_each_fault_of_an_example_is_found(kind: str, changes: dict[str, Any], what: str) -> None:
    task, example, gold = GOLD[kind]
    changed = replace(example, **changes)
    faults = list(conformance_faults(task, [changed], gold))
    assert any(re.search(what, fault.what) for fault in faults)
    assert {fault.id for fault in faults} == {"example 1" if what.endswith("unprintable id") else changed.id}


def test_ids_are_compared_and_sentences_in_order() -> None:
    task, example, gold = GOLD["tagging"]
    assert isinstance(example, TaggedExample)
    assert list(conformance_faults(task, [example, example], gold)) == [
        Fault("examples with an id that has occurred before", "d.s0"),
        Fault("sentences that begin before the end of the one before them", "d.s0"),
    ]


def test_examples_of_another_kind_are_found() -> None:
    for kind, (task, *_) in GOLD.items():
        other, gold = GOLD["tagging" if kind != "tagging" else "relation"][1:]
        what = f"examples that are none for a task of kind {kind}"
        assert Fault(what, other.id) in conformance_faults(task, [other], gold)


@pytest.mark.parametrize(
    ("kind", "id_", "value", "fault"),
    [
        (
            "similarity",
            "a",
            "x",
            Fault("entries of the gold with a value that is none for a task of kind similarity", "a"),
        ),
        ("inference", "\x07", LABEL, Fault("entries of the gold with a blank or unprintable id", "entry 1")),
        ("tagging", "d", frozenset({Span(3, 3, "Disease")}), Fault(f"entries of the gold with {MENTION}", "d")),
        ("tagging", "d", frozenset({Span(-1, 3, "Disease")}), Fault(f"entries of the gold with {MENTION}", "d")),
        ("tagging", "d", frozenset({Span(1, 3, "Gene")}), Fault(f"entries of the gold with {MENTION}", "d")),
        ("relation", "r", ("none", "induces"), Fault("entries of the gold with a negative label beside another", "r")),
    ],
)
def test_each_fault_of_the_gold_is_found(kind: str, id_: str, value: GoldValue, fault: Fault) -> None:
    assert list(conformance_faults(GOLD[kind][0], [], {id_: value})) == [fault]
