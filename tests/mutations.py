"""Seeded damage to a file, for the tests that a reader answers any file with examples or with one DataError."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

# Of a damaged file, in bytes.
LIMIT = 20_000

_FIELD = re.compile(rb"[^\s<>\"'=;|:,]+")
_NUMBER = re.compile(rb"[0-9]{1,9}")
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
# fmt: off
_STRANGE = (
    b"", b"-1", b"0", b"9" * 40, b"9" * 5000, b"1e999", b"nan", b"x" * 10_000, b"()", b"&x;", b"<", b"]]>",
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\t", b"\n", b"\r", "\u2028".encode(), "\u0660".encode(), "\ufeff".encode(),
)
# fmt: on


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged copies of a file's bytes; the same for the same seed."""
    generator = random.Random(seed)
    for _ in range(count):
        yield damage(data, generator)


def damage(data: bytes, generator: random.Random) -> bytes:
    """A copy of a file's bytes, damaged once to three times, without the damage that would make it too long."""
    for _ in range(generator.choice([1, 1, 2, 3])):
        damaged = generator.choice(_DAMAGES)(data, generator)
        data = damaged if len(damaged) <= LIMIT else data
    return data


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


def _change_number(data: bytes, generator: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(data))
    if not numbers:
        return data
    one, other = generator.choice(numbers), generator.choice(numbers)
    new = generator.choice([int(one[0]) + 1, int(one[0]) - 1, int(other[0])])
    return data[: one.start()] + str(new).encode() + data[one.end() :]


def _swap_fields(data: bytes, generator: random.Random) -> bytes:
    fields = list(_FIELD.finditer(data))
    if len(fields) < 2:
        return data
    one, other = sorted(generator.sample(range(len(fields)), 2))
    first, second = fields[one], fields[other]
    between = data[first.end() : second.start()]
    return data[: first.start()] + second[0] + between + first[0] + data[second.end() :]


def _repeat(data: bytes, generator: random.Random) -> bytes:
    """One line or field twice, or as often as there is room."""
    pieces = list(generator.choice([_LINE, _FIELD]).finditer(data))
    if not pieces:
        return data
    piece = generator.choice(pieces)
    times = generator.choice([2, 3, 50, max(1, (LIMIT - len(data)) // len(piece[0]))])
    return data[: piece.start()] + piece[0] * times + data[piece.end() :]


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
    _change_number,
    _change_number,
    _swap_fields,
    _repeat,
    _insert,
    _change_encoding,
]
