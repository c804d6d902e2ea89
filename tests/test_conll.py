from __future__ import annotations

import os
import re
import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue, pubtator
from mtscale.corpora.annotated import Document, Mention
from mtscale.corpora.conll import Tag, decode, read_examples, read_gold
from mtscale.corpora.example import Span, TaggedExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS

CORPORA = os.environ.get("MTSCALE_TEST_CORPORA")
DISEASE = replace(TASKS["cdr-disease"], format="conll")
BOTH = replace(DISEASE, labels=("Chemical", "Disease"))

FILE = (
    "# newdoc\n"
    "-DOCSTART- (12) -X-\n"
    "\n"
    "Naïve\tNN\tO\n"
    "lithium\tNN\tB-Chemical\n"
    "tremor\tNN\tB-Disease\n"
    "and\tCC\tI-Disease\n"
    "rigor\tNN\tI-Disease\n"
    "\n"
    "# text = Secretword\n"
    "# \n"
    "Rats\tNN\tB-Animal\n"
    "#\tNN\tI-Disease\n"
    "\n\n"
    "-DOCSTART-\tx-9\n"
    "Pain\tNN\tI-Disease\n"
)


def write(folder: Path, text: str | bytes = FILE, name: str = "train.tsv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_words_mentions_and_documents(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert list(read_examples(BOTH, [path])) == [
        TaggedExample(
            "12.s0",
            "12",
            "Naïve lithium tremor and rigor",
            0,
            (Span(6, 13, "Chemical"), Span(14, 30, "Disease")),
            ((0, 5), (6, 13), (14, 20), (21, 24), (25, 30)),
        ),
        TaggedExample("12.s1", "12", "Rats #", 31, (Span(36, 37, "Disease"),), ((31, 35), (36, 37))),
        TaggedExample("x-9.s0", "x-9", "Pain", 0, (Span(0, 4, "Disease"),), ((0, 4),)),
    ]
    assert [tuple(item) for item in read_gold(DISEASE, [path])] == [
        ("12", "12", frozenset({Span(14, 30, "Disease"), Span(36, 37, "Disease")})),
        ("x-9", "x-9", frozenset({Span(0, 4, "Disease")})),
    ]


@pytest.mark.parametrize(
    "text",
    [FILE.replace("\n", "\r\n"), f"\ufeff{FILE}", f"\n \n{FILE}\n\n\t\n", FILE.replace("\n\n-DOC", "\n-DOC")],
    ids=["CRLF", "byte order mark", "more empty lines", "no empty line before a document"],
)
def test_line_ends_and_empty_lines_make_no_difference(tmp_path: Path, text: str) -> None:
    expected = list(read_examples(BOTH, [write(tmp_path)]))
    assert list(read_examples(BOTH, [write(tmp_path, text)])) == expected


def test_without_document_lines_each_sentence_is_a_document(tmp_path: Path) -> None:
    first = write(tmp_path, "# x\nlead O\n\n\npain B\n", "a.b.txt")
    second = write(tmp_path, "pain B\n\n-DOCSTART- -X- O O\npain B\n\npain B\n", "c")
    examples = list(read_examples(DISEASE, [first, second]))
    assert [(one.id, one.document, one.offset) for one in examples] == [
        ("a.b.2.s0", "a.b.2", 0),
        ("a.b.5.s0", "a.b.5", 0),
        ("c.1.s0", "c.1", 0),
        ("c.3.s0", "c.3", 0),
        ("c.3.s1", "c.3", 5),
    ]
    assert [item.document for item in read_gold(DISEASE, [first, second])] == ["a.b.2", "a.b.5", "c.1", "c.3"]


def test_the_first_token_line_says_what_separates_columns(tmp_path: Path) -> None:
    (example,) = read_examples(DISEASE, [write(tmp_path, "head pain\tB-Disease\n \tO\nnow\tO\n")])
    assert (example.text, example.words) == ("head pain   now", ((0, 9), (10, 11), (12, 15)))
    first, second = read_examples(DISEASE, [write(tmp_path, " lead   x  O \npa\u00a0in y B\n\n# z O\n")])
    assert (first.text, first.spans, second.text) == ("lead pa\u00a0in", (Span(5, 10, "Disease"),), "#")


def test_the_task_says_which_columns_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "O\tx\tlead\tB-Chemical\nB-Disease\tx\tpain\tO\n")
    (example,) = read_examples(replace(BOTH, columns={"token": "-2", "tag": "0"}), [path])
    assert (example.text, example.spans) == ("lead pain", (Span(5, 9, "Disease"),))
    (example,) = read_examples(replace(BOTH, columns={"token": "2"}), [path])
    assert (example.text, example.spans) == ("lead pain", (Span(0, 4, "Chemical"),))


def tags(text: str) -> list[Tag | None]:
    """The tags of a sentence, written as in a file; a bare prefix has the type X."""
    return [None if one == "O" else Tag(one[0], one[2:] or "X") for one in text.split()]


@pytest.mark.parametrize(
    "text",
    [
        "I O I I B B O I-Y I",
        "B O B I B B O B-Y B",
        "S O B E S S O S-Y S",
        "U O B L U U O U-Y U",
    ],
    ids=["IOB1", "IOB2", "BIOES", "BILOU"],
)
def test_all_schemes_are_read_by_one_rule(text: str) -> None:
    assert decode(tags(text)) == [(0, 1, "X"), (2, 4, "X"), (4, 5, "X"), (5, 6, "X"), (7, 8, "Y"), (8, 9, "X")]


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("B I-Y I-Y O I", [(0, 1, "X"), (1, 3, "Y"), (4, 5, "X")]),
        ("B I O E", [(0, 2, "X"), (3, 4, "X")]),
        ("B E E I", [(0, 2, "X"), (2, 3, "X"), (3, 4, "X")]),
        ("S I L B O", [(0, 1, "X"), (1, 3, "X"), (3, 4, "X")]),
        ("O", []),
    ],
)
def test_what_a_scheme_forbids_is_a_mention_all_the_same(text: str, mentions: list[tuple[int, int, str]]) -> None:
    assert decode(tags(text)) == mentions


@pytest.mark.parametrize(
    ("scheme", "text", "line"),
    [("IOB2", "a S", 1), ("IOB1", "a B\nb I\nc E", 3), ("BIOES", "a B\nb M", 2), (None, "a o", 1), (None, "a B-", 1)],
)
def test_tags_of_another_scheme_are_refused(tmp_path: Path, scheme: str | None, text: str, line: int) -> None:
    path = write(tmp_path, f"{text}\n")
    with pytest.raises(DataError, match=rf"train\.tsv:{line}: expected a tag in column -1: O, or one of B, I"):
        list(read_examples(replace(DISEASE, scheme=scheme), [path]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train\.tsv: expected at least one sentence, found none"),
        ("\n# Secretword\n\n-DOCSTART- (1)\n", r"train\.tsv: expected at least one sentence, found none"),
        ("Secretword\n", r":1: expected a token in column 0 and its tag in column -1, counted from 0, found 1 columns"),
        ("a\tx\tO\nSecretword\tO\n", r":2: expected 3 columns separated by tabs, .* found 2; an empty line"),
        ("a x O\n\nSecretword\tx\tO\n", r":3: expected 3 columns separated by blanks, .* found 1"),
        ("a\tO\n# Secretword\n", r":2: expected 2 columns separated by tabs"),
        ("a\tO\n\n\tO\n", r":3: expected a token in column 0, found an empty one"),
        ("a\tSecretword\n", r":1: expected a tag in column -1: O, or one of B, I, E, S, L, U with or without"),
        ("a\tB_Secretword\n", r":1: expected a tag in column -1"),
        ("a\tO\nb\tB\n", r":2: expected a tag with an entity type \(B-TYPE\), as the task has 2 labels"),
        ("-DOCSTART- (Secretword)\na\tO\n\n-DOCSTART- Secretword\n", r":4: this document's name has occurred before"),
        ("-DOCSTART- ( )\na\tO\n", r":1: expected a document's name of printable characters"),
        ("-DOCSTART- (1\x07)\na\tO\n", r":1: expected a document's name of printable characters"),
        ("a\tO\nSecretword ü\tO\n".encode("latin-1"), r":2: expected UTF-8, found byte 0xfc"),
        ("a\tO\nSecretword\tO", r":2: expected a line end, found the end of the file"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(read_examples(BOTH, [write(tmp_path, text)]))
    assert "Secretword" not in str(caught.value)


def test_files_are_read_a_sentence_at_a_time_and_must_exist(tmp_path: Path) -> None:
    examples = read_examples(BOTH, [write(tmp_path, "a O\n\nb nonsense\n"), tmp_path])
    assert next(examples).text == "a"
    with pytest.raises(DataError, match=r":3: expected a tag"):
        next(examples)
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match="expected a readable file"):
            list(read_gold(BOTH, [path]))


def test_a_document_may_not_occur_in_two_files(tmp_path: Path) -> None:
    path = write(tmp_path, "a O\n")
    with pytest.raises(DataError, match=r"train\.tsv:1: this document's name has occurred before"):
        list(read_examples(BOTH, [path, path]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": TASKS["cdr-relation"].kind}, r"cdr-disease: format conll gives tagging tasks, not relation"),
        ({"columns": {"token": "word"}}, r"cdr-disease: expected whole numbers for the columns token and tag"),
        ({"columns": {"tag": "9" * 5000}}, r"cdr-disease: expected whole numbers for the columns token and tag"),
        ({"columns": {"label": "1"}}, r"cdr-disease: expected whole numbers for the columns token and tag"),
        ({"scheme": "IO"}, r"cdr-disease: expected one of the schemes IOB1, IOB2 and BIOES"),
    ],
)
def test_tasks_that_cannot_be_read_are_refused_at_once(tmp_path: Path, change: dict[str, object], message: str) -> None:
    task = replace(DISEASE, **change)  # type: ignore[arg-type]
    for read in (read_examples, read_gold):
        with pytest.raises(ConfigError, match=message):
            read(task, [tmp_path / "absent"])


def test_the_same_column_cannot_be_token_and_tag(tmp_path: Path) -> None:
    for tag in ("0", "-2", "2", "-3"):
        with pytest.raises(DataError, match=rf":1: expected a token in column 0 and its tag in column {tag}, .* 2 col"):
            list(read_examples(replace(DISEASE, columns={"tag": tag}), [write(tmp_path, "a O\n")]))


def test_the_catalogue_reads_columns(tmp_path: Path) -> None:
    task = replace(BOTH, packaged=False, corpus="notes", files={"train": ("train.tsv",)})
    (tmp_path / "notes").mkdir()
    write(tmp_path / "notes")
    assert list(catalogue.read_gold(task, "train", tmp_path)) == ["12", "x-9"]
    assert [one.id for one in catalogue.read_examples(task, "train", tmp_path)] == ["12.s0", "12.s1", "x-9.s0"]


def in_scheme(mentions: list[tuple[str, int]], scheme: str) -> list[str]:
    """The tags of a row of mentions (type and length in words; type O stands for as many words outside)."""
    written = []
    before = "O"
    for type_, length in mentions:
        inside = [f"I-{type_}"] * length
        if scheme == "IOB2" or (scheme == "IOB1" and before == type_) or scheme in ("BIOES", "BILOU"):
            inside[0] = f"B-{type_}"
        if scheme in ("BIOES", "BILOU"):
            end, single = ("E", "S") if scheme == "BIOES" else ("L", "U")
            inside[-1] = f"{end}-{type_}"
            inside = [f"{single}-{type_}"] if length == 1 else inside
        written += ["O"] * length if type_ == "O" else inside
        before = type_
    return written


WORD = st.text(st.characters(exclude_categories=["Cs", "Z"], exclude_characters="\r\n\t"), min_size=1).filter(
    lambda word: word.strip() and word != "-DOCSTART-"
)
MENTIONS = st.lists(st.tuples(st.sampled_from(["O", "Chemical", "Disease"]), st.integers(1, 3)), min_size=1, max_size=6)


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
@settings(deadline=None, max_examples=50)
@given(sentences=st.lists(MENTIONS, min_size=1, max_size=4), data=st.data(), separator=st.sampled_from("\t "))
def test_what_is_written_is_read_back(
    scheme: str,
    sentences: list[list[tuple[str, int]]],
    data: st.DataObject,
    separator: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lines, text, expected = ["-DOCSTART- (d)\n\n"], "", set()
    for mentions in sentences:
        written = in_scheme(mentions, scheme)
        size = len(written)
        words = data.draw(st.lists(WORD, min_size=size, max_size=size))
        for type_, length in mentions:
            start = len(text)
            text += "".join(f"{word} " for word in words[:length])
            if type_ != "O":
                expected.add(Span(start, len(text) - 1, type_))
            lines += [f"{word}{separator}x{separator}{tag}\n" for word, tag in zip(words, written, strict=False)][
                :length
            ]
            words, written = words[length:], written[length:]
        lines.append("\n")
    path = write(tmp_path_factory.mktemp("conll"), "".join(lines))
    task = replace(BOTH, scheme=None if scheme == "BILOU" else scheme)
    (item,) = read_gold(task, [path])
    assert item.value == expected
    examples = list(read_examples(task, [path]))
    assert " ".join(one.text for one in examples) + " " == text
    assert all(text[one.offset :].startswith(one.text) for one in examples)
    assert [text[start:end] for one in examples for start, end in one.words or ()] == text.split(" ")[:-1]


def in_six_columns(document: Document) -> tuple[str, list[Mention]]:
    """A document with a token a line and its tag in the last of six columns, and the mentions that tags can hold."""
    lines, kept = [f"-DOCSTART- ({document.id})\n\n"], []
    for start, end in document.sentences():
        tags, last = {}, start
        for one in sorted(document.mentions_inside(start, end), key=lambda one: (one.start, -one.end)):
            if one.start >= last:
                tags[one.start], last = one, one.end
                kept.append(one)
        bounds = sorted({bound for one in tags.values() for bound in (one.start, one.end)})
        inside, prefix = None, ""
        for place in re.finditer(r"\w+|[^\w\s]", document.text[start:end]):
            cuts = [place.start() + start, place.end() + start]
            cuts[1:1] = [bound for bound in bounds if cuts[0] < bound < cuts[1]]
            for one, other in pairwise(cuts):
                prefix = "I"
                if one in tags:
                    inside, prefix = tags[one], "B"
                elif inside is not None and one >= inside.end:
                    inside = None
                token = document.text[one:other]
                tag = f"{prefix}-{inside.type}" if inside else "O"
                lines.append(f"{token}\t{token.lower()}\tX0\tNN\tB-NP\t{tag}\n")
        lines.append("\n")
    return "".join(lines), kept


@pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")
@pytest.mark.parametrize(
    ("split", "chemicals", "diseases"), [("Training", 5203, 4182), ("Development", 5347, 4244), ("Test", 5385, 4424)]
)
def test_bc5cdr_in_six_columns_keeps_its_mentions(tmp_path: Path, split: str, chemicals: int, diseases: int) -> None:
    source = Path(CORPORA or "") / "bc5cdr" / f"CDR_{split}Set.PubTator.txt"
    originals = {one.id: one for one in pubtator.read_documents(source)}
    written = {id_: in_six_columns(one) for id_, one in originals.items()}
    path = write(tmp_path, "".join(text for text, _ in written.values()))
    texts = dict.fromkeys(originals, "")
    for example in read_examples(BOTH, [path]):
        texts[example.document] += f"{example.text} "
    found = Counter[str]()
    for item in read_gold(BOTH, [path]):
        assert isinstance(item.value, frozenset)
        for span, mention in zip(sorted(item.value), written[item.document][1], strict=True):
            surface = originals[item.document].text[mention.start : mention.end]
            assert texts[item.document][span.start : span.end].replace(" ", "") == surface.replace(" ", "")
            assert span.label == mention.type
            found[span.label] += 1
    assert found == {"Chemical": chemicals, "Disease": diseases}


def test_names_by_place_are_not_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "".join(f"word{number} O\n\n" for number in range(20_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_examples(BOTH, [path])) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
