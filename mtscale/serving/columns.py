"""Columns as in the CoNLL shared tasks, read for their tokens alone (the tags, if any, are not looked at)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mtscale.corpora.conll import is_document_start, name_of_document
from mtscale.corpora.example import TaggedExample
from mtscale.corpora.lines import Line
from mtscale.errors import ConfigError, DataError
from mtscale.serving.raw_lines import RawLine, raw_lines, to_line
from mtscale.serving.units import Failure, Item, Unit

_COLUMN = re.compile(r"-?[0-9]{1,4}")
_DOCUMENT_START = re.compile(rb"-DOCSTART-(?:\s|$)")


def read_conll(path: Path, columns: Mapping[str, str]) -> Iterator[Item]:
    """Each sentence with its tokens as words; the source is the lines before it, those of its tokens, and what
    separates their columns.

    Raises:
        ConfigError: ``columns`` does not say which column holds the tokens by a number.
        DataError: the file cannot be read.
    """
    token = columns.get("token", "0")
    if not _COLUMN.fullmatch(token):
        raise ConfigError(f"expected a number in --column token=N, found {token!r}; columns count from 0")
    document, number, offset = "", 0, 0
    separator: str | None = None
    width = 0
    passed: list[str] = []
    for block in _blocks(path):
        size = sum(len(raw) for _, raw in block)
        try:
            lines = [to_line(path, *raw) for raw in block]
            if is_document_start(lines[0]):
                document, number, offset = name_of_document(lines[0]), 0, 0
                passed.append(lines[0].text)
                continue
            comments = _comments(lines, width)
            passed += [line.text for line in lines[:comments]]
            lines = lines[comments:]
            if not lines:
                continue
            if separator is None:
                separator = "\t" if "\t" in lines[0].text else " "
                width = len(_cells(lines[0].text, separator))
            tokens = [_token(line, separator, width, int(token)) for line in lines]
        except DataError as error:
            yield Failure(f"line {block[0][0]}", str(error), size)
            continue
        # Where no line begins a document, each sentence is one, named by its place.
        named = document or f"{path.stem}.{lines[0].number}"
        example = _sentence(named, number if document else 0, offset if document else 0, tokens)
        yield Unit(example.id, example, (tuple(passed), tuple(line.text for line in lines), separator), size)
        passed = []
        number, offset = number + 1, offset + len(example.text) + 1


def _blocks(path: Path) -> Iterator[list[RawLine]]:
    """Each -DOCSTART- line alone, and the lines of each sentence, comments included."""
    block: list[RawLine] = []
    for number, raw in raw_lines(path):
        begins, blank = _DOCUMENT_START.match(raw) is not None, not raw.strip()
        if block and (begins or blank):
            yield block
            block = []
        if begins:
            yield [(number, raw)]
        elif not blank:
            block.append((number, raw))
    if block:
        yield block


def _comments(lines: list[Line], width: int) -> int:
    """How many comments stand before the tokens: lines that begin with "# " and have not a token line's columns."""
    count = 0
    while count < len(lines) and lines[count].text.startswith("# "):
        text = lines[count].text
        if width and len(_cells(text, "\t" if "\t" in text else " ")) == width:
            break
        count += 1
    return count


def _cells(text: str, separator: str) -> list[str]:
    return text.split("\t") if separator == "\t" else [cell for cell in text.split(" ") if cell]


def _token(line: Line, separator: str, width: int, column: int) -> str:
    cells = _cells(line.text, separator)
    if len(cells) != width or not -width <= column < width:
        raise line.error(
            f"expected {width} columns, as in the first token line, with the token in column {column}, found "
            f"{len(cells)}; an empty line must stand between sentences"
        )
    if not cells[column].strip():
        raise line.error(f"expected a token in column {column}, found an empty one")
    return cells[column]


def _sentence(document: str, number: int, offset: int, tokens: list[str]) -> TaggedExample:
    words: list[tuple[int, int]] = []
    start = offset
    for token in tokens:
        words.append((start, start + len(token)))
        start += len(token) + 1
    return TaggedExample(f"{document}.s{number}", document, " ".join(tokens), offset, (), tuple(words))
