from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.pubtator import read_documents
from mtscale.errors import DataError

TITLE = "12|t|Naïve lithium."
ABSTRACT = "12|a|Secretword tremor and rigor. None."
MENTIONS = (
    "12\t6\t13\tlithium\tChemical\tD008094\n"
    "12\t26\t42\ttremor and rigor\tDisease\tD014202|D009127\ttremor|rigor\n"
    "12\t44\t48\tNone\tDisease\t-1\n"
)
FIRST = f"{TITLE}\n{ABSTRACT}\n{MENTIONS}12\tCID\tD008094\tD014202\n"
SECOND = "x-9|t|Second\nx-9|a|\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "corpus.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


EXPECTED = [
    Document(
        "12",
        "Naïve lithium. Secretword tremor and rigor. None.",
        14,
        (
            Mention(6, 13, "Chemical", ("D008094",)),
            Mention(26, 42, "Disease", ("D014202", "D009127")),
            Mention(44, 48, "Disease", ()),
        ),
        (Relation("CID", "D008094", "D014202"),),
    ),
    Document("x-9", "Second ", 6, (), ()),
]


@pytest.mark.parametrize(
    "text",
    [
        f"{FIRST}\n{SECOND}\n",
        f"{FIRST}\n{SECOND}",
        f"\n\n{FIRST}\n \n\n{SECOND}\n\n",
        f"{FIRST}\n{SECOND}\n".replace("\n", "\r\n"),
        f"\ufeff{FIRST}\n{SECOND}\n",
    ],
    ids=["as distributed", "no last blank line", "several blank lines", "CRLF", "byte order mark"],
)
def test_reads_documents_mentions_and_relations(tmp_path: Path, text: str) -> None:
    assert list(read_documents(write(tmp_path, text))) == EXPECTED


def test_reads_one_document_at_a_time(tmp_path: Path) -> None:
    documents = read_documents(write(tmp_path, f"{FIRST}\n13|t|Secretword without an abstract\n"))
    assert next(documents) == EXPECTED[0]
    with pytest.raises(DataError, match=r"corpus\.txt:8: expected the abstract line"):
        next(documents)


HEAD = f"{TITLE}\n{ABSTRACT}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"corpus\.txt: expected at least one document, found an empty file"),
        ("\n \n", r"corpus\.txt: expected at least one document, found an empty file"),
        (HEAD.encode("latin-1"), r":1: expected UTF-8, found byte 0xef at position 7"),
        (f"{TITLE}\n\n{ABSTRACT}\n", r":1: expected the abstract line"),
        (f"{TITLE}\n{MENTIONS}", r":2: expected the abstract line"),
        (f"{TITLE}\n{ABSTRACT}".replace("12|a|", "13|a|") + "\n", r":2: expected the abstract line"),
        (f"{ABSTRACT}\n", r":1: expected a document's title line"),
        (f"{HEAD}\n{MENTIONS}", r":4: expected a document's title line"),
        (f"{FIRST}{SECOND}", r":7: .*found 1; a blank line must stand between documents"),
        (f"{HEAD}12\t6\t13\tlithium\tChemical\n", r":3: expected 6 or 7 columns .* found 5"),
        (f"{HEAD}12\t6\t13\tlithium\tChemical\tD1\tx\ty\n", r":3: expected 6 or 7 columns .* found 8"),
        (f"{HEAD}12 6 13 lithium Chemical D1\n", r":3: expected 6 or 7 columns .* found 1"),
        (f"{HEAD}12\t6.0\t13\tlithium\tChemical\tD1\n", r":3: expected whole numbers"),
        (f"{HEAD}12\t6\t\tlithium\tChemical\tD1\n", r":3: expected whole numbers"),
        (f"{HEAD}12\t-43\t13\tlithium\tChemical\tD1\n", r":3: expected whole numbers"),
        (f"{HEAD}12\t{'9' * 5000}\t13\tlithium\tChemical\tD1\n", r":3: expected whole numbers"),
        (f"{HEAD}12\t44\t50\tNone.\tDisease\tD1\n", r":3: expected offsets 0 <= start < end <= 49, found 44 and 50"),
        (f"{HEAD}12\t13\t6\tlithium\tChemical\tD1\n", r":3: expected offsets .* found 13 and 6"),
        (f"{HEAD}12\t6\t6\t\tChemical\tD1\n", r":3: expected offsets .* found 6 and 6"),
        (f"{HEAD}12\t7\t14\tlithium\tChemical\tD1\n", r":3: the text at 7-14 is not the mention's text"),
        (f"{HEAD}13\t6\t13\tlithium\tChemical\tD1\n", r":3: expected an annotation of the document above"),
        (f"{HEAD}13\tCID\tD1\tD2\n", r":3: expected an annotation of the document above"),
        (f"{FIRST}\n{SECOND}\n{FIRST}", r":11: this document's id has occurred before"),
        ("Secretword|t|a\n13|a|b\n", r":2: expected the abstract line"),
        ("Secretword|t|a\nSecretword|a|b\n13\tCID\tD1\tD2\n", r":3: expected an annotation of the document above"),
        ("\n\n".join(["Secretword|t|a\nSecretword|a|b"] * 2) + "\n", r":4: this document's id has occurred before"),
        ("1\x07|t|a\n1\x07|a|b\n", r":1: expected an id of printable characters"),
        (FIRST.removesuffix("\n"), r":6: expected a line end, found the end of the file"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(read_documents(write(tmp_path, text)))
    assert "Secretword" not in str(caught.value)
    assert "lithium" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a readable file"):
        next(read_documents(tmp_path / "absent.txt"))


def test_a_file_cut_inside_a_line_never_reads_as_a_whole_one(tmp_path: Path) -> None:
    data = f"{FIRST}\n{SECOND}".encode()
    inside = [end for end in range(1, len(data)) if data[end - 1 : end] != b"\n"]
    for end in inside:
        with pytest.raises(DataError, match=r"corpus\.txt:\d+: "):
            list(read_documents(write(tmp_path, data[:end])))
    assert len(inside) > 200


WORD = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="|"), min_size=1)
CONCEPT = st.from_regex(r"[A-Z][0-9]{1,6}", fullmatch=True)


@st.composite
def some_documents(draw: st.DrawFn) -> list[Document]:
    documents = []
    for identifier in draw(st.lists(st.from_regex(r"[0-9]{1,8}", fullmatch=True), min_size=1, max_size=4, unique=True)):
        title, abstract = (" ".join(draw(st.lists(WORD, max_size=6))) for _ in range(2))
        text = f"{title} {abstract}"
        mentions = []
        for start in draw(st.lists(st.integers(0, len(text) - 1), max_size=4)):
            end = draw(st.integers(start + 1, len(text)))
            mentions.append(Mention(start, end, draw(WORD), tuple(draw(st.lists(CONCEPT, max_size=3)))))
        relations = [Relation("CID", first, second) for first, second in draw(st.lists(st.tuples(CONCEPT, CONCEPT)))]
        documents.append(Document(identifier, text, len(title), tuple(mentions), tuple(relations)))
    return documents


def in_pubtator(document: Document) -> str:
    title, abstract = document.text[: document.title_end], document.text[document.title_end + 1 :]
    lines = [f"{document.id}|t|{title}", f"{document.id}|a|{abstract}"]
    for one in document.mentions:
        fields = (document.id, one.start, one.end, document.text[one.start : one.end], one.type)
        lines.append("\t".join(map(str, (*fields, "|".join(one.concepts) or "-1"))))
    lines += [f"{document.id}\t{relation.type}\t{relation.first}\t{relation.second}" for relation in document.relations]
    return "".join(f"{line}\n" for line in lines)


@settings(deadline=None, max_examples=100)
@given(documents=some_documents())
def test_what_is_written_is_read_back(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("pubtator"), "\n".join(map(in_pubtator, documents)))
    assert list(read_documents(path)) == documents
