"""Inputs of a prediction, a unit at a time: what is malformed is given as a ``Failure`` and the rest goes on.

A document ends in PubTator files and in columns at a blank line, in JSONL and TSV tables at the end of the line, in
BioC at the end of its element, and in raw text and BRAT at the end of the file. Annotations are optional everywhere.

    text      sentences do not cross an empty line
    pubtator, bioc, brat   as in training (see ``corpora``)
    conll     the token in the first column, or ``token=N``; a document's text is its tokens joined by single blanks
    tsv       a header; jsonl   an object a line; the roles of columns as in ``corpora.rows``, told by their names
              (``corpora.table_columns``) or ``ROLE=NAME``: sentence1 and sentence2 (a pair), text with start1,
              end1, type1, start2, end2, type2 (marked arguments), sentence (masked already), text alone (a document)
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from mtscale.corpora import bioc, brat, pubtator, table_columns
from mtscale.corpora.annotated import Document
from mtscale.corpora.brat import EMPTY_LINE
from mtscale.corpora.example import Example, PairExample, RelationExample, Span
from mtscale.corpora.lines import Line
from mtscale.corpora.safe_xml import read_elements
from mtscale.errors import DataError
from mtscale.serving.columns import read_conll
from mtscale.serving.raw_lines import paragraphs, raw_lines, to_line
from mtscale.serving.units import Failure, Item, Unit

_PUBTATOR_ID = re.compile(rb"([^|\s]+)\|t\|")
_OFFSET = re.compile(r"[0-9]{1,9}")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MARKED = ("text", "start1", "end1", "type1", "start2", "end2", "type2")

Columns = Mapping[str, str]
"""Where things stand in a table, {role: column}, as far as the user says."""


def read(format_: str, path: Path, columns: Columns) -> Iterator[Item]:
    """The units of an input file (for BRAT its .txt).

    Raises:
        DataError: the file cannot be read, or not on from where it is.
    """
    return READERS[format_](path, columns)


def _read_text(path: Path, _: Columns) -> Iterator[Item]:
    text = brat.read_text(path)
    yield Unit(path.stem, plain_document(path.stem, text), None, path.stat().st_size)


def plain_document(id_: str, text: str) -> Document:
    """A text without a title, whose sentences do not cross an empty line."""
    return Document(id_, text, 0, (), (), tuple(gap.start() for gap in EMPTY_LINE.finditer(text)))


def _read_brat(path: Path, _: Columns) -> Iterator[Item]:
    document = brat.read_document(path.stem, path.parent)
    yield Unit(document.id, document, None, path.stat().st_size)


def _read_pubtator(path: Path, _: Columns) -> Iterator[Item]:
    for block in paragraphs(path):
        size = sum(len(raw) for _, raw in block)
        try:
            first, *rest = (to_line(path, number, raw) for number, raw in block)
            document = pubtator.read_document(first, rest)
        except DataError as error:
            named = _PUBTATOR_ID.match(block[0][1].removeprefix(codecs.BOM_UTF8))
            id_ = named[1].decode("utf-8", "replace") if named else f"line {block[0][0]}"
            yield Failure(id_, str(error), size)
        else:
            yield Unit(document.id, document, (first.text, rest[0].text), size)


def _read_bioc(path: Path, _: Columns) -> Iterator[Item]:
    header: tuple[str, ...] | None = None
    for element in read_elements(path, "document"):
        if header is None:
            parent = element.getparent()
            before = [] if parent is None else [child for child in parent if child.tag != "document"]
            header = tuple(etree.tostring(child, encoding="unicode", with_tail=False) for child in before)
        xml = etree.tostring(element, encoding="unicode", with_tail=False)
        try:
            document = bioc.read_document(path, element)
        except DataError as error:
            named = element.find("id")
            id_ = (None if named is None else named.text) or f"line {element.sourceline}"
            yield Failure(id_.strip(), str(error), len(xml))
        else:
            yield Unit(document.id, document, (header, xml), len(xml))


def _read_tsv(path: Path, columns: Columns) -> Iterator[Item]:
    lines = raw_lines(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: expected a header line, found an empty file")
    header = to_line(path, *first)
    names = header.text.split("\t")
    roles = _roles(names, columns)
    _require(header, roles)
    for number, raw in lines:
        try:
            cells = to_line(path, number, raw).text.split("\t")
            line = Line(path, number, "")
            if len(cells) != len(names):
                raise line.error(f"expected {len(names)} columns, as the header has, found {len(cells)}")
            row = dict(zip(names, cells, strict=True))
            example = _row_content(line, row, roles, str(number - 1))
        except DataError as error:
            yield Failure(f"line {number}", str(error), len(raw))
        else:
            yield Unit(example.id, example, (names, cells), len(raw))


def _read_jsonl(path: Path, columns: Columns) -> Iterator[Item]:
    for number, raw in raw_lines(path):
        if not raw.strip():
            continue
        try:
            line = to_line(path, number, raw)
            unit = read_object(line, _object(line), columns, len(raw))
        except DataError as error:
            yield Failure(f"line {number}", str(error), len(raw))
        else:
            yield unit


def read_object(line: Line, members: Mapping[str, Any], columns: Columns, size: int) -> Unit:
    """The pair, marked sentence or document that a JSON object holds; without an id its line's number is one.

    Raises:
        DataError: something is missing or malformed.
    """
    roles = _roles(list(members), columns)
    _require(line, roles)
    example = _row_content(line, members, roles, str(line.number))
    return Unit(example.id, example, members, size)


def _object(line: Line) -> dict[str, Any]:
    try:
        value: object = json.loads(line.text)
    except (ValueError, RecursionError):
        raise line.error("expected a JSON object, found something that is not JSON or is nested too deeply") from None
    if not isinstance(value, dict):
        raise line.error("expected a JSON object, found another JSON value")
    return value


def _roles(names: Sequence[str], columns: Columns) -> dict[str, str]:
    """The column of each role: where the user says so, else by its name."""
    named = {role: name for role, name in columns.items() if name in names}
    return table_columns.roles([name for name in names if name not in named.values()]) | named


def _require(line: Line, roles: Mapping[str, str]) -> None:
    if not ({"sentence1", "sentence2"} <= roles.keys() or {"text", "sentence"} & roles.keys()):
        raise line.error(
            "expected columns sentence1 and sentence2 (a pair), sentence (arguments masked) or text, found others; say "
            "which they are with --column ROLE=NAME"
        )


def has_rows(names: Sequence[str]) -> bool:
    """Whether columns of these names are those of a table to predict on."""
    roles = _roles(names, {})
    return {"sentence1", "sentence2"} <= roles.keys() or bool({"text", "sentence"} & roles.keys())


def _row_content(line: Line, row: Mapping[str, Any], roles: Mapping[str, str], number: str) -> Document | Example:
    """The pair, the marked sentence or the document of a row."""

    def text(role: str) -> str:
        value = row[roles[role]]
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # an offset or an index
        if not isinstance(value, str) or not value.strip():
            raise line.error(f"expected a text as {role}, found none")
        if _SURROGATE.search(value):
            raise line.error(f"expected Unicode text as {role}, found half of a surrogate pair")
        return value

    id_ = text("index") if "index" in roles else number
    document = text("document") if "document" in roles else id_
    if {"sentence1", "sentence2"} <= roles.keys():
        return PairExample(id_, document, text("sentence1"), text("sentence2"), "")
    if set(_MARKED) <= roles.keys():
        sentence = text("text")
        one, two = (_argument(line, sentence, *(text(f"{part}{n}") for part in ("start", "end", "type"))) for n in "12")
        return RelationExample(id_, document, sentence, 0, (one, two), ())
    # A column "text" is taken for either role.
    if "sentence" in roles and roles["sentence"] != roles.get("text"):
        return RelationExample(id_, document, text("sentence"), 0, None, ())
    return plain_document(id_, text("text"))


def _argument(line: Line, sentence: str, start: str, end: str, type_: str) -> Span:
    if not (_OFFSET.fullmatch(start) and _OFFSET.fullmatch(end) and int(start) < int(end) <= len(sentence)):
        raise line.error(f"expected offsets 0 <= start < end <= {len(sentence)} of each argument, found others")
    if not type_.isprintable():
        raise line.error("expected printable characters only in the types of the arguments, found others")
    return Span(int(start), int(end), type_)


READERS: Mapping[str, Callable[[Path, Columns], Iterator[Item]]] = {
    "text": _read_text,
    "pubtator": _read_pubtator,
    "brat": _read_brat,
    "bioc": _read_bioc,
    "conll": read_conll,
    "jsonl": _read_jsonl,
    "tsv": _read_tsv,
}
