"""Files of the clinical corpora under use agreements, as their owners hand them out.

Some of these files lack the line end of their last line (the test scores of ClinicalSTS do), so a missing one is no
sign of a cut file here: the readers tell from the line itself whether it is whole.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from mtscale.corpora.lines import Line
from mtscale.errors import DataError


def text_of(path: Path) -> str:
    """A file's text, every character of it, line ends as they are, so that offsets stay true.

    Raises:
        DataError: the file cannot be read or is not UTF-8, with the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data.count(b"\n", 0, error.start) + 1, error) from None


def lines_of(path: Path) -> Iterator[Line]:
    r"""The lines of a UTF-8 file, ended by ``\n``, ``\r\n`` or the end of the file; a byte order mark is dropped.

    Raises:
        DataError: as ``text_of``.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from None
    with file:
        for number, raw in enumerate(file, start=1):
            if number == 1:
                raw = raw.removeprefix(codecs.BOM_UTF8)
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, error) from None
            yield Line(path, number, text.removesuffix("\n").removesuffix("\r"))


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: expected a readable file, found: {error.strerror}")


def _not_utf8(path: Path, line: int, error: UnicodeDecodeError) -> DataError:
    byte = error.object[error.start]
    return DataError(f"{path}:{line}: expected UTF-8, found byte 0x{byte:02x}; convert the file")
