from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.brat import read_documents, read_examples, read_gold
from mtscale.corpora.example import RelationExample, Span, TaggedExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS

TAGGING = replace(TASKS["cdr-disease"], format="brat", labels=("Chemical", "Disease"))
RELATION = replace(
    TASKS["cdr-relation"],
    format="brat",
    relation=None,
    candidates="all",
    labels=("none", "induces", "treats"),
    arguments=("Chemical", "Disease"),
)
INTERACTION = replace(RELATION, labels=("interacts", "none"), arguments=("Chemical", "Chemical"))

TEXT = "Naïve lithium and lead\nSecretword: lithium gave head and neck pain. Lead did\nnot.\n\nTremor\n"
ANNOTATIONS = (
    "T1\tChemical 6 13\tlithium\n"
    "T2\tChemical 35 42\tlithium\n"
    "T3\tDisease 48 52;62 66\thead pain\n"
    "T4\tDisease 57 66\tneck pain\n"
    "E1\tGiving:T2\n"
    "A1\tNegated T3\n"
    "M1\tNegated T3\n"
    "N1\tReference T1 MESH:D008094\tlithium\n"
    "#1\tAnnotatorNotes T1\tSecretword\n"
    "*\tEquiv T1 T2\n"
    "\n"
    "R1\tinduces Arg1:T2 Arg2:T3\t\n"
    "R2\tinduces Arg1:T3 Arg2:E1\n"
    "R3\ttreats Cure:T4 Drug:T2 \n"
    "R4\ttreats Arg1:T1 Arg2:T4\n"
    "T5\tChemical 68 72\tLead\n"
    "T6\tEvent 73 80\tdid not\n"
)


def write(folder: Path, name: str = "d1", text: str = TEXT, annotations: str | bytes = ANNOTATIONS) -> Path:
    (folder / f"{name}.txt").write_bytes(text.encode())
    (folder / f"{name}.ann").write_bytes(annotations.encode() if isinstance(annotations, str) else annotations)
    return folder


def test_reads_mentions_and_relations_between_them(tmp_path: Path) -> None:
    (tmp_path / "._d1.ann").write_bytes(b"\x00\x05")
    (tmp_path / "annotation.conf").write_text("[entities]\n")
    assert list(read_documents(write(tmp_path))) == [
        Document(
            id="d1",
            text=TEXT,
            title_end=22,
            mentions=(
                Mention(6, 13, "Chemical", ("annotation T1",)),
                Mention(35, 42, "Chemical", ("annotation T2",)),
                Mention(48, 66, "Disease", ("annotation T3",)),
                Mention(57, 66, "Disease", ("annotation T4",)),
                Mention(68, 72, "Chemical", ("annotation T5",)),
                Mention(73, 80, "Event", ("annotation T6",)),
            ),
            relations=(
                Relation("induces", "annotation T2", "annotation T3"),
                Relation("treats", "annotation T4", "annotation T2"),
                Relation("treats", "annotation T1", "annotation T4"),
            ),
            boundaries=(81,),
        )
    ]


def test_documents_come_in_the_order_of_their_names_and_one_at_a_time(tmp_path: Path) -> None:
    for name in ("b", "a 1"):
        write(tmp_path, name, "lead", "")
    write(tmp_path, "c", "lead", "nonsense\n")
    documents = read_documents(tmp_path)
    assert [next(documents).id, next(documents).id] == ["a 1", "b"]
    with pytest.raises(DataError, match=r"c\.ann:1: expected an annotation"):
        next(documents)


def test_offsets_count_carriage_returns_and_line_ends(tmp_path: Path) -> None:
    (document,) = read_documents(write(tmp_path, text="Ti\r\nlead\r\n\r\nx", annotations="T1\tChemical 4 8\tlead\r\n"))
    assert document.mentions[0] == Mention(4, 8, "Chemical", ("annotation T1",))
    assert document.sentences() == [(0, 2), (4, 8), (12, 13)]


def test_sentences_end_after_the_first_line_and_at_empty_lines(tmp_path: Path) -> None:
    examples = list(read_examples(TAGGING, [write(tmp_path)]))
    assert all(isinstance(one, TaggedExample) for one in examples)
    assert [(one.id, one.text) for one in examples if isinstance(one, TaggedExample)] == [
        ("d1.s0", "Naïve lithium and lead"),
        ("d1.s1", "Secretword: lithium gave head and neck pain."),
        ("d1.s2", "Lead did\nnot."),
        ("d1.s3", "Tremor"),
    ]


def test_a_discontinuous_mention_is_tagged_from_its_first_part_to_its_last(tmp_path: Path) -> None:
    write(tmp_path)
    _, example, *_ = read_examples(TAGGING, [tmp_path])
    assert isinstance(example, TaggedExample)
    # The second disease lies inside the first one's hull, where a tag sequence has no room for it.
    assert example.spans == (Span(35, 42, "Chemical"), Span(48, 66, "Disease"))
    (gold,) = read_gold(TAGGING, [tmp_path])
    assert gold.value == {
        Span(6, 13, "Chemical"),
        Span(35, 42, "Chemical"),
        Span(48, 66, "Disease"),
        Span(57, 66, "Disease"),
        Span(68, 72, "Chemical"),
    }


def test_a_relation_holds_for_its_two_mentions_alone_and_across_sentences_it_is_lost(tmp_path: Path) -> None:
    write(tmp_path)
    examples = list(read_examples(RELATION, [tmp_path]))
    assert [(one.id, one.labels) for one in examples if isinstance(one, RelationExample)] == [
        ("d1.s1.35-42.48-66", ("induces",)),
        # The file names the disease first.
        ("d1.s1.35-42.57-66", ("treats",)),
    ]
    assert {item.id: item.value for item in read_gold(RELATION, [tmp_path])} == {
        "d1.s1.35-42.48-66": ("induces",),
        "d1.s1.35-42.57-66": ("treats",),
        "d1.lost.6-13.57-66": ("treats",),
    }


def test_arguments_of_one_type_are_an_unordered_pair(tmp_path: Path) -> None:
    text = "Title\nLead, iron and zinc. Gold."
    mentions = "T1\tChemical 6 10\tLead\nT2\tChemical 12 16\tiron\nT3\tChemical 21 25\tzinc\nT4\tChemical 27 31\tGold\n"
    mentions += "T5\tChemical 6 10\tLead\n"
    relations = "R1\tinteracts Arg1:T2 Arg2:T5\nR2\tinteracts Arg1:T4 Arg2:T3\nR3\tinteracts Arg1:T1 Arg2:T5\n"
    write(tmp_path, text=text, annotations=mentions + relations + "R4\tinteracts Arg1:T3 Arg2:T4\n")
    gold = list(read_gold(INTERACTION, [tmp_path]))
    assert {item.id: item.value for item in gold} == {
        "d1.s1.6-10.12-16": ("interacts",),
        "d1.s1.6-10.21-25": ("none",),
        "d1.s1.12-16.21-25": ("none",),
        "d1.lost.6-10.6-10": ("interacts",),
        "d1.lost.21-25.27-31": ("interacts",),
    }
    assert len(gold) == 5


def test_relations_of_other_types_or_between_other_types_are_not_the_tasks(tmp_path: Path) -> None:
    text = "Title\nLead. Iron. Rats."
    mentions = "T1\tChemical 6 10\tLead\nT2\tChemical 12 16\tIron\nT3\tAnimal 18 22\tRats\n"
    relations = "R1\tinduces Arg1:T1 Arg2:T2\nR2\tharms Arg1:T1 Arg2:T2\nR3\tinteracts Arg1:T1 Arg2:T3\n"
    write(tmp_path, text=text, annotations=mentions + relations)
    assert list(read_gold(INTERACTION, [tmp_path])) == []
    named = replace(INTERACTION, relation="harms", labels=("bad", "none"))
    assert [item.value for item in read_gold(named, [tmp_path])] == [("bad",)]


def test_a_lost_pair_keeps_all_its_labels(tmp_path: Path) -> None:
    text = "Title\nLead. Tremor."
    mentions = "T1\tChemical 6 10\tLead\nT2\tDisease 12 18\tTremor\n"
    write(tmp_path, text=text, annotations=mentions + "R1\ttreats a:T1 b:T2\nR2\tinduces a:T2 b:T1\n")
    (item,) = read_gold(RELATION, [tmp_path])
    assert (item.document, item.id, item.value) == ("d1", "d1.lost.6-10.12-18", ("induces", "treats"))


HEAD = "T1\tChemical 6 13\tlithium\n"


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (f"{HEAD}lithium\n", r"d1\.ann:2: expected an annotation \(T, R, E, A, M, N, #, \*\), found another line"),
        ("T1\tChemical 6 13\n", r"d1\.ann:1: expected an id, a type with offsets"),
        ("T1 Chemical 6 13 lithium\n", r"d1\.ann:1: expected an id, a type with offsets"),
        ("T1\tChemical 6\tlithium\n", r"d1\.ann:1: expected an id, a type with offsets"),
        ("T1\tChemical 6 13;\tlithium\n", r"d1\.ann:1: expected an id, a type with offsets"),
        (f"T1\tChemical 6 {'9' * 5000}\tlithium\n", r"d1\.ann:1: expected an id, a type with offsets"),
        ("T1\tChemical 6 ١٣\tlithium\n", r"d1\.ann:1: expected an id, a type with offsets"),
        ("T1\tChemical 13 6\tlithium\n", r"d1\.ann:1: expected offsets 0 <= start < end <= 90, found 13 and 6"),
        ("T1\tChemical 6 91\tlithium\n", r"d1\.ann:1: expected offsets 0 <= start < end <= 90, found 6 and 91"),
        ("T1\tDisease 62 66;48 52\tpain head\n", r"d1\.ann:1: expected offsets 66 <= start < end <= 90, found 48"),
        ("T1\tChemical 7 14\tlithium\n", r"d1\.ann:1: the text at these offsets is not the mention's text"),
        ("T1\tDisease 48 52;62 66\thead and neck pain\n", r"d1\.ann:1: the text at these offsets is not"),
        (HEAD + HEAD, r"d1\.ann:2: expected an id of its own for each T line"),
        (f"{HEAD}R1\tinduces\n", r"d1\.ann:2: expected an id and a relation with two arguments"),
        (f"{HEAD}R1\tinduces T1 T1\n", r"d1\.ann:2: expected an id and a relation with two arguments"),
        (f"{HEAD}R1 induces Arg1:T1 Arg2:T1\n", r"d1\.ann:2: expected an id and a relation with two arguments"),
        (f"{HEAD}R1\tinduces Arg1:T1 Arg2:T1 Arg3:T1\n", r"d1\.ann:2: expected an id and a relation with two"),
        (f"{HEAD}R1\tinduces Arg1:T1 Arg2:T1\tSecretword\n", r"d1\.ann:2: expected an id and a relation with two"),
        (f"{HEAD}R1\tinduces Arg1:T1 Arg2:T9\n{HEAD.replace('T1', 'T2')}", r"d1\.ann:2: expected a relation between"),
        (HEAD.encode("utf-16"), r"d1\.ann:1: expected UTF-8"),
        (HEAD.removesuffix("\n"), r"d1\.ann:1: expected a line end, found the end of the file"),
    ],
)
def test_malformed_annotations_are_one_error_with_file_and_line(
    tmp_path: Path, annotations: str | bytes, message: str
) -> None:
    write(tmp_path, annotations=annotations)
    with pytest.raises(DataError, match=message) as caught:
        list(read_documents(tmp_path))
    assert not any(word in str(caught.value) for word in ("Secretword", "lithium", "head", "induces"))


def test_a_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "d1.txt").write_bytes(b"Secretword\nna\n" + "ïve".encode("latin-1"))
    with pytest.raises(DataError, match=r"d1\.txt:3: expected UTF-8, found byte 0xef") as caught:
        list(read_documents(tmp_path))
    assert "Secretword" not in str(caught.value)


def test_folders_must_hold_both_files_of_every_document(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder of \.txt and \.ann files, found no \.txt file"):
        list(read_documents(tmp_path))
    with pytest.raises(DataError, match=r"absent: expected a folder of \.txt and \.ann files, found: No such file"):
        list(read_documents(tmp_path / "absent"))
    write(tmp_path)
    with pytest.raises(DataError, match=r"d1\.txt: expected a folder of \.txt and \.ann files, found: Not a dir"):
        list(read_documents(tmp_path / "d1.txt"))
    (tmp_path / "d2.ann").write_text("")
    with pytest.raises(DataError, match=r"expected a \.txt file beside each \.ann file, found 1 without"):
        list(read_documents(tmp_path))
    (tmp_path / "d2.ann").rename(tmp_path / "d3.txt")
    with pytest.raises(DataError, match=r"d3\.ann: expected the annotations of document d3, found no such file"):
        list(read_documents(tmp_path))
    (tmp_path / "d3.ann").mkdir()
    with pytest.raises(DataError, match=r"d3\.ann: expected a readable file"):
        list(read_documents(tmp_path))
    (tmp_path / "d3.txt").unlink()
    (tmp_path / "d3.txt").mkdir()
    with pytest.raises(DataError, match=r"d3\.txt: expected a readable file"):
        list(read_documents(tmp_path))


def test_document_names_must_be_printable_and_unique_in_a_split(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"d1\.txt: document d1 occurs a second time"):
        list(read_documents(tmp_path, tmp_path))
    write(tmp_path, name="d\n2")
    with pytest.raises(DataError, match=r"expected file names of printable characters, .* file 1 of 2") as caught:
        list(read_documents(tmp_path))
    assert "\n" not in str(caught.value)


def test_other_kinds_and_closest_pairs_are_refused(tmp_path: Path) -> None:
    for read in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=r"cdr-similarity: .*not similarity"):
            read(TASKS["cdr-similarity"], [tmp_path / "absent"])
        with pytest.raises(ConfigError, match=r"cdr-relation: .*`arguments`"):
            read(replace(RELATION, arguments=None), [tmp_path / "absent"])
        with pytest.raises(ConfigError, match=r'cdr-relation: .* document d1; write candidates = "all"'):
            list(read(replace(RELATION, candidates="closest"), [write(tmp_path)]))


def test_the_catalogue_reads_folders(tmp_path: Path) -> None:
    task = replace(TAGGING, packaged=False, corpus="notes", files={"train": ("one", "two"), "test": ("two",)})
    for name in ("one", "two"):
        (tmp_path / "notes" / name).mkdir(parents=True)
        write(tmp_path / "notes" / name, name)
    assert list(catalogue.read_gold(task, "train", tmp_path)) == ["one", "two"]
    assert [one.document for one in catalogue.read_examples(task, "test", tmp_path)] == ["two"] * 4


WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\t"), min_size=1)
TYPE = st.sampled_from(["Chemical", "Disease", "Gène"])


@st.composite
def some_document(draw: st.DrawFn) -> tuple[str, list[tuple[str, list[tuple[int, int]]]], list[tuple[str, int, int]]]:
    """A text, mentions as (type, parts), and relations as (type, first mention, second mention)."""
    text = " ".join(draw(st.lists(WORD, min_size=1, max_size=8)))
    mentions = []
    for type_ in draw(st.lists(TYPE, max_size=5)):
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=6)))
        mentions.append((type_, list(zip(cuts[::2], cuts[1::2], strict=False))))
    number = st.integers(0, len(mentions) - 1)
    relations = draw(st.lists(st.tuples(TYPE, number, number), max_size=4)) if mentions else []
    return text, mentions, relations


@settings(deadline=None, max_examples=100)
@given(one=some_document())
def test_what_is_written_is_read_back(
    one: tuple[str, list[tuple[str, list[tuple[int, int]]]], list[tuple[str, int, int]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    text, mentions, relations = one
    lines = []
    for number, (type_, parts) in enumerate(mentions):
        place = ";".join(f"{start} {end}" for start, end in parts)
        surface = " ".join(text[start:end] for start, end in parts).replace("\n", " ")
        lines.append(f"T{number}\t{type_} {place}\t{surface}\n")
    lines += [f"R{n}\t{type_} Arg1:T{a} Arg2:T{b}\n" for n, (type_, a, b) in enumerate(relations)]
    (document,) = read_documents(write(tmp_path_factory.mktemp("brat"), text=text, annotations="".join(lines)))
    assert document.text == text
    assert [(m.type, m.start, m.end) for m in document.mentions] == [
        (type_, parts[0][0], parts[-1][1]) for type_, parts in mentions
    ]
    assert [(r.type, r.first, r.second) for r in document.relations] == [
        (type_, f"annotation T{a}", f"annotation T{b}") for type_, a, b in relations
    ]
