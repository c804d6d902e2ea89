"""Looks for words of a corpus, and for the numbers of their word pieces, in every file that something left behind."""

from __future__ import annotations

import contextlib
import gzip
import io
import pickletools
import re
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_NOT_LETTERS = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalpha())
# A sequence of codes of a terminal ends in a letter, which would stand between those of a word.
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_NUMBERS = re.compile(rb"[0-9]+")
_FEWEST_PIECES = 4
_WIDTHS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Leak:
    """A word that was found, and where: a file, and the parts of it that had to be unpacked."""

    place: str
    word: str
    how: str


class Scanner:
    """Finds words of one length made of consonants, in any case, encoding and layout, or as numbers of word pieces.

    What is no letter is passed over, so that UTF-16, word pieces (``x ##y``), lists of characters and words that a
    terminal has broken into lines are found too.
    """

    def __init__(self, words: Iterable[str], pieces: Callable[[str], Sequence[int]]) -> None:
        self._words = {word.encode() for word in words}
        (self._length,) = {len(word) for word in self._words}
        letters = "".join(sorted({chr(letter) for word in self._words for letter in word}))
        self._runs = re.compile(rb"[%s]{%d,}" % (letters.encode(), self._length))
        numbers = {word.decode(): tuple(pieces(word.decode())) for word in self._words}
        assert all(len(found) >= _FEWEST_PIECES for found in numbers.values()), "too short to be told from chance"
        self._beginnings: dict[tuple[int, ...], list[tuple[tuple[int, ...], str]]] = {}
        for word, found in numbers.items():
            self._beginnings.setdefault(found[:_FEWEST_PIECES], []).append((found, word))
        self._known = np.unique([number for found in numbers.values() for number in found[:_FEWEST_PIECES]])

    def files(self, folder: Path, allowed: Iterable[Path] = ()) -> list[Leak]:
        """The leaks in the files below a folder and in their names, but for those below what is allowed."""
        passed = tuple(allowed)
        leaks = []
        for path in sorted(folder.rglob("*")):
            if any(path.is_relative_to(one) for one in passed):
                continue
            leaks += self.content(f"name of {path}", path.name.encode(errors="surrogateescape"))
            if path.is_file() and not path.is_symlink():
                leaks += self.content(str(path), path.read_bytes())
        return leaks

    def content(self, place: str, content: bytes) -> list[Leak]:
        """The leaks in what a file holds, in whatever it is packed."""
        leaks: list[Leak] = []
        for part, plain in _unpacked(place, content):
            for one in {plain, _ESCAPES.sub(b"", plain)}:
                leaks += (Leak(part, word, "text") for word in self._texts(one))
            leaks += (Leak(part, word, "word pieces") for numbers in _numbers(plain) for word in self._pieces(numbers))
        return leaks

    def _texts(self, content: bytes) -> Iterator[str]:
        for run in self._runs.findall(content.translate(None, _NOT_LETTERS).lower()):
            for start in range(len(run) - self._length + 1):
                if (word := run[start : start + self._length]) in self._words:
                    yield word.decode()

    def _pieces(self, numbers: np.ndarray) -> Iterator[str]:
        if len(numbers) < _FEWEST_PIECES:
            return
        known = np.isin(numbers, self._known)
        starts = known[: 1 - _FEWEST_PIECES].copy()
        for later in range(1, _FEWEST_PIECES):
            starts &= known[later : len(known) + 1 - _FEWEST_PIECES + later]
        for start in np.flatnonzero(starts):
            for found, word in self._beginnings.get(tuple(numbers[start : start + _FEWEST_PIECES].tolist()), ()):
                if tuple(numbers[start : start + len(found)].tolist()) == found:
                    yield word


def _numbers(content: bytes) -> Iterator[np.ndarray]:
    """What a file's bytes may be as integers: of each width at each alignment, written out, or pickled."""
    for width in _WIDTHS:
        for first in range(width):
            whole = (len(content) - first) // width * width
            yield np.frombuffer(content[first : first + whole], dtype=f"<u{width}")
    yield np.array([int(number[-9:]) for number in _NUMBERS.findall(content)], dtype=np.int64)
    if content[:1] == b"\x80":
        yield np.array(list(_pickled(content)), dtype=np.int64)


def _pickled(content: bytes) -> Iterator[int]:
    """The integers of a pickle, which is not loaded."""
    try:
        for _, argument, _ in pickletools.genops(content):
            if isinstance(argument, int) and abs(argument) < 2**62:
                yield argument
    except ValueError:
        return


def _unpacked(place: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """A file's bytes as they are, and those of what it packs, however deep."""
    yield place, content
    for begins, unpack in _PACKED.items():
        if content.startswith(begins):
            for name, part in unpack(content):
                yield from _unpacked(f"{place}: {name}", part)
    if content[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                if (opened := archive.extractfile(member)) is not None:
                    yield from _unpacked(f"{place}: {member.name}", opened.read())


def _gzip(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "gzip", gzip.decompress(content)


def _zip(content: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def _sqlite(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Cells by themselves: a long one is scattered over a file's pages."""
    with contextlib.closing(sqlite3.connect(":memory:")) as store:
        # A file in the journal mode "wal" cannot be opened from memory; as an ordinary one it can.
        store.deserialize(content[:18] + b"\1\1" + content[20:])
        store.text_factory = bytes
        for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            quoted = table.decode().replace('"', '""')
            for row in store.execute(f'SELECT * FROM "{quoted}"'):
                cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
                yield table.decode(), b"\n".join(cells)


def _parquet(content: bytes) -> Iterator[tuple[str, bytes]]:
    from pyarrow import parquet

    yield from _columns(parquet.read_table(io.BytesIO(content)))


def _arrow(content: bytes) -> Iterator[tuple[str, bytes]]:
    from pyarrow import ipc

    yield from _columns(ipc.open_file(io.BytesIO(content)).read_all())


def _stream(content: bytes) -> Iterator[tuple[str, bytes]]:
    from pyarrow import ArrowInvalid, ipc

    try:
        found = ipc.open_stream(io.BytesIO(content)).read_all()
    except (ArrowInvalid, OSError):  # bytes that only begin as one
        return
    yield from _columns(found)


def _columns(found) -> Iterator[tuple[str, bytes]]:  # type: ignore[no-untyped-def]
    for name in found.column_names:
        yield name, "\n".join(map(str, found.column(name).to_pylist())).encode()


_PACKED: Mapping[bytes, Callable[[bytes], Iterator[tuple[str, bytes]]]] = {
    b"\x1f\x8b": _gzip,
    b"PK\3\4": _zip,
    b"SQLite format 3\0": _sqlite,
    b"PAR1": _parquet,
    b"ARROW1": _arrow,
    b"\xff\xff\xff\xff": _stream,
}
