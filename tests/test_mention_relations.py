from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import mention_relations
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.mention_relations import own_concept
from mtscale.errors import ConfigError
from mtscale.tasks import TASKS, Task

BASE = replace(TASKS["cdr-relation"], candidates="all", relation=None, labels=("none", "binds", "blocks"))
TWO_TYPES = replace(BASE, arguments=("A", "B"))
ONE_TYPE = replace(BASE, arguments=("A", "A"))


@st.composite
def some_document(draw: st.DrawFn) -> Document:
    text = "".join(draw(st.lists(st.sampled_from(["Lead ", "rigor. ", "A tremor? "]), min_size=1, max_size=6)))
    mentions = []
    for number in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 8)))
        mentions.append(Mention(start, end, draw(st.sampled_from("AB")), ("C1", own_concept(str(number)))))
    ends = st.integers(0, len(mentions) - 1).map(lambda number: own_concept(str(number)))
    types = st.sampled_from(["binds", "blocks", "other"])
    relations = draw(st.lists(st.builds(Relation, types, ends, ends), max_size=5))
    return Document("7", text, 0, tuple(mentions), tuple(relations))


def stated(task: Task, document: Document) -> set[tuple[frozenset[tuple[int, int, str]], str]]:
    """The task's relations as (the two stretches with their types, type of the relation)."""
    places = {one.concepts[1]: (one.start, one.end, one.type) for one in document.mentions}
    return {
        (frozenset({places[one.first], places[one.second]}), one.type)
        for one in document.relations
        if one.type in task.positives
        and sorted((places[one.first][2], places[one.second][2])) == sorted(task.arguments or ())
    }


@pytest.mark.parametrize("task", [TWO_TYPES, ONE_TYPE], ids=["two types", "one type"])
@settings(deadline=None, max_examples=200)
@given(document=some_document())
def test_the_gold_holds_each_stated_relation_once_and_no_other(task: Task, document: Document) -> None:
    first, second = task.arguments or ("", "")
    found = []
    for item in mention_relations.gold(task, [document]):
        assert isinstance(item.value, tuple)
        one, two = (tuple(map(int, place.split("-"))) for place in item.id.split(".")[-2:])
        pair = frozenset({(*one, first), (*two, second)})
        found += [(pair, label) for label in item.value if label != "none"]
    assert len(set(found)) == len(found)
    assert set(found) == stated(task, document)


@settings(deadline=None, max_examples=100)
@given(document=some_document())
def test_the_gold_is_that_of_the_examples_and_lost_relations(document: Document) -> None:
    gold = list(mention_relations.gold(TWO_TYPES, [document]))
    examples = [(one.id, one.labels) for one in mention_relations.examples(TWO_TYPES, [document])]
    assert [(item.id, item.value) for item in gold if ".lost." not in item.id] == examples
    assert len({item.id for item in gold}) == len(gold)


def test_relations_between_concepts_are_not_lost() -> None:
    mentions = (Mention(0, 4, "A", ("C1",)), Mention(6, 10, "B", ("C2",)))
    document = Document("7", "Lead. Iron.", 0, mentions, (Relation("binds", "C1", "C2"),))
    assert list(mention_relations.gold(TWO_TYPES, [document])) == []
    assert list(mention_relations.gold(replace(TWO_TYPES, candidates="closest"), [document])) == []


def test_an_incomplete_task_is_refused_before_any_document_is_drawn() -> None:
    for read in (mention_relations.examples, mention_relations.gold):
        with pytest.raises(ConfigError, match=r"cdr-relation: .*`arguments`"):
            read(replace(TWO_TYPES, arguments=None), iter(()))
