"""Lines of files that may be damaged in places: a line that cannot be decoded is no reason to lose the others."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from mtscale.corpora.lines import Line
from mtscale.errors import DataError

RawLine = tuple[int, bytes]
"""A line's number, from 1, and its bytes with its end."""


def raw_lines(path: Path) -> Iterator[RawLine]:
    """The lines of a file; the last one may lack its end.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from None


def paragraphs(path: Path) -> Iterator[list[RawLine]]:
    """The lines between blank ones.

    Raises:
        DataError: as ``raw_lines``.
    """
    for blank, lines in groupby(raw_lines(path), key=lambda line: not line[1].strip()):
        if not blank:
            yield list(lines)


def to_line(path: Path, number: int, raw: bytes) -> Line:
    """A line decoded, without its end and without a byte order mark.

    Raises:
        DataError: it is not UTF-8, with file and line.
    """
    if number == 1:
        raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: expected UTF-8, found byte 0x{raw[error.start]:02x} at position {error.start} of the "
            "line; convert the file"
        ) from None
    return Line(path, number, text.removesuffix("\n").removesuffix("\r"))
