"""Every format through reading, annotating and writing: offsets are true, what comes out can be read again."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from mtscale.corpora import bioc, brat, conll, pubtator
from mtscale.corpora.annotated import Document, Mention, relation_examples
from mtscale.corpora.conll import Tag
from mtscale.serving import trained
from mtscale.serving.annotate import Annotated, Annotator, FoundMention
from mtscale.serving.predictor import Predictor
from mtscale.serving.reading import plain_document, read
from mtscale.serving.units import Failure, Unit
from mtscale.serving.writing import WRITERS, LinesWriter
from mtscale.tasks import TASKS
from tests.trained import make_trained_run

# Letters of one and of several bytes, combining ones, astral ones, tabs, line ends, and what ends sentences.
WORDS = st.sampled_from(
    [
        "iron",
        "Tremor",
        "was",
        "given",
        "naïve",
        "e\u0301dema",
        "β-blocker",
        "中毒",
        "🧪",
        "(5%)",
        "a.b",
        "It",
        "I",
        "-",
        "\u200b",
        "10\u2009mg",
        "vitamin\xa0C",
    ]
)
GAPS = st.sampled_from([" ", "  ", ". ", ", ", "! "])
NO_SHRINK = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def texts(*more_gaps: str) -> st.SearchStrategy[str]:
    gaps = st.one_of(GAPS, st.sampled_from(list(more_gaps))) if more_gaps else GAPS
    return st.lists(st.tuples(WORDS, gaps), min_size=1, max_size=25).map(lambda parts: "".join(map("".join, parts)))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Predictor:
    return Predictor(trained.load_run(make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder)))


def annotate(predictor: Predictor, format_: str, path: Path, **options: str) -> list[Annotated]:
    items = list(read(format_, path, options))
    assert not [item for item in items if isinstance(item, Failure)]
    return list(Annotator(predictor).annotate(item for item in items if isinstance(item, Unit)))


def written(predictor: Predictor, format_: str, found: Iterable[Annotated]) -> str:
    stream = io.StringIO()
    writer = WRITERS[format_](stream, predictor.tasks)
    for one in found:
        writer.write(one)
    writer.end()
    return stream.getvalue()


def lines(predictor: Predictor, found: Iterable[Annotated]) -> list[dict]:
    stream = io.StringIO()
    writer = LinesWriter(stream, predictor.tasks, str)
    for one in found:
        writer.write(one)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def stretches(mentions: Iterable[Mention]) -> set[tuple[int, int, str]]:
    return {(one.start, one.end, one.type) for one in mentions}


def found_stretches(found: Annotated) -> set[tuple[int, int, str]]:
    return {(one.start, one.end, one.label) for one in found.mentions}


def assert_true_offsets(found: Annotated, text: str) -> None:
    """Spans lie in the text, begin and end with a character that is no blank, and hold whole sentences' parts."""
    for mention in found.mentions:
        inside = text[mention.start : mention.end]
        assert inside
        assert inside == inside.strip()
        assert mention.score is not None
        assert 0 < mention.score <= 1


@NO_SHRINK
@given(text=texts("\n", "\r\n", "\t", "\n\n"))
def test_raw_text(predictor: Predictor, tmp_path: Path, text: str) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(text.encode())
    (found,) = annotate(predictor, "text", path)
    assert isinstance(found.unit.content, Document)
    assert found.unit.content.text == text
    assert_true_offsets(found, text)
    (line,) = lines(predictor, [found])
    assert line["document"] == "note"
    assert {(one["start"], one["end"], one["label"]) for one in line["mentions"]} == found_stretches(found)


@NO_SHRINK
@given(
    titles=st.lists(st.tuples(texts("\t"), texts("\t")), min_size=1, max_size=3), end=st.sampled_from(["\n", "\r\n"])
)
def test_pubtator(predictor: Predictor, tmp_path: Path, titles: list[tuple[str, str]], end: str) -> None:
    blocks = [f"{number}|t|{title}{end}{number}|a|{abstract}{end}" for number, (title, abstract) in enumerate(titles)]
    path = tmp_path / "docs.txt"
    path.write_bytes(end.join(blocks).encode())
    found = annotate(predictor, "pubtator", path)
    for one, (title, abstract) in zip(found, titles, strict=True):
        assert isinstance(one.unit.content, Document)
        assert one.unit.content.text == f"{title} {abstract}"
        assert_true_offsets(one, one.unit.content.text)
    # A column of a PubTator file cannot hold a tab: a mention with one in it has a blank there.
    (tmp_path / "out.txt").write_bytes(written(predictor, "pubtator", found).encode())
    if not any("\t" in part for pair in titles for part in pair):
        for again, one in zip(pubtator.read_documents(tmp_path / "out.txt"), found, strict=True):
            assert isinstance(one.unit.content, Document)
            assert again.text == one.unit.content.text
            assert stretches(again.mentions) == found_stretches(one)


def test_blanks_of_other_kinds_stay_in_a_pubtator_mention(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1|t|Vitamin\xa0C, 10\u2009mg\n1|a|It helps.\n", encoding="utf-8")
    (unit,) = read("pubtator", tmp_path / "a.txt", {})
    assert isinstance(unit, Unit)
    mentions = [FoundMention(start, end, "Chemical", (), "cdr-chemical", 0.5) for start, end in ((0, 9), (11, 16))]
    (tmp_path / "b.txt").write_text(written(predictor, "pubtator", [Annotated(unit, mentions)]), encoding="utf-8")
    (again,) = pubtator.read_documents(tmp_path / "b.txt")
    assert stretches(again.mentions) == {(0, 9, "Chemical"), (11, 16, "Chemical")}


def test_half_a_character_in_a_row_is_written_as_it_came(predictor: Predictor, tmp_path: Path) -> None:
    row = {"id": "1", "text": "Iron hurts.", "note": "cut \ud83d"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (found,) = annotate(predictor, "jsonl", tmp_path / "a.jsonl")
    again = json.loads(written(predictor, "jsonl", [found]).encode("utf-8"))
    assert {name: again[name] for name in row} == row


@NO_SHRINK
@given(text=texts("\n", "\r\n", "\t", "\n\n"))
def test_brat(predictor: Predictor, tmp_path: Path, text: str) -> None:
    for name, content in (("a.txt", text), ("a.ann", "")):
        (tmp_path / name).write_bytes(content.encode())
    (found,) = annotate(predictor, "brat", tmp_path / "a.txt")
    assert_true_offsets(found, text)
    (tmp_path / "a.ann").write_bytes(written(predictor, "brat", [found]).encode())
    (again,) = brat.read_documents(tmp_path)
    assert again.text == text
    assert stretches(again.mentions) == found_stretches(found)
    positives = [one for one in found.relations if not one.negative]
    assert len(again.relations) == len(positives)


def bioc_file(passages: Sequence[Sequence[str]]) -> str:
    """A document of passages; those of several parts are given by sentences. Two blanks stand between parts."""
    root = etree.Element("collection")
    for name in ("source", "date", "key"):
        etree.SubElement(root, name).text = f"the {name}"
    document = etree.SubElement(root, "document")
    etree.SubElement(document, "id").text = "7"
    offset = 0
    for parts in passages:
        passage = etree.SubElement(document, "passage")
        etree.SubElement(passage, "infon", key="kind").text = "some"
        etree.SubElement(passage, "offset").text = str(offset)
        for part in parts:
            place = passage
            if len(parts) > 1:
                place = etree.SubElement(passage, "sentence")
                etree.SubElement(place, "offset").text = str(offset)
            etree.SubElement(place, "text").text = part
            offset += len(part) + 2
    return etree.tostring(root, encoding="unicode")


@NO_SHRINK
@given(passages=st.lists(st.lists(texts("\t", "\n"), min_size=1, max_size=3), min_size=1, max_size=3))
def test_bioc(predictor: Predictor, tmp_path: Path, passages: list[list[str]]) -> None:
    (tmp_path / "c.xml").write_bytes(bioc_file(passages).encode())
    (found,) = annotate(predictor, "bioc", tmp_path / "c.xml")
    text = "  ".join(part for parts in passages for part in parts)
    assert_true_offsets(found, text)
    (tmp_path / "out.xml").write_bytes(written(predictor, "bioc", [found]).encode())
    (again,) = bioc.read_documents(tmp_path / "out.xml")
    assert again.text == text
    assert stretches(again.mentions) == found_stretches(found)
    assert len(again.relations) == sum(not one.negative for one in found.relations)
    root = etree.parse(tmp_path / "out.xml").getroot()
    assert [child.tag for child in root] == ["source", "date", "key", "document"]
    assert root.findtext("source") == "the source"


@NO_SHRINK
@given(
    sentences=st.lists(st.lists(WORDS, min_size=1, max_size=40), min_size=1, max_size=4),
    separator=st.sampled_from(["\t", " "]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_conll(predictor: Predictor, tmp_path: Path, sentences: list[list[str]], separator: str, end: str) -> None:
    rows = [[f"{word}{separator}X{separator}O{end}" for word in sentence] for sentence in sentences]
    content = f"-DOCSTART- (d){end}{end}" + end.join("".join(sentence) for sentence in rows)
    (tmp_path / "a.conll").write_bytes(content.encode())
    found = annotate(predictor, "conll", tmp_path / "a.conll")
    (tmp_path / "out.conll").write_bytes(written(predictor, "conll", found).encode())
    text = " ".join(word for sentence in sentences for word in sentence)
    # Tags stand last, those of the taggers in the model's order.
    for column, task in ((-2, "cdr-disease"), (-1, "cdr-chemical")):
        columns = {"token": "0", "tag": str(column)}
        (label,) = TASKS[task].labels
        reader = replace(TASKS[task], format="conll", columns=columns)
        again = list(conll.read_examples(reader, [tmp_path / "out.conll"]))
        assert [one.text.split(" ") for one in again] == sentences
        for example, one in zip(again, found, strict=True):
            prediction = one.predictions[task]
            assert {(span.start, span.end, span.label) for span in example.spans} == set(prediction["spans"])
            assert conll.decode(None if tag == "O" else Tag(tag[0], label) for tag in prediction["tags"]) == [
                (s, e, label) for s, e in _word_spans(prediction["words"], prediction["spans"])
            ]
            for start, end_, _ in prediction["spans"]:
                assert text[start:end_].strip() == text[start:end_]


def _word_spans(words: list[tuple[int, int]], spans: list[tuple[int, int, str]]) -> list[tuple[int, int]]:
    starts, ends = {start: n for n, (start, _) in enumerate(words)}, {end: n + 1 for n, (_, end) in enumerate(words)}
    return [(starts[start], ends[end]) for start, end, _ in spans]


@NO_SHRINK
@given(rows=st.lists(st.tuples(texts(), texts()), min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n"]))
def test_pairs_in_tables(predictor: Predictor, tmp_path: Path, rows: list[tuple[str, str]], end: str) -> None:
    header = "id\tpremise\tnumber\thypothesis"
    content = [header, *(f"p{n}\t{one}\t{n}\t{other}" for n, (one, other) in enumerate(rows))]
    (tmp_path / "a.tsv").write_bytes((end.join(content) + end).encode())
    objects = [{"id": f"p{n}", "premise": one, "hypothesis": other} for n, (one, other) in enumerate(rows)]
    (tmp_path / "a.jsonl").write_bytes("".join(json.dumps(one) + end for one in objects).encode())
    from_tsv, from_jsonl = (annotate(predictor, name, tmp_path / f"a.{name}") for name in ("tsv", "jsonl"))
    assert [one.predictions for one in from_tsv] == [one.predictions for one in from_jsonl]
    table = [line.split("\t") for line in written(predictor, "tsv", from_tsv).splitlines()]
    assert table[0][:4] == header.split("\t")
    assert table[0][4:] == ["cdr-similarity", "evidence-inference", "evidence-inference.probabilities"]
    again = [json.loads(line) for line in written(predictor, "jsonl", from_jsonl).splitlines()]
    for row, one, found in zip(table[1:], again, from_tsv, strict=True):
        label = found.predictions["evidence-inference"]["label"]
        assert row[5] == label == one["predictions"]["evidence-inference"]
        assert float(row[4]) == found.predictions["cdr-similarity"]["score"] == one["predictions"]["cdr-similarity"]
        assert sum(json.loads(row[6]).values()) == pytest.approx(1, abs=1e-5)
    for line, found in zip(lines(predictor, from_tsv), from_tsv, strict=True):
        assert line["id"] == found.unit.id
        assert not re.search("iron|Tremor", json.dumps(line))


def test_relations_between_given_mentions(predictor: Predictor, tmp_path: Path) -> None:
    text = "Iron caused a tremor. It was not lead that did."
    annotations = ["T1\tChemical 0 4\tIron", "T2\tDisease 14 20\ttremor", "T3\tChemical 33 37\tlead"]
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.ann").write_text("".join(line + "\n" for line in annotations))
    units = [item for item in read("brat", tmp_path / "a.txt", {}) if isinstance(item, Unit)]
    (found,) = Annotator(predictor, "given").annotate(units)
    assert found_stretches(found) == {(0, 4, "Chemical"), (14, 20, "Disease"), (33, 37, "Chemical")}
    ((first, second),) = [(one.first, one.second) for one in found.relations]
    assert (first.start, first.end, second.start, second.end) == (0, 4, 14, 20), "not across sentences"
    # The sample's own reader makes the same input of it, and its head says the same.
    document = Document("a", text, 0, tuple(units[0].content.mentions), ())  # type: ignore[union-attr]
    ready = list(relation_examples(TASKS["cdr-relation"], [document]))
    (alone,) = predictor.predict(ready)
    assert found.relations[0].label == alone["cdr-relation"]["label"]
    assert list(found.relations[0].probabilities.values()) == alone["cdr-relation"]["probabilities"]


def test_sentences_of_raw_text_do_not_cross_an_empty_line() -> None:
    text = "A title without a stop\r\n\r\nThe text\ngoes on. Then more"
    sentences = [text[start:end] for start, end in plain_document("1", text).sentences()]
    assert sentences == ["A title without a stop", "The text\ngoes on.", "Then more"]
