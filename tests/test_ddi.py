from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.annotated import Mention
from mtscale.corpora.ddi import DdiDocument, Pair, read_documents, read_examples, read_gold
from mtscale.corpora.example import GoldItem, RelationExample, Span, SplitName, TaggedExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Kind, Task
from tests.costs import cost

CORPORA = os.environ.get("MTSCALE_TEST_CORPORA")
TASK = replace(TASKS["ddi2013"], dev_documents=None)
TYPES = ("drug", "brand", "group", "drug_n")
TAGGING = replace(TASK, kind=Kind.TAGGING, labels=TYPES, negative=None, arguments=None)

FILE = """<?xml version="1.0" encoding="UTF-8"?>
<document id="DDI-MedLine.d1">
    <sentence id="DDI-MedLine.d1.s0" text="Naïve."/>
    <sentence id="DDI-MedLine.d1.s1" text=""/>
    <sentence id="DDI-MedLine.d1.s2" text="Secretword slows alpha- and beta-blockers &amp; Zin. ">
        <entity id="DDI-MedLine.d1.s2.e0" charOffset="0-9"
            type="drug_n" text="Secretword"/>
        <entity id="DDI-MedLine.d1.s2.e1" charOffset="17-22;33-40" type="group" text="alpha- blockers"/>
        <entity id="DDI-MedLine.d1.s2.e2" charOffset="28-40" type="group" text="beta-blockers"/>
        <entity id="DDI-MedLine.d1.s2.e3" charOffset="44-46" type="brand" text="Zin"/>
        <pair id="DDI-MedLine.d1.s2.p0" e1="DDI-MedLine.d1.s2.e0"
            e2="DDI-MedLine.d1.s2.e1" ddi="true" type="mechanism"/>
        <pair id="DDI-MedLine.d1.s2.p1" e1="DDI-MedLine.d1.s2.e1" e2="DDI-MedLine.d1.s2.e2" ddi="false"/>
        <pair id="DDI-MedLine.d1.s2.p2" e1="DDI-MedLine.d1.s2.e0" e2="DDI-MedLine.d1.s2.e3" ddi="true" type="int"/>
    </sentence>
</document>
"""
TEXT = "Secretword slows alpha- and beta-blockers & Zin. "
FIRST, ALPHA, BETA, ZIN = (
    Mention(8, 18, "drug_n", ()),
    Mention(25, 49, "group", ()),
    Mention(36, 49, "group", ()),
    Mention(52, 55, "brand", ()),
)


def write(folder: Path, text: str | bytes = FILE, name: str = "one.xml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_documents_mentions_and_pairs(tmp_path: Path) -> None:
    (document,) = read_documents(write(tmp_path))
    prefix = "DDI-MedLine.d1.s2"
    assert document == DdiDocument(
        id="DDI-MedLine.d1",
        text=f"Naïve.  {TEXT}",
        title_end=0,
        mentions=(FIRST, ALPHA, BETA, ZIN),
        relations=(),
        corpus_sentences=((0, 6), (7, 7), (8, 57)),
        pairs=(
            Pair(f"{prefix}.p0", (8, 57), FIRST, ALPHA, "mechanism"),
            Pair(f"{prefix}.p1", (8, 57), ALPHA, BETA, None),
            Pair(f"{prefix}.p2", (8, 57), FIRST, ZIN, "int"),
        ),
    )


def test_the_corpus_pairs_are_the_candidates(tmp_path: Path) -> None:
    examples = list(read_examples(TASK, [write(tmp_path)]))
    assert examples[0] == RelationExample(
        "DDI-MedLine.d1.s2.p0",
        "DDI-MedLine.d1",
        TEXT,
        8,
        (Span(8, 18, "drug"), Span(25, 49, "drug")),
        ("mechanism",),
    )
    gold = list(read_gold(TASK, [tmp_path]))
    assert gold == [
        GoldItem("DDI-MedLine.d1", "DDI-MedLine.d1.s2.p0", ("mechanism",)),
        GoldItem("DDI-MedLine.d1", "DDI-MedLine.d1.s2.p1", ("false",)),
        GoldItem("DDI-MedLine.d1", "DDI-MedLine.d1.s2.p2", ("int",)),
    ]
    assert [(one.document, one.id, one.labels) for one in examples if isinstance(one, RelationExample)] == gold


def test_interactions_that_are_no_labels_of_the_task_are_negative(tmp_path: Path) -> None:
    task = replace(TASK, labels=("none", "int"), negative="none")
    assert [item.value for item in read_gold(task, [write(tmp_path)])] == [("none",), ("none",), ("int",)]


def test_mentions_can_be_tagged_in_the_corpus_own_sentences(tmp_path: Path) -> None:
    text = FILE.replace("Naïve.", "Naïve. Two in one.")
    examples = list(read_examples(TAGGING, [write(tmp_path, text)]))
    assert [(one.id, one.text) for one in examples if isinstance(one, TaggedExample)] == [
        ("DDI-MedLine.d1.s0", "Naïve. Two in one."),
        ("DDI-MedLine.d1.s1", TEXT),
    ]
    write(tmp_path)
    example = list(read_examples(TAGGING, [tmp_path]))[1]
    assert isinstance(example, TaggedExample)
    assert example.spans == (Span(8, 18, "drug_n"), Span(25, 49, "group"), Span(52, 55, "brand"))


def test_a_discontinuous_mention_is_its_whole_stretch_in_the_gold(tmp_path: Path) -> None:
    (item,) = read_gold(replace(TAGGING, labels=("group",)), [write(tmp_path)])
    assert item == GoldItem(
        "DDI-MedLine.d1", "DDI-MedLine.d1", frozenset({Span(25, 49, "group"), Span(36, 49, "group")})
    )


def test_parts_may_be_joined_without_a_blank(tmp_path: Path) -> None:
    (document,) = read_documents(write(tmp_path, FILE.replace('"alpha- blockers"', '"alpha-blockers"')))
    assert document.mentions[1] == ALPHA


def minimal(number: int) -> str:
    return f'<document id="DDI-DrugBank.d{number}"><sentence id="s" text="Nothing."/></document>'


def test_files_lie_in_folders_of_any_depth_or_are_named_one_by_one(tmp_path: Path) -> None:
    for name in ("Train/DrugBank/B_ddi.xml", "Train/MedLine/a.xml", "Train/DrugBank/A_ddi.xml", "Other/c.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    write(tmp_path, minimal(2), "Train/DrugBank/B_ddi.xml")
    write(tmp_path, minimal(1), "Train/DrugBank/A_ddi.xml")
    write(tmp_path, minimal(3), "Train/MedLine/a.xml")
    write(tmp_path, minimal(4), "Other/c.xml")
    write(tmp_path, "Secretword", "Train/DrugBank/._A_ddi.xml")
    write(tmp_path, "Secretword", "Train/readme.txt")
    documents = read_documents(tmp_path / "Train", tmp_path / "Other/c.xml")
    assert [document.id for document in documents] == [f"DDI-DrugBank.d{number}" for number in (1, 2, 3, 4)]


def test_documents_are_read_one_at_a_time(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "Secretword", "two.xml")
    documents = read_documents(tmp_path)
    assert next(documents).id == "DDI-MedLine.d1"
    with pytest.raises(DataError, match=r"two\.xml:1: expected well-formed XML"):
        next(documents)


def test_a_folder_without_files_and_a_document_given_twice_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected XML files in this folder or below, found none"):
        next(read_documents(tmp_path))
    with pytest.raises(DataError, match=r"absent\.xml: expected a readable file"):
        next(read_documents(tmp_path / "absent.xml"))
    write(tmp_path)
    write(tmp_path, name="two.xml")
    with pytest.raises(DataError, match=r"two\.xml:2: this id has occurred before; ids must be unique in a split"):
        list(read_documents(tmp_path))


UNTYPED = "DDI-DrugBank.d236.s29.p0"


def test_the_one_interaction_of_the_corpus_without_a_type_is_int(tmp_path: Path) -> None:
    text = FILE.replace("DDI-MedLine.d1.s2.p0", UNTYPED).replace(' type="mechanism"', "")
    gold = {item.id: item.value for item in read_gold(TASK, [write(tmp_path, text)])}
    assert gold[UNTYPED] == ("int",)
    typed = FILE.replace("DDI-MedLine.d1.s2.p0", UNTYPED)
    gold = {item.id: item.value for item in read_gold(TASK, [write(tmp_path, typed)])}
    assert gold[UNTYPED] == ("mechanism",)


@pytest.mark.parametrize("offsets", ["95-98;107-114", "96-99;108-115"])
def test_the_one_entity_of_the_corpus_with_wrong_offsets_is_put_right(tmp_path: Path, offsets: str) -> None:
    entity = f'<entity id="DDI-DrugBank.d216.s16.e2" charOffset="{offsets}" type="drug" text="(Q)-placebos"/>'
    sentence = f'<sentence text="{"." * 96}(Q)- or (P)-placebos">{entity}</sentence>'
    (document,) = read_documents(write(tmp_path, f'<document id="d">{sentence}</document>'))
    assert document.mentions == (Mention(96, 116, "drug", ()),)


def changed(old: str, new: str) -> str:
    assert old in FILE
    return FILE.replace(old, new, 1)


E0 = 'charOffset="0-9"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r":1: expected well-formed XML"),
        (FILE[:-20], r":\d+: expected well-formed XML"),
        (FILE.encode("latin-1"), r":3: expected well-formed XML"),
        ("<Secretword/>", r":1: expected an element document, found none"),
        (changed('<document id="DDI-MedLine.d1"', "<document"), r":2: expected an attribute id of this element"),
        (changed('"DDI-MedLine.d1"', '"Secretword two"'), r":2: expected an id of up to 100 letters"),
        (changed('"DDI-MedLine.d1"', '"a&#10;b"'), r":2: expected an id"),
        (changed('"DDI-MedLine.d1"', '"a&#9;b"'), r":2: expected an id"),
        (changed('"DDI-MedLine.d1"', f'"{"x" * 101}"'), r":2: expected an id"),
        (
            changed('<sentence id="DDI-MedLine.d1.s1" text=""', "<Secretword"),
            r":4: expected an element sentence, found",
        ),
        (changed(' text="Naïve."', ""), r":3: expected an attribute text of this element"),
        (changed(E0, ""), r":7: expected an attribute charOffset"),
        (changed(E0, 'charOffset="0-Secretword"'), r":7: expected a charOffset like 0-7 or 0-7;12-18"),
        (changed(E0, 'charOffset="-9"'), r":7: expected a charOffset"),
        (changed(E0, 'charOffset="0-9;"'), r":7: expected a charOffset"),
        (changed(E0, 'charOffset=""'), r":7: expected a charOffset"),
        (changed(E0, 'charOffset="0-٩"'), r":7: expected a charOffset"),
        (changed(E0, f'charOffset="0-{"9" * 5000}"'), r":7: expected a charOffset"),
        (changed(E0, f'charOffset="{"0-9;" * 5000}x"'), r":7: expected a charOffset"),
        (changed(E0, 'charOffset="0-49"'), r":7: expected offsets in a sentence of 49 characters, found 0-49"),
        (changed(E0, 'charOffset="9-0"'), r":7: expected offsets in a sentence of 49 characters, found 9-0"),
        (changed(E0, 'charOffset="0-10"'), r":7: the sentence's text at this charOffset is not the entity's"),
        (changed(E0, 'charOffset="1-10"'), r":7: the sentence's text at this charOffset is not the entity's"),
        (changed("33-40", "32-40"), r":8: the sentence's text at this charOffset is not the entity's"),
        (changed('type="drug_n" text="Secretword"', 'type="drug_n"'), r":7: expected an attribute text"),
        (changed("drug_n", "Secretword"), r":7: expected one of the types drug, brand, group, drug_n, found another"),
        (changed(' type="drug_n"', ""), r":7: expected an attribute type"),
        (changed('<entity id="DDI-MedLine.d1.s2.e2"', "<entity"), r":9: expected an attribute id"),
        (changed('s2.e2" char', 's2.e1" char'), r":9: this entity's id has occurred before"),
        (changed("<entity", "<Secretword"), r":7: expected an element entity or pair, found another"),
        (changed("s2.p1", "s2.p0"), r":13: this id has occurred before"),
        (changed("DDI-MedLine.d1.s2.p1", "Secretword two"), r":13: expected an id"),
        (changed('e2="DDI-MedLine.d1.s2.e1"', ""), r":12: expected an attribute e2"),
        (
            changed('e2="DDI-MedLine.d1.s2.e1"', 'e2="Secretword"'),
            r":12: expected two different entities of the sentence",
        ),
        (changed('e2="DDI-MedLine.d1.s2.e1"', 'e2="DDI-MedLine.d1.s2.e0"'), r":12: expected two different entities"),
        (changed(' ddi="false"', ""), r":13: expected an attribute ddi"),
        (changed('ddi="false"', 'ddi="Secretword"'), r':13: expected ddi="false", or ddi="true" and a type among adv'),
        (changed('ddi="false"', 'ddi="false" type="int"'), r':13: expected ddi="false", or ddi="true"'),
        (changed("mechanism", "Secretword"), r':12: expected ddi="false", or ddi="true"'),
        (changed(' type="mechanism"', ""), r':12: expected ddi="false", or ddi="true"'),
        (changed("&amp;", "&Secretword;"), r":\d+: expected well-formed XML, with no entities"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = write(tmp_path, text)
    for read in (read_examples, read_gold):
        with pytest.raises(DataError, match=r"one\.xml" + message) as caught:
            list(read(TASK, [path]))
        assert "Secretword" not in str(caught.value)
        assert "blockers" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (replace(TASK, arguments=("drug", "brand")), r"task ddi2013: .*needs `arguments` = \['drug', 'drug'\]"),
        (replace(TASK, arguments=None), "needs `arguments`"),
        (replace(TASK, negative=None, labels=("int", "effect")), "needs `arguments`"),
        (replace(TASK, labels=("DDI-int", "false")), "other labels among advise, effect, int, mechanism"),
        (replace(TASK, relation="int"), "neither `relation` nor `candidates`"),
        (replace(TASK, candidates="closest"), "neither `relation` nor `candidates`"),
        (replace(TAGGING, labels=("Drug",)), "task ddi2013: expected labels among drug, brand, group, drug_n"),
        (replace(TASK, kind=Kind.SIMILARITY), "format ddi gives tagging and relation tasks, not similarity"),
        (replace(TASK, kind=Kind.INFERENCE), "format ddi gives tagging and relation tasks, not inference"),
    ],
)
def test_tasks_that_the_corpus_does_not_give_are_refused_at_once(tmp_path: Path, task: Task, message: str) -> None:
    for read in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=message):
            read(task, [tmp_path / "absent"])


CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")


@st.composite
def some_sentences(draw: st.DrawFn) -> list[tuple[str, list[tuple[list[tuple[int, int]], str]]]]:
    """Texts, each with entities: their parts, half-open, and their type."""
    sentences = []
    for text in draw(st.lists(st.text(CHARACTERS, max_size=30), max_size=4)):
        entities = []
        for _ in range(draw(st.integers(0, 4)) if text else 0):
            bounds = draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4, unique=True).map(sorted))
            parts = list(zip(bounds[::2], bounds[1::2], strict=False))
            entities.append((parts, draw(st.sampled_from(TYPES))))
        sentences.append((text, entities))
    return sentences


def in_xml(
    sentences: list[tuple[str, list[tuple[list[tuple[int, int]], str]]]], interactions: Callable[[], str | None]
) -> tuple[str, DdiDocument]:
    """A file, and the document that it must be read as."""
    lines, mentions, pairs, places, start = ['<document id="d">'], [], [], [], 0
    for number, (text, entities) in enumerate(sentences):
        lines.append(f'<sentence id="s{number}" text={quoteattr(text)}>')
        places.append((start, start + len(text)))
        here = [Mention(start + parts[0][0], start + parts[-1][1], type_, ()) for parts, type_ in entities]
        for index, (parts, type_) in enumerate(entities):
            offsets = ";".join(f"{first}-{end - 1}" for first, end in parts)
            words = quoteattr(" ".join(text[first:end] for first, end in parts))
            lines.append(f'<entity id="e{index}" charOffset="{offsets}" type="{type_}" text={words}/>')
        for index in range(1, len(here)):
            interaction = interactions()
            label = f'ddi="true" type="{interaction}"' if interaction else 'ddi="false"'
            lines.append(f'<pair id="s{number}.p{index}" e1="e{index - 1}" e2="e{index}" {label}/>')
            pairs.append(Pair(f"s{number}.p{index}", places[-1], here[index - 1], here[index], interaction))
        lines.append("</sentence>")
        mentions += here
        start += len(text) + 1
    document = DdiDocument(
        id="d",
        text=" ".join(text for text, _ in sentences),
        title_end=0,
        mentions=tuple(mentions),
        relations=(),
        corpus_sentences=tuple(places),
        pairs=tuple(pairs),
    )
    return "\n".join([*lines, "</document>"]), document


@settings(deadline=None, max_examples=100)
@given(sentences=some_sentences(), data=st.data())
def test_what_is_written_is_read_back(
    sentences: list[tuple[str, list[tuple[list[tuple[int, int]], str]]]],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    interaction = st.sampled_from([None, "advise", "effect", "int", "mechanism"])
    text, document = in_xml(sentences, lambda: data.draw(interaction))
    folder = tmp_path_factory.mktemp("ddi")
    write(folder, text)
    assert list(read_documents(folder)) == [document]
    for example in read_examples(TASK, [folder]):
        assert isinstance(example, RelationExample)
        assert document.text[example.offset :].startswith(example.text)
        assert all(
            example.offset <= one.start < one.end <= example.offset + len(example.text) for one in example.arguments
        )
    (item,) = read_gold(TAGGING, [folder])
    assert item.value == {Span(one.start, one.end, one.type) for one in document.mentions}


def test_crowded_files_are_read_in_time(tmp_path: Path) -> None:
    entity = '<entity id="e{}" charOffset="0-0" type="drug" text="a"/>'
    crowded = "".join(entity.format(number) for number in range(400))
    parts = entity.format(1).replace('"0-0"', f'"{"0-9999;" * 1500}0-0"')
    sentences = '<sentence text="a"/>' * 1000
    for body in (f'<sentence text="a{"b" * 10_000}">{crowded}</sentence>', sentences):
        path = write(tmp_path, f'<document id="d">{body}</document>')
        assert cost(partial(list, read_examples(TAGGING, [path]))) < 20
    path = write(tmp_path, f'<document id="d"><sentence text="{"a" * 10_000}">{parts}</sentence></document>')

    def refused() -> None:
        with pytest.raises(DataError, match="the sentence's text at this charOffset"):
            list(read_examples(TAGGING, [path]))

    assert cost(refused) < 20


SHIPPED = TASKS["ddi2013"]
COUNTS = {
    "train": (25296, {"advise": 725, "effect": 1486, "int": 178, "mechanism": 1163, "false": 21744}, 13037),
    "dev": (2496, {"advise": 101, "effect": 201, "int": 11, "mechanism": 156, "false": 2027}, 1728),
    # One entity fewer than the files have: two of one type have the same stretch.
    "test": (5716, {"advise": 221, "effect": 360, "int": 96, "mechanism": 302, "false": 4737}, 3039),
}


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")
@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_corpus_has_the_pairs_and_mentions_its_authors_count(split: SplitName) -> None:
    root = Path(CORPORA or "")
    pairs, labels, mentions = COUNTS[split]
    gold = catalogue.read_gold(SHIPPED, split, root)
    assert len(gold) == pairs
    assert Counter(label for value in gold.values() if isinstance(value, tuple) for label in value) == labels
    examples = catalogue.read_examples(SHIPPED, split, root)
    assert {one.id: one.labels for one in examples if isinstance(one, RelationExample)} == gold
    tagging = replace(TAGGING, dev_documents=SHIPPED.dev_documents)
    spans = catalogue.read_gold(tagging, split, root).values()
    assert sum(len(value) for value in spans if isinstance(value, frozenset)) == mentions


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")
def test_a_file_beside_the_test_folder_can_be_added_to_it() -> None:
    added = "DDICorpus/Test/Test for DrugNER task/MedLine/21928724.xml"
    task = replace(SHIPPED, files={**SHIPPED.files, "test": (*SHIPPED.files["test"], added)})
    assert len(catalogue.read_gold(task, "test", Path(CORPORA or ""))) == 5716 + 45
