"""PubTator files, the format of BC5CDR: documents separated by blank lines.

    227508|t|Title
    227508|a|Abstract
    227508<TAB>0<TAB>8<TAB>Naloxone<TAB>Chemical<TAB>D009270
    227508<TAB>CID<TAB>D008750<TAB>D007022

Offsets are half-open and count characters of title, one blank and abstract. Concept ids are joined by ``|``, ``-1``
is none; a seventh column spells out the parts of a composite mention and is not needed here.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.example import Example, Gold
from mtscale.errors import DataError
from mtscale.tasks import Task

NO_CONCEPT = "-1"

_TITLE = re.compile(r"([^|\s]+)\|t\|(.*)", re.DOTALL)
_ABSTRACT = re.compile(r"([^|\s]+)\|a\|(.*)", re.DOTALL)
_OFFSET = re.compile(r"[0-9]{1,9}")


def read_examples(task: Task, path: Path) -> Iterator[Example]:
    """The examples of a tagging or relation task in a PubTator file.

    Raises:
        ConfigError: the task cannot be read from documents with mentions.
        DataError: as ``read_documents``.
    """
    return annotated.examples(task, read_documents(path))


def read_gold(task: Task, path: Path) -> Gold:
    """The gold of a tagging or relation task in a PubTator file.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return annotated.gold(task, read_documents(path))


def read_documents(path: Path) -> Iterator[Document]:
    """Read a file one document at a time.

    A file cut between two annotation lines cannot be told from a whole one; any other cut is an error.

    Raises:
        DataError: the file is empty or malformed, with file and line.
    """
    seen: set[str] = set()
    for blank, lines in groupby(numbered_lines(path), key=lambda line: not line.text.strip()):
        if blank:
            continue
        first, *rest = lines
        document = _document(first, rest)
        if document.id in seen:
            raise first.error(f"document {document.id} occurs a second time; ids must be unique in a file")
        seen.add(document.id)
        yield document
    if not seen:
        raise DataError(f"{path}: expected at least one document, found an empty file")


class Line(NamedTuple):
    """A line of a text file without its line end, and where it stands (numbers from 1)."""

    path: Path
    number: int
    text: str

    def error(self, message: str) -> DataError:
        """An error that names this line."""
        return DataError(f"{self.path}:{self.number}: {message}")


def numbered_lines(path: Path) -> Iterator[Line]:
    r"""The lines of a UTF-8 file, ended by ``\n`` or ``\r\n``; a byte order mark is dropped.

    Raises:
        DataError: the file cannot be opened, a line is not UTF-8, or the last one has no line end.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from None
    with file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if not raw.endswith(b"\n"):
                raise DataError(
                    f"{path}:{number}: expected a line end, found the end of the file: it may have been cut; "
                    "fetch it again, or add a line end if it is whole"
                )
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}:{number}: expected UTF-8, found byte 0x{raw[error.start]:02x} at position {error.start} "
                    "of the line; convert the file"
                ) from None
            yield Line(path, number, text.removesuffix("\n").removesuffix("\r"))


def _document(first: Line, rest: list[Line]) -> Document:
    title = _TITLE.fullmatch(first.text)
    if title is None:
        raise first.error("expected a document's title line, ID|t|TITLE, found something else")
    second = rest[0] if rest else first
    abstract = _ABSTRACT.fullmatch(second.text)
    if abstract is None or abstract[1] != title[1]:
        raise second.error(f"expected the abstract line of document {title[1]}, ID|a|ABSTRACT, after its title")
    text = f"{title[2]} {abstract[2]}"
    mentions: list[Mention] = []
    relations: list[Relation] = []
    for line in rest[1:]:
        columns = line.text.split("\t")
        if len(columns) not in (4, 6, 7):
            raise line.error(
                f"expected 6 or 7 columns (a mention) or 4 (a relation) separated by tabs, found {len(columns)}; "
                "a blank line must stand between documents"
            )
        if columns[0] != title[1]:
            raise line.error(f"expected an annotation of document {title[1]}, found another document's id")
        if len(columns) == 4:
            relations.append(Relation(*columns[1:]))
        else:
            mentions.append(_mention(line, columns, text))
    return Document(title[1], text, len(title[2]), tuple(mentions), tuple(relations))


def _mention(line: Line, columns: list[str], text: str) -> Mention:
    if not (_OFFSET.fullmatch(columns[1]) and _OFFSET.fullmatch(columns[2])):
        raise line.error("expected whole numbers as offsets in columns 2 and 3, found something else")
    start, end = int(columns[1]), int(columns[2])
    if not start < end <= len(text):
        raise line.error(f"expected offsets 0 <= start < end <= {len(text)}, found {start} and {end}")
    if text[start:end] != columns[3]:
        raise line.error(
            f"the text at {start}-{end} is not the mention's text (column 4); "
            "offsets must count characters of title + one blank + abstract"
        )
    concepts = tuple(concept for concept in columns[5].split("|") if concept not in ("", NO_CONCEPT))
    return Mention(start, end, columns[4], concepts)
