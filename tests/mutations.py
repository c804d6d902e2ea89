"""Seeded damage to a file, for the test that a reader answers any file with examples or with one DataError."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

_FIELD = re.compile(rb"[^\s<>\"'=;|:]+")
# fmt: off
_STRANGE = (
    b"", b"-1", b"0", b"9" * 40, b"9" * 5000, b"1e999", b"nan", b"x" * 10_000, b"()", b"&x;", b"<", b"]]>",
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\t", b"\n", b"\r", "\u2028".encode(), "\u0660".encode(), "\ufeff".encode(),
)
# fmt: on


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged copies of a file's bytes, each damaged once to three times; the same for the same seed."""
    generator = random.Random(seed)
    for _ in range(count):
        damaged = data
        for _ in range(generator.randint(1, 3)):
            damaged = generator.choice(_DAMAGES)(damaged, generator)
        yield damaged


def _flip_byte(data: bytes, generator: random.Random) -> bytes:
    place = generator.randrange(len(data) + 1)
    return data[:place] + bytes([generator.randrange(256)]) + data[place + 1 :]


def _cut(data: bytes, generator: random.Random) -> bytes:
    start, end = sorted(generator.randrange(len(data) + 1) for _ in range(2))
    return generator.choice([data[:start], data[end:], data[:start] + data[end:]])


def _change_lines(data: bytes, generator: random.Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    one, other = (generator.randrange(len(lines)) for _ in range(2))
    match generator.randrange(4):
        case 0:
            del lines[one]
        case 1:
            lines[one], lines[other] = lines[other], lines[one]
        case 2:
            lines.insert(other, lines[one])
        case _:
            lines[one] = lines[one].rstrip(b"\r\n")
    return b"".join(lines)


def _change_field(data: bytes, generator: random.Random) -> bytes:
    fields = list(_FIELD.finditer(data))
    if not fields:
        return data
    one, other = generator.choice(fields), generator.choice(fields)
    new = generator.choice([*_STRANGE, other[0], one[0] * 2])
    return data[: one.start()] + new + data[one.end() :]


def _insert(data: bytes, generator: random.Random) -> bytes:
    place = generator.randrange(len(data) + 1)
    return data[:place] + generator.choice(_STRANGE) + data[place:]


def _change_encoding(data: bytes, generator: random.Random) -> bytes:
    text = data.decode("utf-8", errors="replace")
    encoding = generator.choice(["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "cp1252"])
    return text.encode(encoding, errors="replace")


_DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [
    _flip_byte,
    _flip_byte,
    _cut,
    _change_lines,
    _change_lines,
    _change_field,
    _change_field,
    _insert,
    _change_encoding,
]
