from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.example import RelationExample, Span, TaggedExample
from mtscale.corpora.i2b2 import RELATIONS, Concept, Record, Stated, read_examples, read_gold, read_records
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Access, Kind
from tests.costs import cost

FIXTURES = Path(__file__).parent / "fixtures"
RELATION = TASKS["i2b2-2010-re"]
TAGGING = replace(RELATION, kind=Kind.TAGGING, labels=("problem", "treatment", "test"), negative=None)

TEXT = "INVENTED NOTE\nSecretword eased Toy Pain and joke rash after fake scan .\n\nToy pain . Gone .\n"
CONCEPTS = (
    'c="secretword" 2:0 2:0||t="treatment"\n'
    'c="toy pain" 2:2 2:3||t="problem"\n'
    'c="joke rash" 2:5 2:6||t="problem"\n'
    'c="fake scan" 2:8 2:9||t="test"\n'
    'c="toy pain" 4:0 4:1||t="problem"\n'
)
RELATIONS_FILE = (
    'c="secretword" 2:0 2:0||r="TrIP"||c="toy pain" 2:2 2:3\n'
    'c="joke rash" 2:5 2:6||r="PIP"||c="toy pain" 2:2 2:3\n'
    'c="fake scan" 2:8 2:9||r="TeRP"||c="joke rash" 2:5 2:6\n'
    'c="fake scan" 2:8 2:9||r="TeCP"||c="joke rash" 2:5 2:6\n'
)


def write(folder: Path, text: str | bytes = TEXT, con: str | bytes = CONCEPTS, rel: str | bytes = "") -> Path:
    for suffix, content in (("txt", text), ("con", con), ("rel", rel)):
        path = folder / suffix / f"doc.{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def relations(folder: Path) -> Mapping[str, tuple[str, ...]]:
    examples = [one for one in read_examples(RELATION, [folder]) if isinstance(one, RelationExample)]
    return {one.id: one.labels for one in examples}


def read(folder: Path) -> Record:
    (record,) = read_records([folder], with_relations=True)
    return record


def test_candidates_are_the_pairs_of_a_line_that_a_relation_can_join(tmp_path: Path) -> None:
    write(tmp_path, rel=RELATIONS_FILE)
    expected = {
        "doc.2:0-0.2:2-3": ("TrIP",),
        "doc.2:0-0.2:5-6": ("false",),
        "doc.2:2-3.2:5-6": ("PIP",),
        "doc.2:2-3.2:8-9": ("false",),
        # In the order of the task's labels. A treatment and a test are never related: no pair of 2:0-0 and 2:8-9.
        "doc.2:5-6.2:8-9": ("TeCP", "TeRP"),
    }
    assert relations(tmp_path) == expected
    write(tmp_path, con="".join(reversed(CONCEPTS.splitlines(keepends=True))), rel=RELATIONS_FILE)
    assert list(relations(tmp_path).items()) == list(expected.items())
    assert {item.id: item.value for item in read_gold(RELATION, [tmp_path])} == expected
    first = next(read_examples(RELATION, [tmp_path]))
    assert first == RelationExample(
        id="doc.2:0-0.2:2-3",
        document="doc",
        text="Secretword eased Toy Pain and joke rash after fake scan .",
        offset=14,
        arguments=(Span(14, 24, "treatment"), Span(31, 39, "problem")),
        labels=("TrIP",),
    )


def test_relations_that_are_no_candidates_stay_in_the_gold(tmp_path: Path) -> None:
    across_lines = 'c="toy pain" 4:0 4:1||r="TrAP"||c="secretword" 2:0 2:0\n'
    wrong_types = 'c="secretword" 2:0 2:0||r="TrAP"||c="fake scan" 2:8 2:9\n'
    write(tmp_path, rel=across_lines + wrong_types)
    gold = {item.id: item.value for item in read_gold(RELATION, [tmp_path])}
    assert gold["doc.2:0-0.4:0-1"] == gold["doc.2:0-0.2:8-9"] == ("TrAP",)
    assert {key: gold[key] for key in gold if gold[key] == ("false",)} == relations(tmp_path)


def test_a_task_may_take_some_of_the_relations(tmp_path: Path) -> None:
    task = replace(RELATION, labels=("none", "PIP"), negative="none")
    gold = {item.id: item.value for item in read_gold(task, [write(tmp_path, rel=RELATIONS_FILE)])}
    assert gold.pop("doc.2:2-3.2:5-6") == ("PIP",)
    assert set(gold.values()) == {("none",)}


def test_sentences_are_lines_and_words_the_files_own(tmp_path: Path) -> None:
    examples = list(read_examples(TAGGING, [write(tmp_path, text=TEXT.replace("\n", "\r\n"))]))
    assert [one for one in examples if isinstance(one, TaggedExample)] == [
        TaggedExample("doc.s0", "doc", "INVENTED NOTE", 0, (), ((0, 8), (9, 13))),
        TaggedExample(
            "doc.s1",
            "doc",
            "Secretword eased Toy Pain and joke rash after fake scan .",
            15,
            (Span(15, 25, "treatment"), Span(32, 40, "problem"), Span(45, 54, "problem"), Span(61, 70, "test")),
            (
                (15, 25),
                (26, 31),
                (32, 35),
                (36, 40),
                (41, 44),
                (45, 49),
                (50, 54),
                (55, 60),
                (61, 65),
                (66, 70),
                (71, 72),
            ),
        ),
        TaggedExample(
            id="doc.s2",
            document="doc",
            # A full stop inside a line ends no sentence.
            text="Toy pain . Gone .",
            offset=76,
            spans=(Span(76, 84, "problem"),),
            words=((76, 79), (80, 84), (85, 86), (87, 91), (92, 93)),
        ),
    ]
    (gold,) = read_gold(replace(TAGGING, labels=("test",)), [tmp_path])
    assert gold == ("doc", "doc", {Span(61, 70, "test")})


@pytest.mark.parametrize("first", [1, 0], ids=["an empty token 0", "the first word is token 0"])
def test_leading_blanks_are_read_as_the_concepts_text_says(tmp_path: Path, first: int) -> None:
    write(tmp_path, text="  Toy pain .\n", con=f'c="toy pain" 1:{first} 1:{first + 1}||t="problem"\n')
    (concept,) = read(tmp_path).concepts
    assert (concept.start, concept.end, concept.position) == (2, 10, f"1:{first}-{first + 1}")


def test_of_two_readings_the_empty_token_comes_first(tmp_path: Path) -> None:
    write(tmp_path, text=" pain pain .\n", con='c="pain" 1:1 1:1||t="problem"\n')
    assert read(tmp_path).concepts[0].start == 1
    write(tmp_path, text="pain pain", con='c="pain" 1:1 1:1||t="problem"\n')
    assert read(tmp_path).concepts[0].start == 5


def test_a_position_may_not_name_two_places(tmp_path: Path) -> None:
    write(tmp_path, text="  joke toy\n", con='c="joke" 1:1 1:1||t="problem"\nc="toy" 1:1 1:1||t="problem"\n')
    with pytest.raises(DataError, match=r"doc\.con:2: expected a position that names one place"):
        read(tmp_path)


def test_concepts_may_hold_quotes_and_bars_and_differ_in_blanks(tmp_path: Path) -> None:
    text = 'The "toy" 1:2||t="x" pain\xa0 \t stays .\n'
    con = 'c="the "toy" 1:2||t="x" pain" 1:0 1:3||t="problem"\nc="stays" 1:4 1:4||t="treatment" \r\n\n'
    rel = 'c="stays" 1:4 1:4||r="TrAP"||c="the "toy" 1:2||t="x" pain" 1:0 1:3'
    record = read(write(tmp_path, text, con, rel))
    assert [text[one.start : one.end] for one in record.concepts] == ['The "toy" 1:2||t="x" pain', "stays"]
    assert record.stated == (Stated("TrAP", *record.concepts),)


def test_concepts_at_one_place_are_one_for_relations_and_all_for_tagging(tmp_path: Path) -> None:
    con = CONCEPTS + 'c="toy pain" 2:2 2:3||t="test"\nc="toy pain" 2:2 2:3||t="problem"\n'
    write(tmp_path, con=con, rel=RELATIONS_FILE)
    assert relations(tmp_path)["doc.2:0-0.2:2-3"] == ("TrIP",)
    assert len(relations(tmp_path)) == len(list(read_examples(RELATION, [tmp_path]))) == 5
    (gold,) = read_gold(TAGGING, [tmp_path])
    assert isinstance(gold.value, frozenset)
    assert {Span(31, 39, "problem"), Span(31, 39, "test")} <= gold.value
    assert len(read(tmp_path).concepts) == 6


def test_the_fixtures_read_as_a_data_root() -> None:
    task = replace(RELATION, access=Access.OPEN)
    gold = {split: catalogue.read_gold(task, split, FIXTURES) for split in ("train", "dev", "test")}
    assert gold["test"] == {"fixture-0003.2:0-2.2:7-8": ("TeCP",), "fixture-0003.3:0-0.3:5-6": ("TrNAP",)}
    assert {**gold["train"], **gold["dev"]} == {
        "fixture-0001.3:3-4.3:6-7": ("PIP",),
        "fixture-0001.4:0-0.4:4-6": ("TrAP",),
        "fixture-0001.5:0-2.5:4-5": ("TeRP",),
        "fixture-0002.2:0-0.2:2-4": ("TrWP",),
        "fixture-0002.3:5-5.3:7-9": ("false",),
    }
    assert len(gold["train"]) > 0 < len(gold["dev"])


def test_every_concept_of_the_fixtures_is_found_at_its_offsets() -> None:
    original = FIXTURES / "i2b2-2010" / "original"
    records = {record.id: record for record in read_records(list(original.iterdir()), with_relations=True)}
    found = 0
    for path in original.rglob("*.con"):
        record = records[path.stem]
        written = [line.split('"')[1] for line in path.read_text().splitlines()]
        assert [record.text[one.start : one.end].lower() for one in record.concepts] == written
        found += len(written)
    assert (len(records), found) == (3, 14)


def test_texts_of_the_test_set_stand_beside_and_unannotated_records_are_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    gold = tmp_path / "reference_standard_for_test_data"
    gold.mkdir()
    (tmp_path / "con").rename(gold / "concepts")
    (tmp_path / "rel").rename(gold / "rel")
    (tmp_path / "txt").rename(tmp_path / "test_data")
    (tmp_path / "test_data" / "without-gold.txt").write_text("Secretword\n")
    (gold / "rel" / "._doc.rel").write_bytes(b"\x00")
    (gold / "unannotated").mkdir()
    (gold / "unannotated" / "other.con").write_text("nonsense\n")
    assert len(relations(gold)) == 5
    # Another corpus' folder does as well, when it is named.
    (tmp_path / "test_data").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "without-gold.txt").unlink()
    assert len(list(read_gold(RELATION, [gold, tmp_path / "elsewhere"]))) == 5


@pytest.mark.parametrize(
    ("there", "missing"), [("txt", "con"), ("txt con", "rel"), ("txt rel", "con"), ("con rel", "txt"), ("rel", "con")]
)
def test_a_record_without_one_of_its_files_is_refused(tmp_path: Path, there: str, missing: str) -> None:
    write(tmp_path)
    for suffix in there.split():
        (tmp_path / suffix / f"other.{suffix}").write_bytes((tmp_path / suffix / f"doc.{suffix}").read_bytes())
    with pytest.raises(DataError, match=rf"other\.\w+: expected a file other\.{missing} for this record, found none"):
        list(read_examples(RELATION, [tmp_path]))
    if missing == "rel":
        assert len(list(read_gold(TAGGING, [tmp_path]))) == 2


@pytest.mark.parametrize("suffix", ["txt", "con", "rel"])
def test_a_record_that_occurs_twice_is_refused(tmp_path: Path, suffix: str) -> None:
    write(tmp_path)
    (tmp_path / "zzz").mkdir()
    (tmp_path / "zzz" / f"doc.{suffix}").write_bytes(b"")
    with pytest.raises(DataError, match=rf"zzz/doc\.{suffix}: record doc has a \.{suffix} file already at .*{suffix}"):
        list(read_gold(RELATION, [tmp_path]))


def test_a_concept_without_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, text=" toy pain\n", con='c="" 1:0 1:1||t="problem"\n')
    with pytest.raises(DataError, match=r"doc\.con:1: the text at 1:0 to 1:1 is not the concept's text"):
        read(tmp_path)


def test_folders_without_records_and_strange_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected files \*\.con in these folders, found none"):
        list(read_gold(RELATION, [tmp_path / "absent"]))
    write(tmp_path)
    (tmp_path / "con" / "a\tb\n.con").write_text("")
    with pytest.raises(DataError, match=r"expected names of printable characters") as caught:
        list(read_gold(RELATION, [tmp_path]))
    assert "\t" not in str(caught.value)


def test_a_folder_in_place_of_a_file_is_a_data_error(tmp_path: Path) -> None:
    write(tmp_path)
    for suffix in ("rel", "con", "txt"):
        (tmp_path / suffix / f"doc.{suffix}").unlink()
        (tmp_path / suffix / f"doc.{suffix}").mkdir()
        with pytest.raises(DataError, match=rf"doc\.{suffix}: expected a readable file, found: Is a directory"):
            list(read_gold(RELATION, [tmp_path]))


PLACE = 'c="toy pain" 2:2 2:3'


@pytest.mark.parametrize(
    ("con", "rel", "message"),
    [
        ('c="secretword"', "", r"doc\.con:1: expected a concept"),
        (CONCEPTS + 'c="toy pain" 2:2 2:3||t="problem', "", r"doc\.con:6: expected a concept"),
        (f'{PLACE}||t="problem" x', "", r"doc\.con:1: expected a concept"),
        (f'{PLACE}||t="Secretword"', "", r"doc\.con:1: expected one of the types problem, treatment, test, found ano"),
        ('c="toy pain" 2:2 4:1||t="problem"', "", r"doc\.con:1: .* one of the text's 5 lines, found lines 2 and 4"),
        ('c="toy pain" 6:0 6:1||t="problem"', "", r"doc\.con:1: .* found lines 6 and 6"),
        ('c="toy pain" 3:0 3:1||t="problem"', "", r"doc\.con:1: the text at 3:0 to 3:1 is not the concept's text"),
        ('c="toy pain" 2:3 2:2||t="problem"', "", r"doc\.con:1: the text at 2:3 to 2:2"),
        ('c="toy pain" 2:2 2:99||t="problem"', "", r"doc\.con:1: the text at 2:2 to 2:99"),
        (f'c="toy pain" 2:2 2:{"9" * 5000}||t="problem"', "", r"doc\.con:1: expected a concept"),
        ('c="toy pain" ٢:2 ٢:3||t="problem"', "", r"doc\.con:1: expected a concept"),
        ('c="toy pain" -2:2 -2:3||t="problem"', "", r"doc\.con:1: expected a concept"),
        (
            'c="Secretword ü" 2:0 2:0||t="problem"\n'.encode("latin-1"),
            "",
            r"doc\.con:1: expected UTF-8, found byte 0xfc",
        ),
        (CONCEPTS, f'{PLACE}||r="PIP"||{PLACE}x', r"doc\.rel:1: expected a relation"),
        (CONCEPTS, f'{PLACE}||r="PIP"', r"doc\.rel:1: expected a relation"),
        (
            CONCEPTS,
            f'{PLACE}||r="Secretword"||{PLACE}',
            r"doc\.rel:1: expected one of the relations TrIP, .*, found ano",
        ),
        (CONCEPTS, f'{PLACE}||r="PIP"||c="toy" 2:2 2:2', r"doc\.rel:1: .* two concepts of the \.con file"),
        (CONCEPTS, f'{PLACE}||r="PIP"||c="toy pain" 2:5 2:6', r"doc\.rel:1: the text at 2:5 to 2:6 is not"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(
    tmp_path: Path, con: str | bytes, rel: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, con=con, rel=rel))
    assert "secretword" not in str(caught.value).lower()
    assert "toy" not in str(caught.value)


def test_a_text_that_is_not_utf8_is_an_error_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, text="one\ntwo ü\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"doc\.txt:2: expected UTF-8, found byte 0xfc"):
        read(tmp_path)


def test_other_kinds_and_tasks_without_a_negative_label_are_refused_at_once() -> None:
    for reader in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=r"i2b2-2010-re: .* not similarity"):
            reader(replace(RELATION, kind=Kind.SIMILARITY), [Path("absent")])
        with pytest.raises(ConfigError, match=r"i2b2-2010-re: .*negative"):
            reader(replace(RELATION, negative=None), [Path("absent")])


WORD = st.text(st.sampled_from('abÄß"|:1.c=_'), min_size=1, max_size=5)


@st.composite
def some_records(draw: st.DrawFn) -> Record:
    lines = draw(
        st.lists(st.tuples(st.sampled_from(["", " ", "\t "]), st.lists(WORD, max_size=6)), min_size=1, max_size=4)
    )
    text, words, concepts = "", [], []
    for number, (blanks, line) in enumerate(lines, start=1):
        places = []
        text += blanks
        for word in line:
            places.append((len(text), len(text) + len(word)))
            text += word + draw(st.sampled_from([" ", " ", "  "]))
        text += "\n"
        words.append(tuple(places))
        shift = 1 if blanks else 0
        for first in draw(st.sets(st.integers(0, len(places) - 1), max_size=2)) if places else ():
            last = draw(st.integers(first, len(places) - 1))
            start, end = places[first][0], places[last][1]
            type_ = draw(st.sampled_from(["problem", "treatment", "test"]))
            concepts.append(Concept(start, end, type_, number, first + shift, last + shift))
    words.append(())
    concepts = list({(one.start, one.end): one for one in concepts}.values())
    stated = []
    if concepts:
        chosen = st.sampled_from(concepts)
        for label, one, other in draw(st.lists(st.tuples(st.sampled_from(RELATIONS), chosen, chosen), max_size=4)):
            stated.append(Stated(label, *sorted([one, other])))
    return Record("doc", text, 0, (), (), (), tuple(words), tuple(concepts), tuple(stated))


def place(record: Record, concept: Concept) -> str:
    text = " ".join(record.text[concept.start : concept.end].lower().split())
    return f'c="{text}" {concept.line}:{concept.first} {concept.line}:{concept.last}'


@settings(deadline=None, max_examples=150)
@given(record=some_records())
def test_what_is_written_is_read_back(record: Record, tmp_path_factory: pytest.TempPathFactory) -> None:
    con = "".join(f'{place(record, one)}||t="{one.type}"\n' for one in record.concepts)
    rel = "".join(f'{place(record, two)}||r="{label}"||{place(record, one)}\n' for label, one, two in record.stated)
    found = read(write(tmp_path_factory.mktemp("record"), record.text, con, rel))
    assert replace(found, mentions=()) == record
    assert [(one.start, one.end, one.type) for one in found.mentions] == [one[:3] for one in record.concepts]


@pytest.mark.parametrize(
    ("con", "rel"),
    [
        ('c="' * 7000, ""),
        ('c="a" 1:1 1:1||t="' * 1000, ""),
        ("".join(f'c="a" 1:{token} 1:{token}||t="problem"\n' for token in range(600)), ""),
        ("", 'c="a" 1:1 1:1||r="PIP"||c="' * 700),
        ("", 'c="a" 1:1 1:1||r="PIP"||' * 800),
    ],
    ids=["quotes", "concepts on one line", "many concepts", "unfinished relations", "relations on one line"],
)
def test_no_small_file_takes_long(tmp_path: Path, con: str, rel: str) -> None:
    write(tmp_path, "a " * 10_000, con, rel)

    def read_it() -> None:
        with suppress(DataError):
            read(tmp_path)

    assert cost(read_it) < 20
