from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.example import GoldItem, GoldValue, Span
from mtscale.errors import ConfigError
from mtscale.tasks import TASKS, Task

DISEASE, CLOSEST, SIMILARITY = TASKS["cdr-disease"], TASKS["cdr-relation"], TASKS["cdr-similarity"]
RELATION = replace(CLOSEST, candidates="all")
BOTH = replace(DISEASE, labels=("Disease", "Chemical"))


def document(
    text: str, marks: list[tuple[str, str, str]], *relations: tuple[str, str, str], title: int = 0
) -> Document:
    """A document whose mentions are given as (text at its first occurrence, type, concepts joined by |)."""
    mentions = []
    for part, type_, concepts in marks:
        start = text.index(part)
        mentions.append(Mention(start, start + len(part), type_, tuple(concepts.split("|")) if concepts else ()))
    return Document("7", text, title, tuple(mentions), tuple(Relation(*relation) for relation in relations))


def by_id(gold: Iterable[GoldItem]) -> dict[str, GoldValue]:
    return {item.id: item.value for item in gold}


TWO = document(
    "Lithium tremor. Then lead caused severe tremors and rigor in rats. All fine.",
    [
        ("Lithium", "Chemical", "C1"),
        ("tremor", "Disease", "D1"),
        ("lead", "Chemical", "C2"),
        ("severe tremors and rigor", "Disease", "D1|D2"),
    ],
    ("CID", "C1", "D1"),
    ("CID", "C2", "D2"),
    ("CID", "C1", "D2"),
    ("XYZ", "C9", "D9"),
    title=15,
)


def test_one_tagged_example_a_sentence() -> None:
    examples = list(annotated.tagged_examples(DISEASE, [TWO]))
    assert [(one.id, one.document, one.offset, one.text) for one in examples] == [
        ("7.s0", "7", 0, "Lithium tremor."),
        ("7.s1", "7", 16, "Then lead caused severe tremors and rigor in rats."),
        ("7.s2", "7", 67, "All fine."),
    ]
    assert [one.spans for one in examples] == [(Span(8, 14, "Disease"),), (Span(33, 57, "Disease"),), ()]
    assert all(one.words is None for one in examples)


def test_the_title_ends_a_sentence() -> None:
    joined = document("Effects of lead in rats", [("lead in", "Chemical", "C1")], title=15)
    assert [one.text for one in annotated.tagged_examples(BOTH, [joined])] == ["Effects of lead", "in rats"]


def test_of_nested_or_equal_spans_of_one_type_the_longest_is_kept() -> None:
    text = "acute renal failure today"
    marks = [("renal", "Chemical", ""), ("renal failure", "Disease", ""), ("acute renal failure", "Disease", "")]
    twice = [
        ("acute", "Disease", ""),
        *marks,
        ("acute renal failure", "Disease", "D5"),
        ("failure today", "Disease", ""),
    ]
    (example,) = annotated.tagged_examples(BOTH, [document(text, twice)])
    kept = (Span(0, 19, "Disease"), Span(6, 11, "Chemical"), Span(12, 25, "Disease"))
    assert example.spans == kept
    assert by_id(annotated.tagging_gold(BOTH, [document(text, twice)])) == {
        "7": {*kept, Span(0, 5, "Disease"), Span(6, 19, "Disease")}
    }


def test_a_mention_across_a_sentence_end_is_in_the_gold_alone() -> None:
    crossing = document("It has lead. Acetate is it.", [("lead. Acetate", "Chemical", "C1")])
    task = TASKS["cdr-chemical"]
    assert [one.spans for one in annotated.tagged_examples(task, [crossing])] == [(), ()]
    assert by_id(annotated.tagging_gold(task, [crossing])) == {"7": {Span(7, 20, "Chemical")}}
    assert by_id(annotated.tagging_gold(DISEASE, [crossing])) == {"7": frozenset()}


def test_relation_examples_are_the_pairs_of_a_sentence_with_distant_labels() -> None:
    first, second = annotated.relation_examples(RELATION, [TWO])
    assert (first.id, first.document, first.offset, first.text) == ("7.s0.0-7.8-14", "7", 0, "Lithium tremor.")
    assert first.arguments == (Span(0, 7, "Chemical"), Span(8, 14, "Disease"))
    assert second.id == "7.s1.21-25.33-57"
    assert first.labels == second.labels == ("induces",)
    assert by_id(annotated.relation_gold(RELATION, [TWO])) == {first.id: ("induces",), second.id: ("induces",)}


def test_only_the_tasks_relation_in_its_direction_makes_a_pair_positive() -> None:
    for relation in [("XYZ", "C1", "D1"), ("CID", "D1", "C1"), ("CID", "C1", "D2")]:
        one = document("lead tremor", [("lead", "Chemical", "C1"), ("tremor", "Disease", "D1")], relation)
        assert list(by_id(annotated.relation_gold(RELATION, [one])).values()) == [("none",)]


def test_overlapping_arguments_are_candidates_and_ids_are_unique() -> None:
    marks = [("lead poisoning", "Disease", "D1"), ("lead", "Chemical", "C1"), ("lead", "Chemical", "C2")]
    one = document("lead poisoning", marks, ("CID", "C2", "D1"))
    assert by_id(annotated.relation_gold(RELATION, [one])) == {"7.s0.0-4.0-14": ("induces",)}
    assert len(list(annotated.relation_examples(RELATION, [one]))) == 1


def test_the_closest_pair_of_mentions_stands_for_two_concepts() -> None:
    # Lead meets tremor three times (gaps 11, 1 and again 1) and the composite mention, which also names rigor, once.
    text = "Lead may cause tremor. The tremor lead gave. Tremor, iron lead. Lead or tremors and rigor."
    at = [(0, 4), (15, 21), (27, 33), (34, 38), (45, 51), (53, 57), (58, 62), (64, 68), (72, 89)]
    types = [("Chemical", "C1"), ("Disease", "D1"), ("Disease", "D1"), ("Chemical", "C1"), ("Disease", "D1")]
    types += [("Chemical", ""), ("Chemical", "C1"), ("Chemical", "C1"), ("Disease", "D1|D2")]
    mentions = tuple(
        Mention(*place, type_, tuple(filter(None, concepts.split("|"))))
        for place, (type_, concepts) in zip(at, types, strict=True)
    )
    one = Document("7", text, 0, mentions, (Relation("CID", "C1", "D2"),))
    assert by_id(annotated.relation_gold(CLOSEST, [one])) == {
        "7.s1.34-38.27-33": ("none",),
        "7.s2.53-57.45-51": ("none",),
        "7.s3.64-68.72-89": ("induces",),
    }
    assert annotated.uncovered_relations(CLOSEST, [one]) == (0, 1)


def test_without_a_relation_name_the_labels_are_the_relations() -> None:
    task = replace(RELATION, relation=None, labels=("none", "CID", "XYZ"))
    marks = [("lead", "Chemical", "C1"), ("tremor", "Disease", "D1")]
    one = document("lead tremor", marks, ("XYZ", "C1", "D1"), ("CID", "C1", "D1"), ("none", "C1", "D1"))
    assert list(by_id(annotated.relation_gold(task, [one])).values()) == [("CID", "XYZ")]


def test_arguments_of_one_type_give_each_pair_once_in_either_direction() -> None:
    task = replace(RELATION, arguments=("Chemical", "Chemical"))
    marks = [("lead", "Chemical", "C1"), ("iron", "Chemical", "C2"), ("zinc", "Chemical", "C3")]
    one = document("lead, iron, zinc", marks, ("CID", "C2", "C1"))
    gold = by_id(annotated.relation_gold(task, [one]))
    assert gold == {"7.s0.0-4.6-10": ("induces",), "7.s0.0-4.12-16": ("none",), "7.s0.6-10.12-16": ("none",)}
    assert annotated.uncovered_relations(task, [one]) == (0, 1)


def test_uncovered_relations_count_each_document_relation_once() -> None:
    # C1-D1 and C2-D2 meet in a sentence, C1-D2 does not, and XYZ is not the task's relation.
    assert annotated.uncovered_relations(RELATION, [TWO, replace(TWO, relations=TWO.relations * 2)]) == (2, 6)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (replace(RELATION, arguments=None), "cdr-relation: .*`arguments`"),
        (replace(RELATION, negative=None), "cdr-relation: .*`negative`"),
        (replace(RELATION, labels=("a", "b", "none")), "cdr-relation: `relation` names one relation .* found 2"),
        (SIMILARITY, "cdr-similarity: .*not similarity"),
    ],
)
def test_tasks_that_cannot_be_read_are_refused_at_once(task: Task, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        annotated.examples(task, [])
    with pytest.raises(ConfigError, match=message):
        annotated.gold(task, [])


@st.composite
def random_document(draw: st.DrawFn) -> Document:
    text = "".join(
        draw(st.lists(st.sampled_from(["Lead ", "rigor. ", "A tremor? ", "in (5) "]), min_size=1, max_size=12))
    )
    mentions = []
    for start in draw(st.lists(st.integers(0, len(text) - 1), max_size=8)):
        end = draw(st.integers(start + 1, min(len(text), start + 20)))
        concepts = tuple(draw(st.lists(st.sampled_from("123"), max_size=2)))
        mentions.append(Mention(start, end, draw(st.sampled_from(["Chemical", "Disease"])), concepts))
    pairs = draw(st.lists(st.tuples(st.sampled_from("123"), st.sampled_from("123")), max_size=3))
    relations = tuple(Relation("CID", first, second) for first, second in pairs)
    return Document("7", text, draw(st.integers(0, len(text))), tuple(mentions), relations)


@settings(deadline=None, max_examples=200)
@given(one=random_document())
def test_examples_agree_with_the_document_and_the_gold(one: Document) -> None:
    gold = by_id(annotated.tagging_gold(BOTH, [one]))["7"]
    assert isinstance(gold, frozenset)
    assert gold == {Span(mention.start, mention.end, mention.type) for mention in one.mentions}
    for tagged in annotated.tagged_examples(BOTH, [one]):
        end = tagged.offset + len(tagged.text)
        assert one.text[tagged.offset : end] == tagged.text
        inside = {span for span in gold if tagged.offset <= span.start and span.end <= end}
        assert set(tagged.spans) <= inside
        for lost in inside - set(tagged.spans):
            assert any(
                kept.start <= lost.start and lost.end <= kept.end and kept.label == lost.label for kept in tagged.spans
            )
    related = {(relation.first, relation.second) for relation in one.relations}
    examples = list(annotated.relation_examples(RELATION, [one]))
    closest = list(annotated.relation_examples(CLOSEST, [one]))
    assert [example for example in examples if example in closest] == closest
    assert len({example.id for example in examples}) == len(examples)
    found = set()
    for example in examples:
        first, second = (
            {c for m in one.mentions if Span(m.start, m.end, m.type) == argument for c in m.concepts}
            for argument in example.arguments
        )
        shared = {(a, b) for a in first for b in second} & related
        found |= shared
        assert example.labels == (("induces",) if shared else ("none",))
    assert annotated.uncovered_relations(RELATION, [one]) == (len(related - found), len(related))
