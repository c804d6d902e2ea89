from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.example import Span, TaggedExample
from mtscale.corpora.shareclef import Disorder, Report, read_examples, read_gold, read_reports
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS
from tests.costs import cost

FIXTURES = Path(__file__).parent / "fixtures"
CORPUS = FIXTURES / "ShAReCLEFEHealthCorpus"
TASK = TASKS["shareclefe"]
DISORDER = "Disease_Disorder"

NAME = "12345-678901-ECHO_REPORT"
TEXT = "Secretword: toy gout and left knee\nswollen. Joke\n\nrash.\n"
MENTIONS = (((12, 20),), ((25, 34), (35, 42)), ((12, 15), (35, 42)), ((44, 48), (50, 54)))
Parts = Sequence[tuple[int, int]]


def pipe(*mentions: Parts, name: str = NAME, type_: str = DISORDER) -> str:
    offsets = ("||".join(f"{start}||{end}" for start, end in parts) for parts in mentions)
    return "".join(f"{name}.txt||{type_}||CUI-less||{one}\n" for one in offsets)


def knowtator(text: str, *mentions: Parts, type_: str = DISORDER) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<annotations textSource="{NAME}.txt">']
    for number, parts in enumerate(mentions):
        spans = "".join(f'<span start="{start}" end="{end}" />' for start, end in parts)
        spanned = escape(" ... ".join(text[start:end] for start, end in parts))
        lines += [
            f'<annotation><mention id="m{number}" />{spans}<spannedText>{spanned}</spannedText></annotation>',
            f'<classMention id="m{number}"><mentionClass id="{type_}">{spanned}</mentionClass></classMention>',
        ]
    return "\n".join([*lines, "</annotations>\n"])


def write(folder: Path, text: str | bytes = TEXT, gold: str | bytes | None = None, name: str = NAME) -> list[Path]:
    """A folder of one report and one of its gold: XML where it looks like it, else bars."""
    gold = pipe(*MENTIONS) if gold is None else gold
    gold = gold.encode() if isinstance(gold, str) else gold
    paths = [folder / "reports", folder / "gold"]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
    (paths[0] / f"{name}.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    (paths[1] / (f"{name}.txt.knowtator.xml" if gold.startswith(b"<") else f"{name}.txt")).write_bytes(gold)
    return paths


def tagged(paths: Sequence[Path]) -> list[TaggedExample]:
    return list(read_examples(TASK, paths))


@pytest.mark.parametrize("gold", [pipe(*MENTIONS), knowtator(TEXT, *MENTIONS)], ids=["bars", "Knowtator"])
def test_mentions_with_gaps_are_in_the_gold_alone(tmp_path: Path, gold: str) -> None:
    paths = write(tmp_path, gold=gold)
    (report,) = read_reports(*paths)
    # The second mention's parts have nothing but a line end between them; a blank line is no more than that either.
    parts = [((12, 20),), ((25, 42),), ((12, 15), (35, 42)), ((44, 54),)]
    assert report == Report(NAME, TEXT, tuple(Disorder(DISORDER, one) for one in parts))
    # The last mention crosses the end of a sentence.
    assert tagged(paths) == [
        TaggedExample(f"{NAME}.s0", NAME, TEXT[:43], 0, (Span(12, 20, DISORDER), Span(25, 42, DISORDER))),
        TaggedExample(f"{NAME}.s1", NAME, "Joke", 44, ()),
        TaggedExample(f"{NAME}.s2", NAME, "rash.", 50, ()),
    ]
    (item,) = read_gold(TASK, paths)
    expected = {(12, 20), (25, 42), (12, 42), (44, 54)}
    assert item == (NAME, NAME, {Span(start, end, DISORDER) for start, end in expected})


def test_a_prediction_of_one_part_is_wrong(tmp_path: Path) -> None:
    (item,) = read_gold(TASK, write(tmp_path, gold=pipe(((12, 15), (35, 42)))))
    assert isinstance(item.value, frozenset)
    assert not item.value & {Span(12, 15, DISORDER), Span(35, 42, DISORDER)}
    assert item.value == {Span(12, 42, DISORDER)}


def test_parts_come_in_any_order_and_overlapping_ones_are_one(tmp_path: Path) -> None:
    (report,) = read_reports(
        *write(tmp_path, gold=pipe([(35, 42), (12, 15)], [(12, 20), (14, 16)], [(12, 18), (16, 20)]))
    )
    assert [one.parts for one in report.disorders] == [((12, 15), (35, 42)), ((12, 20),)]


def test_mentions_of_other_types_are_left_out(tmp_path: Path) -> None:
    paths = write(
        tmp_path, gold=" \n " + pipe(MENTIONS[0]).replace("\n", " \t\n") + pipe(MENTIONS[1], type_="Procedure")
    )
    (item,) = read_gold(TASK, paths)
    assert item.value == {Span(12, 20, DISORDER)}
    (other,) = read_gold(replace(TASK, labels=("Procedure",)), paths)
    assert other.value == {Span(25, 42, "Procedure")}


def test_masks_keep_every_offset(tmp_path: Path) -> None:
    text = "[**Secret 1**] a||||b ____ c~~d [**open [**x**] [****] [**y\n**] ||||| gout\n"
    masked = "       PATTERN a    b    _ c  d [**open PATTERN [****] [**y\n**]     | gout\n"
    start = text.index("gout")
    paths = write(tmp_path, text, pipe([(start, start + 4)]))
    (report,) = read_reports(*paths)
    assert report.text == masked
    assert len(masked) == len(text)
    (example,) = tagged(paths)
    assert example.text == masked.strip()
    assert example.text[example.spans[0].start - example.offset :] == "gout"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Toy gout is\nmild. Joke rash\nis not.", ["Toy gout is\nmild.", "Joke rash\nis not."]),
        ("Toy gout is mild.\nJoke rash.", ["Toy gout is mild.", "Joke rash."]),
        ("Toy gout\n \r\nmild", ["Toy gout", "mild"]),
        ("Findings: toy\nImpression: \njoke rash", ["Findings: toy\nImpression:", "joke rash"]),
        ("Toy gout\n1. mild\n2) joke\n- rash\n* fake\n  # pain\n\u2022 cold", 7),
        ("dose of\n1.5 ml,\n-5 to\n100. and", ["dose of\n1.5 ml,\n-5 to\n100. and"]),
        ("Toy\n____\ngout", ["Toy\n   _\ngout"]),
        ("Toy\n___\ngout", ["Toy", "gout"]),
    ],
)
def test_sentences_end_where_lines_of_notes_do(tmp_path: Path, text: str, sentences: list[str] | int) -> None:
    found = [example.text for example in tagged(write(tmp_path, text, ""))]
    assert len(found) == sentences if isinstance(sentences, int) else found == sentences


def test_offsets_count_carriage_returns_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeffToy\r\ngout\r\n"
    (report,) = read_reports(*write(tmp_path, text, knowtator(text, [(6, 10)])))
    assert report.disorders == (Disorder(DISORDER, ((6, 10),)),)
    assert report.text == text


@pytest.mark.parametrize("suffix", [".pipe", ".txt", ".xml", ".txt.knowtator.xml"])
def test_ids_are_names_without_suffixes(tmp_path: Path, suffix: str) -> None:
    paths = write(tmp_path, gold=knowtator(TEXT) if suffix.endswith(".xml") else "")
    (written,) = paths[1].iterdir()
    written.rename(paths[1] / f"{NAME}{suffix}")
    assert [report.id for report in read_reports(*paths)] == [NAME]


def test_the_fixtures_read_as_a_data_root() -> None:
    named = catalogue.naming(TASK, FIXTURES)
    assert named is not None
    train, other, test = (
        named.document(name)
        for name in ("90001-000001-DISCHARGE_SUMMARY", "90002-000002-ECHO_REPORT", "90003-000003-RADIOLOGY_REPORT")
    )
    gold = {split: catalogue.read_gold(TASK, split, FIXTURES) for split in ("train", "dev", "test")}
    assert gold["test"] == {test: {Span(19, 35, DISORDER), Span(37, 59, DISORDER)}}
    assert {**gold["train"], **gold["dev"]} == {
        train: {Span(65, 79, DISORDER), Span(85, 118, DISORDER), Span(120, 134, DISORDER)},
        other: {Span(20, 32, DISORDER)},
    }
    assert (len(gold["train"]), len(gold["dev"])) == (1, 1)


def test_every_mention_of_the_fixtures_is_found_at_its_offsets() -> None:
    train = CORPUS / "Task1TrainSetCorpus199" / "ALLREPORTS"
    golds = CORPUS / "Task1TrainSetGOLD199knowtatorehost"
    read = [list(read_reports(train, golds / form)) for form in ("Task1Gold", "ALLSAVED")]
    assert read[0] == read[1]
    read += [list(read_reports(CORPUS / TASK.files["test"][0], CORPUS / TASK.files["test"][1]))]
    found = [
        "...".join(report.text[start:end] for start, end in one.parts)
        for report in (*read[0], *read[2])
        for one in report.disorders
    ]
    assert found == [
        "pretend nausea",
        "left atrium...dilated",
        "Imaginary gout",
        "toy stenosis",
        "made-up effusion",
        "spleen...enlarged",
    ]


def test_a_list_names_the_reports_of_a_split(tmp_path: Path) -> None:
    paths = write(tmp_path, "Joke rash.\n", "", "other")
    write(tmp_path)
    (tmp_path / "reports" / "no-gold.txt").write_text("Toy gout.\n")
    listed = tmp_path / "docids.txt"
    for text in (f"{NAME}\n", f"\n{NAME}.txt\r\n{NAME}"):
        listed.write_bytes(text.encode())
        assert [item.id for item in read_gold(TASK, [*paths, listed])] == [NAME]
    listed.write_text(f"other\nSecretword-{NAME}\n")
    with pytest.raises(DataError, match=r"docids\.txt:2: expected the name of a report in .*reports, found another"):
        list(read_gold(TASK, [*paths, listed]))
    listed.write_text("no-gold\n")
    with pytest.raises(DataError, match=r"gold: expected a file here for each of 1 reports, found none for 1, first"):
        list(read_gold(TASK, [*paths, listed]))
    listed.write_text("\n")
    with pytest.raises(DataError, match=r"docids\.txt: expected reports, found none"):
        list(read_gold(TASK, [*paths, listed]))


def test_reports_come_in_the_order_of_their_names_and_one_at_a_time(tmp_path: Path) -> None:
    for name, gold in (("b", ""), ("a", ""), ("c", "nonsense\n")):
        paths = write(tmp_path, TEXT, gold, name)
    (tmp_path / "gold" / "._a.txt").write_bytes(b"\x00")
    (tmp_path / "gold" / "README.md").write_text("nonsense\n")
    reports = read_reports(*paths)
    assert [next(reports).id, next(reports).id] == ["a", "b"]
    with pytest.raises(DataError, match=r"gold/c\.txt:1: expected REPORT\.txt\|\|TYPE"):
        next(reports)


def test_reports_and_gold_have_to_go_together(tmp_path: Path) -> None:
    paths = write(tmp_path)
    (paths[1] / f"{NAME}.pipe").write_text("")
    with pytest.raises(DataError, match=rf"gold/{NAME}\.[a-z]+: expected one file of this report, found two"):
        list(read_reports(*paths))
    (paths[1] / f"{NAME}.pipe").rename(paths[1] / "other.pipe")
    with pytest.raises(DataError, match=r"reports: expected a file here for each of 2 reports, found none for 1"):
        list(read_reports(*paths))
    (paths[1] / "other.pipe").unlink()
    (paths[0] / "other.txt").write_text("")
    with pytest.raises(DataError, match=r"gold: .* found none for 1, first that of .*reports/other\.txt"):
        list(read_reports(*paths))


def test_files_that_cannot_be_read_are_data_errors(tmp_path: Path) -> None:
    paths = write(tmp_path)
    for folders in ([tmp_path / "absent", paths[1]], [paths[0], paths[1] / f"{NAME}.txt"]):
        with pytest.raises(DataError, match="expected a folder, found: "):
            list(read_reports(*folders))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: expected reports, found none"):
        list(read_reports(tmp_path / "empty", tmp_path / "empty"))
    for file in (paths[0] / f"{NAME}.txt", paths[1] / f"{NAME}.txt", paths[1] / f"{NAME}.xml"):
        (paths[1] / f"{NAME}.txt").unlink()
        file.unlink(missing_ok=True)
        file.mkdir()
        if file.parent == paths[0]:
            (paths[1] / f"{NAME}.txt").write_text("")
        with pytest.raises(DataError, match=rf"{file.parent.name}/{NAME}[.a-z]+: expected a readable file, found: "):
            list(read_reports(*paths))
        file.rmdir()
        write(tmp_path)


ONE = pipe(MENTIONS[0])
XML = knowtator(TEXT, *MENTIONS[:2])


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ("Secretword\n", ":1: expected REPORT"),
        (f"{NAME}.txt||{DISORDER}||C1\n", ":1: expected REPORT"),
        (f"{NAME}.txt||||C1||1||2\n", ":1: expected REPORT"),
        (ONE + ONE.replace("||20", ""), ":2: expected REPORT"),
        (ONE.replace("||20", "||20||25"), ":1: expected REPORT"),
        (ONE.replace("12", "-1"), ":1: expected REPORT"),
        (ONE.replace("12||", "٣||"), ":1: expected REPORT"),
        (ONE.replace("||20", "||" + "9" * 5000), ":1: expected REPORT"),
        (ONE.replace("||20", "||57"), ":1: expected offsets 0 <= start < end <= 56, found 12 and 57"),
        (ONE.replace("||20", "||12"), ":1: expected offsets .* found 12 and 12"),
        (pipe(MENTIONS[0], name="Secretword"), ":1: expected a mention of this report"),
        (ONE.replace("CUI-less", "ü").encode("latin-1"), ":1: expected UTF-8, found byte 0xfc"),
        ("<", ":1: expected well-formed XML"),
        (XML[:-20], ":6: expected well-formed XML"),
        ("<Secretword/>", ":1: expected one element annotations, found 0"),
        ("<x><annotations/><annotations/></x>", ":1: expected one element annotations, found 2"),
        ('<!DOCTYPE x [<!ENTITY y "z">]><annotations>&y;</annotations>', ":1: expected a document type"),
        (XML.replace("toy gout", "Secretword"), ":3: the text at 12-20 is not the mention's text"),
        (XML.replace('start="35"', 'start="36"'), ":5: the text at 25-42 is not the mention's text"),
        (XML.replace('end="42"', 'end="99"'), ":5: expected offsets .* found 35 and 99"),
        (XML.replace('start="35"', 'start="x"'), ":5: expected a whole number as start"),
        (XML.replace('end="42"', ""), ":5: expected an attribute end"),
        (XML.replace('<mention id="m1" />', ""), ":5: expected one element mention in this element, found 0"),
        (XML.replace('<mention id="m1" />', '<mention id="m1" /><mention id="m0" />'), ":5: .*mention .* found 2"),
        (XML.replace('<mention id="m1" />', '<mention id="m2" />'), ":5: expected a classMention"),
        (XML.replace('<classMention id="m1">', '<classMention id="m0">'), ":6: .*a second classMention of one id"),
        (XML.replace('<classMention id="m1">', "<classMention>"), ":6: expected an attribute id"),
        (XML.replace('<span start="12" end="20" />', ""), ":3: expected at least one span"),
    ],
)
def test_malformed_gold_is_one_error_with_file_and_line(tmp_path: Path, gold: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"gold/{NAME}[.a-z]+{message}") as caught:
        list(read_reports(*write(tmp_path, gold=gold)))
    assert "Secretword" not in str(caught.value)
    assert "gout" not in str(caught.value)


def test_a_mention_whose_file_gives_no_text_is_taken_at_its_offsets(tmp_path: Path) -> None:
    xml = knowtator(TEXT, MENTIONS[0]).replace("<spannedText>toy gout</spannedText>", "")
    (report,) = read_reports(*write(tmp_path, gold=xml))
    assert report.disorders == (Disorder(DISORDER, ((12, 20),)),)


def test_a_report_that_is_not_utf8_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"reports/{NAME}\.txt:2: expected UTF-8, found byte 0xfc"):
        list(read_reports(*write(tmp_path, "Toy\ngoüt\n".encode("latin-1"))))


def test_other_kinds_and_other_numbers_of_paths_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"i2b2-2010-re: .*not relation"):
        read_examples(replace(TASKS["i2b2-2010-re"], format="shareclef"), [tmp_path, tmp_path])
    for count in (1, 4):
        with pytest.raises(ConfigError, match=rf"shareclefe: .*found {count} paths"):
            read_gold(TASK, [tmp_path] * count)


TEXTS = st.text(st.sampled_from("abÄß<&.:\n [*]|~_-1") | st.characters(categories=["L"]), min_size=1, max_size=60)


@st.composite
def some_mentions(draw: st.DrawFn) -> tuple[str, list[list[tuple[int, int]]]]:
    """A text, and mentions as parts with a letter between each two."""
    text = draw(TEXTS)
    mentions = []
    for places in draw(st.lists(st.lists(st.integers(0, len(text)), min_size=2, max_size=6, unique=True), max_size=4)):
        places = sorted(places)[: len(places) // 2 * 2]
        parts = list(zip(places[::2], places[1::2], strict=True))
        gaps = (text[one[1] : other[0]] for one, other in pairwise(parts))
        if all(gap.strip() for gap in gaps) and parts not in mentions:
            mentions.append(parts)
    return text, mentions


@settings(deadline=None, max_examples=200)
@given(some=some_mentions(), xml=st.booleans())
def test_what_is_written_is_read_back(
    some: tuple[str, list[list[tuple[int, int]]]], xml: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text, mentions = some
    gold = knowtator(text, *mentions) if xml else pipe(*mentions)
    paths = write(tmp_path_factory.mktemp("report"), text, gold)
    (report,) = read_reports(*paths)
    assert [list(one.parts) for one in report.disorders] == mentions
    assert len(report.text) == len(text)
    (item,) = read_gold(TASK, paths)
    assert item.value == {Span(parts[0][0], parts[-1][1], DISORDER) for parts in mentions}
    for example in tagged(paths):
        assert example.text == report.text[example.offset : example.offset + len(example.text)]
        assert {((span.start, span.end),) for span in example.spans} <= {tuple(parts) for parts in mentions}


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("[**" * 7000, ""),
        ("[** a **" * 2500, ""),
        ("|" * 20_000, ""),
        (("\n" * 20_000), ""),
        ("1.\n" * 7000, ""),
        ("a. B" * 5000, f"{NAME}.txt||{DISORDER}||C1" + "||1||2" * 3000 + "\n"),
        ("a" * 20_000, pipe(*([(start, start + 1)] for start in range(300)))),
        ("a " * 10_000, knowtator("a " * 10_000, *([(start, start + 1)] for start in range(0, 200, 2)))),
        ("a", "<annotations>" * 1500),
    ],
    ids=["open marks", "marks", "bars", "lines", "items", "parts", "mentions", "annotations", "nesting"],
)
def test_no_small_file_takes_long(tmp_path: Path, text: str, gold: str) -> None:
    paths = write(tmp_path, text, gold)

    def read_it() -> None:
        with suppress(DataError):
            tagged(paths)

    assert cost(read_it) < 20
