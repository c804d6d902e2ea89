"""PubTator files, the format of BC5CDR: documents separated by blank lines.

    227508|t|Title
    227508|a|Abstract
    227508<TAB>0<TAB>8<TAB>Naloxone<TAB>Chemical<TAB>D009270
    227508<TAB>CID<TAB>D008750<TAB>D007022

Offsets are half-open and count characters of title, one blank and abstract. Concept ids are joined by ``|``, ``-1``
is none; a seventh column spells out the parts of a composite mention and is not needed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.example import Example, GoldItem
from mtscale.corpora.lines import Line, numbered_lines
from mtscale.errors import DataError
from mtscale.tasks import Task

NO_CONCEPT = "-1"

_TITLE = re.compile(r"([^|\s]+)\|t\|(.*)", re.DOTALL)
_ABSTRACT = re.compile(r"([^|\s]+)\|a\|(.*)", re.DOTALL)
_OFFSET = re.compile(r"[0-9]{1,9}")


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of a tagging or relation task in PubTator files.

    Raises:
        ConfigError: the task cannot be read from documents with mentions.
        DataError: as ``read_documents``.
    """
    return annotated.examples(task, read_documents(*paths))


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The gold of a tagging or relation task in PubTator files.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return annotated.gold(task, read_documents(*paths))


def read_documents(*paths: Path) -> Iterator[Document]:
    """Read files one document at a time.

    A file cut between two annotation lines cannot be told from a whole one; any other cut is an error.

    Raises:
        DataError: a file is empty or malformed, with file and line.
    """
    seen: set[str] = set()
    for path in paths:
        empty = True
        for blank, lines in groupby(numbered_lines(path), key=lambda line: not line.text.strip()):
            if blank:
                continue
            empty = False
            first, *rest = lines
            document = read_document(first, rest)
            if document.id in seen:
                raise first.error("this document's id has occurred before; ids must be unique in a split")
            seen.add(document.id)
            yield document
        if empty:
            raise DataError(f"{path}: expected at least one document, found an empty file")


def read_document(first: Line, rest: Sequence[Line]) -> Document:
    """The document that the lines between two blank ones are.

    Raises:
        DataError: they are malformed, with file and line.
    """
    title = _TITLE.fullmatch(first.text)
    if title is None:
        raise first.error("expected a document's title line, ID|t|TITLE, found something else")
    if not title[1].isprintable():
        raise first.error("expected an id of printable characters for this document, found another")
    second = rest[0] if rest else first
    abstract = _ABSTRACT.fullmatch(second.text)
    if abstract is None or abstract[1] != title[1]:
        raise second.error("expected the abstract line, ID|a|ABSTRACT, of the document whose title stands before it")
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
            raise line.error("expected an annotation of the document above, found another document's id")
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
