"""Documents of text without annotations, read from stretches of files: a corpus need not be read from its beginning.

A *stretch* is a part of a file by bytes. A document belongs to the stretch in which its line begins or, where documents
are separated by blank lines, the last blank line before it; so all stretches of a file hold each document once,
wherever the file is cut.
"""

from __future__ import annotations

import codecs
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale import recipe_errors
from mtscale.errors import DataError
from mtscale.recipe_sections import TextFormat

DEFAULT_FIELD = "text"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Stretch:
    """The bytes ``[start, end)`` of a file."""

    path: Path
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a document's line begins, for errors to name."""

    path: Path
    position: int

    def error(self, message: str) -> DataError:
        return DataError(f"{self.path}:{_line_number(self.path, self.position)}: {message}")


def cut(paths: Sequence[Path], text_format: TextFormat, size: int) -> list[tuple[Stretch, ...]]:
    """Files as groups of stretches of about ``size`` bytes at most: large files in parts, small ones together.

    Where a document is a file, files are never cut.

    Raises:
        DataError: a file cannot be read.
    """
    groups: list[tuple[Stretch, ...]] = []
    open_group: list[Stretch] = []
    filled = 0
    for path in paths:
        for stretch in _stretches(path, text_format, size):
            length = stretch.end - stretch.start
            if open_group and filled + length > size:
                groups.append(tuple(open_group))
                open_group, filled = [], 0
            open_group.append(stretch)
            filled += length
    if open_group:
        groups.append(tuple(open_group))
    return groups


def _stretches(path: Path, text_format: TextFormat, size: int) -> Iterator[Stretch]:
    try:
        length = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from None
    parts = 1 if text_format == "files" else max(1, -(-length // size))
    bounds = [length * part // parts for part in range(parts + 1)]
    for start, end in itertools.pairwise(bounds):
        yield Stretch(path, start, end)


def read(stretch: Stretch, text_format: TextFormat, field: str | None = None) -> Iterator[str]:
    """The documents of a stretch that are not blank; ``field`` names the member of a jsonl object that holds the text.

    Raises:
        DataError: the file cannot be read, or a document is malformed, with file and line.
    """
    try:
        for document in _documents(stretch, text_format, field or DEFAULT_FIELD):
            if document.strip():
                yield document
    except OSError as error:
        raise _unreadable(stretch.path, error) from None


def _documents(stretch: Stretch, text_format: TextFormat, field: str) -> Iterator[str]:
    if text_format == "files":
        yield _decode(_Place(stretch.path, 0), stretch.path.read_bytes().removeprefix(codecs.BOM_UTF8))
    elif text_format in ("lines", "jsonl"):
        for position, raw in _lines(stretch):
            if position >= stretch.end:
                return
            if raw.strip():
                place = _Place(stretch.path, position)
                line = _decode(place, raw).rstrip("\r\n")
                yield line if text_format == "lines" else _member(place, line, field)
    else:
        for place, lines in _blocks(stretch):
            yield _title_and_abstract(place, lines) if text_format == "pubtator" else "\n".join(lines)


def _lines(stretch: Stretch) -> Iterator[tuple[int, bytes]]:
    """The lines from the first that begins in the stretch to the end of the file, each with its position."""
    with open(stretch.path, "rb") as file:
        position = stretch.start
        if position:
            file.seek(position - 1)
            position += len(file.readline()) - 1
        for raw in file:
            yield position, raw.removeprefix(codecs.BOM_UTF8) if position == 0 else raw
            position += len(raw)


def _blocks(stretch: Stretch) -> Iterator[tuple[_Place, list[str]]]:
    """The runs of lines that are not blank and follow a blank line of the stretch, or the beginning of the file."""
    block: list[str] = []
    place = _Place(stretch.path, 0)
    belongs = stretch.start == 0
    for position, raw in _lines(stretch):
        if raw.strip():
            if not belongs:
                continue
            line_place = _Place(stretch.path, position)
            place = place if block else line_place
            block.append(_decode(line_place, raw).rstrip("\r\n"))
            continue
        if block:
            yield place, block
            block = []
        if position >= stretch.end:
            return
        belongs = True
    if block:
        yield place, block


def _member(place: _Place, line: str, field: str) -> str:
    try:
        found = json.loads(line)
    except ValueError:
        raise place.error("expected a JSON object, found something else") from None
    if not isinstance(found, dict):
        raise place.error("expected a JSON object, found another JSON value")
    text = found.get(field)
    if not isinstance(text, str):
        what = "another value" if field in found else f"no such member{recipe_errors.nearest(field, found)}"
        raise place.error(f"expected a text in the member {field!r} (pretrain.field), found {what}")
    return text


def _title_and_abstract(place: _Place, lines: Sequence[str]) -> str:
    """The text of a PubTator document: title and abstract; annotations are not looked at."""
    parts = [line.split("|", 2) for line in lines[:2]]
    if [part[1] if len(part) == 3 else "" for part in parts] != ["t", "a"] or parts[0][0] != parts[1][0]:
        raise place.error("expected ID|t|TITLE and ID|a|ABSTRACT of one document, found something else")
    return f"{parts[0][2]} {parts[1][2]}"


def _decode(place: _Place, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Place(place.path, place.position + error.start).error(
            f"expected UTF-8, found byte 0x{raw[error.start]:02x}; convert the file"
        ) from None


def _line_number(path: Path, position: int) -> int:
    """The number (from 1) of the line that a byte of a file is in."""
    number = 1
    with open(path, "rb") as file:
        while position > 0 and (read := file.read(min(position, _READ_BYTES))):
            number += read.count(b"\n")
            position -= len(read)
    return number


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: expected a readable file, found: {error.strerror}")
