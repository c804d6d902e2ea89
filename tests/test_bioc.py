from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import annotated, catalogue, pubtator
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.bioc import read_documents, read_examples, read_gold
from mtscale.corpora.example import RelationExample, Span, TaggedExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS

CORPORA = os.environ.get("MTSCALE_TEST_CORPORA")
TAGGING = replace(TASKS["cdr-disease"], format="bioc", labels=("Chemical", "Disease"))
CONCEPTS = replace(TASKS["cdr-relation"], format="bioc")
ANNOTATIONS = replace(CONCEPTS, candidates="all", relation=None, labels=("none", "induces", "treats"))

HEAD = """<?xml version='1.0' encoding='UTF-8'?>
<!DOCTYPE collection SYSTEM 'BioC.dtd'>
<collection>
<source>made up</source>
"""


EMPTY = "<document><id>Secretword</id><passage><offset>0</offset></passage></document>"


def infons(*pairs: tuple[str, str]) -> str:
    return "".join(f'<infon key="{key}">{value}</infon>' for key, value in pairs)


def annotation(id_: str, type_: str, start: int, text: str, *others: tuple[str, str]) -> str:
    place = f'<location offset="{start}" length="{len(text)}"/>'
    return f'<annotation id="{id_}">{infons(("type", type_), *others)}{place}<text>{text}</text></annotation>\n'


LITHIUM = annotation("0", "Chemical", 7, "lithium", ("MESH", "D008094"))
WHOLE, PART = ("CompositeRole", "CompositeMention"), ("CompositeRole", "IndividualMention")
LEAD = annotation("a", "Chemical", 10, "lead", ("identifier", "MESH:D007854, D1;D2"))

FIRST = f"""<document>
<id>12</id>
<passage><infon key="type">title</infon><offset>0</offset><text>Naïve &lt;lithium&gt;.</text>
{LITHIUM}</passage>
<passage><offset>17</offset><text>Secretword tremor and rigor. None.</text>
{annotation("1", "Disease", 28, "tremor and rigor", ("MESH", "D014202|D009127"), WHOLE)}\
{annotation("2", "Disease", 28, "tremor", ("MESH", "D014202"), PART)}\
{annotation("3", "Disease", 46, "None", ("identifier", "-1"))}\
<annotation id="4"><infon key="type">Indexed</infon><text>no place</text></annotation>
</passage>
<relation id="R0">{infons(("relation", "CID"), ("Chemical", "D008094"), ("Disease", "D014202"))}</relation>
<relation id="R1">{infons(("type", "Bind"), ("novel", "No"), ("entity2", "D1"), ("entity1", "D2"))}</relation>
</document>
"""
SECOND = f"""<document><id>x-9</id>
<passage><offset>2</offset><text>Second</text></passage>
<passage><offset>10</offset>
<sentence><offset>10</offset><text>lead in</text>{LEAD.strip()}</sentence>
<sentence><offset>18</offset><text>rats</text></sentence>
</passage>
<passage><offset>23</offset></passage>
</document>
"""
FILE = f"{HEAD}{FIRST}{SECOND}</collection>\n"

EXPECTED = [
    Document(
        "12",
        "Naïve <lithium>. Secretword tremor and rigor. None.",
        16,
        (
            Mention(7, 14, "Chemical", ("D008094",)),
            Mention(28, 44, "Disease", ("D014202", "D009127")),
            Mention(46, 50, "Disease", ()),
        ),
        (Relation("CID", "D008094", "D014202"), Relation("Bind", "D1", "D2")),
    ),
    Document(
        "x-9", "  Second  lead in rats ", 8, (Mention(10, 14, "Chemical", ("MESH:D007854", "D1", "D2")),), (), (17, 22)
    ),
]


def write(folder: Path, text: str | bytes = FILE) -> Path:
    path = folder / "corpus.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_documents_mentions_and_relations_between_concepts(tmp_path: Path) -> None:
    assert list(read_documents(write(tmp_path))) == EXPECTED


def test_reads_one_document_at_a_time(tmp_path: Path) -> None:
    documents = read_documents(write(tmp_path, f"{HEAD}{FIRST}<document>\n</document>\n</collection>\n"))
    assert next(documents) == EXPECTED[0]
    with pytest.raises(DataError, match=r"corpus\.xml:19: expected an element id in this document, found none"):
        next(documents)


def test_no_sentence_crosses_the_end_of_a_passage_or_of_a_sentence_of_the_file(tmp_path: Path) -> None:
    examples = list(read_examples(TAGGING, [write(tmp_path)]))
    assert [(one.id, one.text) for one in examples if isinstance(one, TaggedExample)] == [
        ("12.s0", "Naïve <lithium>."),
        ("12.s1", "Secretword tremor and rigor."),
        ("12.s2", "None."),
        ("x-9.s0", "Second"),
        ("x-9.s1", "lead in"),
        ("x-9.s2", "rats"),
    ]


def test_relations_between_concepts_are_those_of_the_document(tmp_path: Path) -> None:
    title = "<text>Naïve &lt;lithium&gt;.</text>"
    tremor = annotation("5", "Disease", 0, "Tremor", ("MESH", "D014202"))
    path = write(tmp_path, FILE.replace(title, "<text>Tremor lithium</text>").replace(LITHIUM, LITHIUM + tremor))
    (example,) = read_examples(CONCEPTS, [path])
    assert isinstance(example, RelationExample)
    assert (example.id, example.labels) == ("12.s0.7-14.0-6", ("induces",))
    # The relation holds for the concepts, wherever they stand: nothing of it is lost.
    assert [tuple(item) for item in read_gold(CONCEPTS, [path])] == [("12", "12.s0.7-14.0-6", ("induces",))]


def test_the_ends_of_a_relation_are_told_by_their_types(tmp_path: Path) -> None:
    tremor = annotation("5", "Disease", 0, "Tremor", ("MESH", "D1"))
    changed = FILE.replace("<text>Naïve &lt;lithium&gt;.</text>", "<text>Tremor lithium</text>")
    path = write(tmp_path, changed.replace(LITHIUM, LITHIUM.replace("D008094", "D2") + tremor))
    assert next(read_documents(path)).relations[1] == Relation("Bind", "D1", "D2")
    (item,) = read_gold(replace(CONCEPTS, relation="Bind"), [path])
    assert item.value == ("induces",)


def related(relations: str, text: str = "Lead and iron gave tremor. Then rigor. ") -> str:
    """A document with two chemicals and two diseases, ids a to d, and relations in its second passage."""
    marks = [
        ("a", "Chemical", "Lead"),
        ("b", "Chemical", "iron"),
        ("c", "Disease", "tremor"),
        ("d", "Disease", "rigor"),
    ]
    annotations = "".join(annotation(id_, type_, 6 + text.index(word), word) for id_, type_, word in marks)
    return (
        f"{HEAD}<document><id>7</id><passage><offset>0</offset><text>Title</text></passage>\n"
        f"<passage><offset>6</offset><text>{text}</text>\n{annotations}{relations}</passage></document></collection>\n"
    )


def relation(type_: str, *nodes: str, id_: str = "R") -> str:
    referring = "".join(f'<node refid="{node}" role="x"/>' for node in nodes)
    return f'<relation id="{id_}">{infons(("type", "Relation"), ("relation type", type_))}{referring}</relation>\n'


def test_a_relation_of_two_annotations_holds_for_them_alone_and_across_sentences_it_is_lost(tmp_path: Path) -> None:
    relations = [relation("treats", "c", "a"), relation("induces", "b", "c"), relation("induces", "a", "d")]
    relations += [relation("treats", "a", "b"), relation("harms", "a", "d"), relation("treats", "a", "d")]
    path = write(tmp_path, related("".join(relations)))
    gold = list(read_gold(ANNOTATIONS, [path]))
    assert {item.id: item.value for item in gold} == {
        "7.s1.6-10.25-31": ("treats",),
        "7.s1.15-19.25-31": ("induces",),
        "7.lost.6-10.38-43": ("induces", "treats"),
    }
    assert len(gold) == 3
    assert [one.id for one in read_examples(ANNOTATIONS, [path])] == [item.id for item in gold[:2]]


def test_events_are_left_out(tmp_path: Path) -> None:
    relations = relation("induces", "a", "b", "c", id_="E") + relation("induces", "a") + relation("treats", "a", "E")
    (document,) = read_documents(write(tmp_path, related(relations)))
    assert document.relations == ()


def test_an_id_of_an_annotation_and_of_a_relation_is_the_annotations(tmp_path: Path) -> None:
    (document,) = read_documents(write(tmp_path, related(relation("treats", "a", "c", id_="a"))))
    assert len(document.relations) == 1


def test_ids_need_be_unique_only_where_relations_are(tmp_path: Path) -> None:
    one = related(relation("induces", "a", "c"))
    repeated = annotation("a", "Chemical", 0, "Title")
    (document,) = read_documents(
        write(tmp_path, one.replace("</text></passage>\n", f"</text>{repeated}</passage>\n", 1))
    )
    assert [m.start for m in document.mentions if set(m.concepts) & {document.relations[0].first}] == [6]
    twice = one.replace("</passage></document>", f"{annotation('a', 'Chemical', 6, 'Lead')}</passage></document>")
    with pytest.raises(DataError, match=r":11: expected each node .* refer to one annotation .* refers to 2"):
        list(read_documents(write(tmp_path, twice)))


def test_closest_pairs_are_for_relations_between_concepts(tmp_path: Path) -> None:
    path = write(tmp_path, related(relation("induces", "a", "c")))
    for read in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=r"cdr-relation: .* in document 7; write candidates = \"all\""):
            list(read(replace(ANNOTATIONS, candidates="closest"), [path]))


def test_a_discontinuous_mention_reaches_from_its_first_part_to_its_last(tmp_path: Path) -> None:
    def parts(text: str) -> str:
        places = '<location offset="15" length="4"/><location offset="0" length="4"/>'
        mark = f'<annotation id="a"><infon key="type">Disease</infon>{places}<text>{text}</text></annotation>'
        passage = f"<passage><offset>0</offset><text>head and neck pain.</text>{mark}</passage>"
        return f"{HEAD}<document><id>1</id>{passage}</document></collection>"

    swapped = parts("head pain").replace('offset="15"', 'offset="14"')
    with pytest.raises(DataError, match=r":5: the document's text at this annotation's place is not"):
        list(read_documents(write(tmp_path, swapped)))
    path = write(tmp_path, parts("pain ... head").replace('offset="15"', 'offset="14"'))
    (gold,) = read_gold(TAGGING, [path])
    assert gold.value == {Span(0, 18, "Disease")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<id>12</id>", "", r":5: expected an element id in this document, found none"),
        ("<id>12</id>", "<id> </id>", r":5: expected an id of printable characters"),
        ("<id>12</id>", "<id>1\t2</id>", r":5: expected an id of printable characters"),
        ("<id>x-9</id>", "<id>12</id>", r":19: this document's id has occurred before"),
        ("</collection>", EMPTY * 2 + "</collection>", r":\d+: this document's id has occurred before"),
        ("<offset>0</offset>", "", r":7: expected an element offset in this passage"),
        ("<offset>0</offset>", "<offset>x</offset>", r":7: expected whole numbers as offset .* this passage"),
        ("<offset>0</offset>", f"<offset>{'9' * 5000}</offset>", r":7: expected whole numbers as offset"),
        ("<offset>0</offset>", "<offset>10001</offset>", r":7: expected an offset from 0, .* to 10000, found 10001"),
        ("<offset>17</offset>", "<offset>15</offset>", r":10: expected an offset from 16, .* to 10016, found 15"),
        ("<offset>18</offset>", "<offset>16</offset>", r":23: expected an offset from 17, .* to 10017, found 16"),
        ('<infon key="type">Chemical</infon>', "", r':8: expected an infon with key "type" in this annotation'),
        ('offset="7" ', "", r":8: expected an attribute offset"),
        ('length="7"', "", r":8: expected an attribute length"),
        ('length="7"', 'length="0"', r":8: expected a place in the 51 characters of the document, found 7 \+ 0"),
        ('length="7"', 'length="45"', r":8: expected a place in the 51 characters of the document, found 7 \+ 45"),
        ('length="7"', 'length="-7"', r":8: expected whole numbers as offset and length in this location"),
        (
            'offset="7"',
            'offset="8"',
            r":8: the document's text at this annotation's place is not the annotation's text",
        ),
        ("<text>lithium</text>", "", r":8: expected an element text in this annotation"),
        (
            '<infon key="relation">CID</infon>',
            "",
            r":16: expected a relation's type in an infon with key relation or",
        ),
        (
            '<infon key="Chemical">D008094</infon>',
            "",
            r":16: expected two nodes in this relation, .* found 1 such infons",
        ),
        (
            '<infon key="entity1">',
            '<infon key="entity3">',
            r":17: expected two nodes in this relation, .* found 3 such",
        ),
        ('<infon key="entity1">D2</infon>', '<node refid="0"/><node/>', r":17: expected an attribute refid"),
        ('<infon key="entity1">D2</infon>', '<node refid="0"/><node refid="9"/>', r":17: .* refers to 0"),
        ('<infon key="entity1">D2</infon>', '<node refid="0"/><node refid="2"/>', r":17: .* refers to 0"),
        ("</id>", "", r":\d+: expected well-formed XML"),
        ("<text>Second</text>", "<text>&secret;</text>", r":20: expected "),
        ("SYSTEM 'BioC.dtd'", "[<!ENTITY a 'Secretword'>]", r":\d+: expected .*entities"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    with pytest.raises(DataError, match=rf"corpus\.xml{message}") as caught:
        list(read_documents(write(tmp_path, FILE.replace(old, new, 1))))
    assert not any(word in str(caught.value) for word in ("Secretword", "lithium", "secret"))


def test_files_without_documents_or_passages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"corpus\.xml: expected at least one document element, found none"):
        list(read_documents(write(tmp_path, f"{HEAD}</collection>")))
    with pytest.raises(DataError, match=r"corpus\.xml:5: expected at least one passage in this document"):
        list(read_documents(write(tmp_path, f"{HEAD}<document><id>1</id></document></collection>")))
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match="expected a readable file"):
            list(read_documents(path))


def test_other_kinds_are_refused_at_once(tmp_path: Path) -> None:
    for read in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=r"cdr-similarity: .*not similarity"):
            read(TASKS["cdr-similarity"], [tmp_path / "absent"])


def test_the_catalogue_reads_collections(tmp_path: Path) -> None:
    task = replace(TAGGING, packaged=False, corpus="notes", files={"train": ("corpus.xml",)})
    (tmp_path / "notes").mkdir()
    write(tmp_path / "notes")
    assert list(catalogue.read_gold(task, "train", tmp_path)) == ["12", "x-9"]
    assert [one.document for one in catalogue.read_examples(task, "train", tmp_path)] == ["12"] * 3 + ["x-9"] * 3


# Characters that XML can hold, and no line end but "\n": a parser reads the others as that one.
CHARACTER = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff", include_characters="\n\t")
TEXT = st.text(CHARACTER, max_size=20)
NAME = st.sampled_from(["Chemical", "Disease", "Gène & <co>"])
CONCEPT = st.from_regex(r"[A-Z][0-9]{1,6}", fullmatch=True)


@st.composite
def some_documents(draw: st.DrawFn) -> list[tuple[Document, list[int]]]:
    """Documents with relations between concepts, and where each of their passages begins."""
    documents = []
    for id_ in draw(st.lists(st.from_regex(r"[0-9a-z]{1,8}", fullmatch=True), min_size=1, max_size=3, unique=True)):
        text, starts, ends = "", [], []
        for passage in draw(st.lists(TEXT, min_size=1, max_size=4)):
            text += " " * draw(st.integers(0, 3))
            starts.append(len(text))
            text += passage
            ends.append(len(text))
        mentions = []
        for start in draw(st.lists(st.integers(0, len(text) - 1), max_size=4)) if text else []:
            end = draw(st.integers(start + 1, len(text)))
            mentions.append(Mention(start, end, draw(NAME), tuple(draw(st.lists(CONCEPT, max_size=3)))))
        ids = draw(st.lists(st.tuples(NAME, CONCEPT, CONCEPT), max_size=3))
        relations = tuple(Relation(*one) for one in ids)
        documents.append((Document(id_, text, ends[0], tuple(mentions), relations, tuple(ends[1:-1])), starts))
    return documents


def in_bioc(document: Document, starts: list[int]) -> str:
    lines = [f"<document><id>{document.id}</id>"]
    ends = [document.title_end, *document.boundaries, len(document.text)][: len(starts)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        lines.append(f"<passage><offset>{start}</offset><text>{escape(document.text[start:end])}</text>")
        # The first passage holds all annotations: their offsets are the document's.
        for mention in document.mentions if number == 0 else ():
            keyed = infons(("type", escape(mention.type)), ("identifier", "|".join(mention.concepts) or "-1"))
            lines.append(f"<annotation id='x'>{keyed}")
            lines.append(f"<location offset='{mention.start}' length='{mention.end - mention.start}'/>")
            lines.append(f"<text>{escape(document.text[mention.start : mention.end])}</text></annotation>")
        lines.append("</passage>")
    for one in document.relations:
        keyed = infons(("type", escape(one.type)), ("entity1", one.first), ("entity2", one.second))
        lines.append(f"<relation>{keyed}</relation>")
    return "\n".join([*lines, "</document>"])


@settings(deadline=None, max_examples=100)
@given(documents=some_documents())
def test_what_is_written_is_read_back(
    documents: list[tuple[Document, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "\n".join(in_bioc(document, starts) for document, starts in documents)
    path = write(tmp_path_factory.mktemp("bioc"), f"{HEAD}{text}\n</collection>\n")
    assert list(read_documents(path)) == [document for document, _ in documents]


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")
@pytest.mark.parametrize(
    ("split", "chemicals", "diseases", "relations"),
    [("Training", 5203, 4182, 1038), ("Development", 5347, 4244, 1012), ("Test", 5385, 4424, 1066)],
)
def test_bc5cdr_reads_as_its_pubtator_files_do(split: str, chemicals: int, diseases: int, relations: int) -> None:
    folder = Path(CORPORA or "") / "bc5cdr"
    path, other = (folder / f"CDR_{split}Set.{form}" for form in ("BioC.xml", "PubTator.txt"))
    documents = list(read_documents(path))
    assert documents == list(pubtator.read_documents(other))
    assert Counter(mention.type for one in documents for mention in one.mentions) == {
        "Chemical": chemicals,
        "Disease": diseases,
    }
    assert sum(len(one.relations) for one in documents) == relations
    assert list(read_gold(CONCEPTS, [path])) == list(annotated.gold(CONCEPTS, pubtator.read_documents(other)))
