r"""BRAT stand-off folders (brat.nlplab.org/standoff.html): a document's text is DOC.txt, its annotations DOC.ann.

    T1<TAB>Chemical 0 8<TAB>Naloxone
    T2<TAB>Disease 20 25;31 39<TAB>acute toxicity
    R1<TAB>induces Arg1:T1 Arg2:T2

Offsets are half-open and count the characters of the text, line ends included. Of the annotations the mentions (T) and
the relations (R) between two of them are read. Events (E), attributes (A, M), normalizations (N), notes (#) and
equivalences (*) say nothing that tagging or a relation needs and are passed over, and so are relations of an event.

A discontinuous mention becomes one from the start of its first part to the end of its last: spans have one start and
one end, and so a prediction of one part alone is wrong, as it is for a contiguous mention of which a part is found.

The first line is taken for the title. It ends a sentence, and so does an empty line; other line breaks are blanks, as
many texts are wrapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtscale.corpora import mention_relations
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.example import Example, GoldItem
from mtscale.corpora.lines import Line, numbered_lines
from mtscale.corpora.mention_relations import own_concept
from mtscale.errors import DataError
from mtscale.tasks import Task

_PASSED_OVER = ("E", "A", "M", "N", "#", "*")
_TYPE_AND_PLACE = re.compile(r"(\S+) ([0-9]{1,9} [0-9]{1,9}(?:;[0-9]{1,9} [0-9]{1,9})*)")
_RELATION = re.compile(r"(\S+) [^\s:]+:([TE]\S*) [^\s:]+:([TE]\S*) *")
_BLANK = re.compile(r"\s")
EMPTY_LINE = re.compile(r"\n[ \t\r]*\n")


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of a tagging or relation task in BRAT folders; ids as in ``annotated``.

    A relation task's ``arguments`` are types of mentions and its labels types of relations.

    Raises:
        ConfigError: the task cannot be read from documents with mentions.
        DataError: as ``read_documents``.
    """
    return mention_relations.examples(task, read_documents(*paths))


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The gold of a tagging or relation task in BRAT folders, with relations across sentences.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return mention_relations.gold(task, read_documents(*paths))


def read_documents(*folders: Path) -> Iterator[Document]:
    """Read folders one document at a time, in the order of their names; a mention's one concept is its annotation.

    Raises:
        DataError: a folder holds no documents, one of a document's two files is missing, or a file is malformed,
            with file and line.
    """
    seen: set[str] = set()
    for folder in folders:
        for name in _document_names(folder):
            if name in seen:
                raise DataError(
                    f"{folder / name}.txt: document {name} occurs a second time; ids must be unique in a split"
                )
            seen.add(name)
            yield read_document(name, folder)


def _document_names(folder: Path) -> list[str]:
    try:
        # Names that begin with a dot are the file system's own (macOS leaves "._DOC.txt" beside DOC.txt).
        files = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise DataError(f"{folder}: expected a folder of .txt and .ann files, found: {error.strerror}") from None
    names = sorted(name.removesuffix(".txt") for name in files if name.endswith(".txt"))
    if not names:
        raise DataError(f"{folder}: expected a folder of .txt and .ann files, found no .txt file directly in it")
    alone = sorted(name for name in files if name.endswith(".ann") and name.removesuffix(".ann") not in names)
    if alone:
        raise DataError(f"{folder}: expected a .txt file beside each .ann file, found {len(alone)} without; add them")
    for number, name in enumerate(names, start=1):
        if not name.isprintable():
            raise DataError(
                f"{folder}: expected file names of printable characters, found others in the name of .txt file "
                f"{number} of {len(names)}, sorted by name; rename it"
            )
        if f"{name}.ann" not in files:
            raise DataError(
                f"{folder / name}.ann: expected the annotations of document {name}, found no such file; "
                "make an empty one if there are none"
            )
    return names


def read_document(name: str, folder: Path) -> Document:
    """The document that NAME.txt and NAME.ann of a folder are.

    Raises:
        DataError: one of them cannot be read or is malformed, with file and line.
    """
    text = read_text(folder / f"{name}.txt")
    mentions: dict[str, Mention] = {}
    relations: list[tuple[Line, Relation]] = []
    for line in numbered_lines(folder / f"{name}.ann"):
        if line.text.startswith("T"):
            id_, mention = _mention(line, text)
            if id_ in mentions:
                raise line.error("expected an id of its own for each T line, found one that has occurred before")
            mentions[id_] = mention
        elif line.text.startswith("R"):
            relations += ((line, relation) for relation in _relation(line))
        elif line.text.strip() and not line.text.startswith(_PASSED_OVER):
            raise line.error(f"expected an annotation (T, R, {', '.join(_PASSED_OVER)}), found another line")
    concepts = {own_concept(id_) for id_ in mentions}
    for line, relation in relations:
        if not {relation.first, relation.second} <= concepts:
            raise line.error("expected a relation between two T lines of this file, found an id that no T line has")
    return Document(
        id=name,
        text=text,
        title_end=len(text.partition("\n")[0]),
        mentions=tuple(mentions.values()),
        relations=tuple(relation for _, relation in relations),
        boundaries=tuple(gap.start() for gap in EMPTY_LINE.finditer(text)),
    )


def read_text(path: Path) -> str:
    """Every character of a UTF-8 file, line ends as they are.

    Raises:
        DataError: it cannot be read, or is not UTF-8, with file and line.
    """
    try:
        # Not read as text: translated line ends would move the offsets.
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: expected UTF-8, found byte 0x{error.object[error.start]:02x}; convert the file"
        ) from None


def _mention(line: Line, text: str) -> tuple[str, Mention]:
    columns = line.text.split("\t", 2)
    place = _TYPE_AND_PLACE.fullmatch(columns[1]) if len(columns) == 3 else None
    if place is None:
        raise line.error(
            "expected an id, a type with offsets (TYPE START END[;START END]) and a text, separated by tabs"
        )
    parts = [(int(start), int(end)) for start, end in (part.split(" ") for part in place[2].split(";"))]
    passed = 0
    for start, end in parts:
        if not passed <= start < end <= len(text):
            raise line.error(f"expected offsets {passed} <= start < end <= {len(text)}, found {start} and {end}")
        passed = end
    # BRAT writes the line breaks inside a mention as blanks, and one blank between its parts.
    found = " ".join(text[start:end] for start, end in parts)
    if _BLANK.sub(" ", found) != _BLANK.sub(" ", columns[2]):
        raise line.error(
            "the text at these offsets is not the mention's text (column 3); offsets must count characters of the .txt "
            "file, line ends included"
        )
    return columns[0], Mention(parts[0][0], parts[-1][1], place[1], (own_concept(columns[0]),))


def _relation(line: Line) -> list[Relation]:
    """The relation of an R line as a list of one; an empty list if an argument is an event."""
    columns = line.text.split("\t")
    match = _RELATION.fullmatch(columns[1]) if len(columns) > 1 else None
    if match is None or any(column.strip() for column in columns[2:]):
        raise line.error("expected an id and a relation with two arguments (TYPE Arg1:T1 Arg2:T2), separated by a tab")
    type_, first, second = match.groups()
    if "E" in (first[0], second[0]):
        return []
    return [Relation(type_, own_concept(first), own_concept(second))]
