"""Lines of text files, with the place each stands at, for readers of line-based formats."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mtscale.errors import DataError


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
