"""Documents of every format, wherever their files are cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtscale.corpora import pubtator
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.errors import DataError
from mtscale.pretraining.documents import Stretch, cut, read
from mtscale.recipe_sections import TextFormat

WORDS = st.text(alphabet="ab éß中|t", min_size=1, max_size=12)
LINE_ENDS = st.sampled_from(["\n", "\r\n"])
SIZES = st.integers(min_value=1, max_value=40)
LENIENT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_all(paths: list[Path], text_format: TextFormat, size: int, field: str | None = None) -> list[str]:
    groups = cut(paths, text_format, size)
    return [text for group in groups for stretch in group for text in read(stretch, text_format, field)]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@LENIENT
@given(lines=st.lists(st.one_of(WORDS, st.just("")), max_size=8), end=LINE_ENDS, last=st.booleans(), size=SIZES)
def test_lines_are_documents_wherever_the_file_is_cut(
    tmp_path: Path, lines: list[str], end: str, last: bool, size: int
) -> None:
    text = end.join(lines) + (end if last else "")
    path = write(tmp_path, "text.txt", text)
    assert read_all([path], "lines", size) == [line for line in lines if line.strip()]


@LENIENT
@given(
    documents=st.lists(st.lists(WORDS.filter(str.strip), min_size=1, max_size=3), max_size=5),
    blanks=st.lists(st.lists(st.sampled_from(["", " ", "\t"]), min_size=1, max_size=3), min_size=6, max_size=6),
    end=LINE_ENDS,
    leading=st.booleans(),
    size=SIZES,
)
def test_paragraphs_are_documents_wherever_the_file_is_cut(
    tmp_path: Path, documents: list[list[str]], blanks: list[list[str]], end: str, leading: bool, size: int
) -> None:
    lines = list(blanks[5]) if leading else []
    for document, between in zip(documents, blanks, strict=False):
        lines += [*document, *between]
    path = write(tmp_path, "text.txt", end.join(lines))
    assert read_all([path], "paragraphs", size) == ["\n".join(document) for document in documents]


@LENIENT
@given(texts=st.lists(st.text(max_size=12), max_size=6), size=SIZES, ascii_only=st.booleans())
def test_jsonl_gives_the_named_member(tmp_path: Path, texts: list[str], size: int, ascii_only: bool) -> None:
    lines = [json.dumps({"id": number, "abstract": text}, ensure_ascii=ascii_only) for number, text in enumerate(texts)]
    # What str.splitlines takes for a line end may stand in JSON as it is; only line feeds end a line.
    path = tmp_path / "text.jsonl"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", errors="surrogatepass"))
    expected = [text for text in texts if text.strip()]
    assert read_all([path], "jsonl", size, "abstract") == expected


@LENIENT
@given(texts=st.lists(st.text(alphabet="ab\n é", max_size=20), min_size=1, max_size=5), size=SIZES, mark=st.booleans())
def test_files_are_documents_and_never_cut(tmp_path: Path, texts: list[str], size: int, mark: bool) -> None:
    paths = [write(tmp_path, f"{number}.txt", ("\ufeff" if mark else "") + text) for number, text in enumerate(texts)]
    assert read_all(paths, "files", size) == [text for text in texts if text.strip()]


@pytest.mark.parametrize("size", [1, 97, 1000, 10**7])
def test_pubtator_gives_what_the_corpus_reader_gives(size: int) -> None:
    path = SAMPLE_FOLDER / "cdr" / "train.pubtator.txt"
    expected = [document.text for document in pubtator.read_documents(path)]
    assert read_all([path], "pubtator", size) == expected


def test_small_files_come_together_and_large_ones_in_parts(tmp_path: Path) -> None:
    paths = [write(tmp_path, f"{number}.txt", "word\n" * count) for number, count in enumerate([2, 3, 100, 1])]
    groups = cut(paths, "lines", 100)
    assert all(sum(part.end - part.start for part in group) <= 100 for group in groups)
    assert [part.path.name for part in groups[0]] == ["0.txt", "1.txt"]
    assert len([part for group in groups for part in group if part.path.name == "2.txt"]) == 5


@pytest.mark.parametrize(
    ("text_format", "content", "message"),
    [
        ("lines", b"fine\nbr\xffken\n", "text:2: expected UTF-8, found byte 0xff"),
        ("paragraphs", b"fine\n\nso\nbr\xffken\n", "text:4: expected UTF-8"),
        ("files", b"fine\nbr\xffken", "text:2: expected UTF-8"),
        ("jsonl", b'{"text": "a"}\nsecret\n', "text:2: expected a JSON object, found something else"),
        ("jsonl", b"[1]\n", "text:1: expected a JSON object, found another JSON value"),
        ("jsonl", b'{"txt": "secret"}\n', "text:1: expected a text in the member 'text' (pretrain.field), found no"),
        ("jsonl", b'{"text": 3}\n', "found another value"),
        ("pubtator", b"1|t|A\n1|a|B\n\n2|t|secret\n", "text:4: expected ID|t|TITLE and ID|a|ABSTRACT"),
    ],
)
def test_what_is_malformed_is_told_with_its_line_and_no_text(
    tmp_path: Path, text_format: TextFormat, content: bytes, message: str
) -> None:
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_all([path], text_format, 7)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value).replace("'txt'", "")


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: expected a readable file"):
        list(read(Stretch(tmp_path / "gone", 0, 5), "lines"))
    with pytest.raises(DataError, match="gone: expected a readable file"):
        cut([tmp_path / "gone"], "lines", 5)
