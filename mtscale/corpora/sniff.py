"""What format a file has, told by how it begins, and which split it is, told by its name."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Literal

from mtscale.corpora.example import SplitName
from mtscale.errors import DataError

HEAD_BYTES = 1 << 16
# What a head may lack of that: a byte order mark, and a character that it would cut.
_ROUNDED = 6

_SPLIT_WORDS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("dev", "devel", "development", "devset", "val", "valid", "validation", "trial"), "dev"),
    **dict.fromkeys(("test", "testing", "testset"), "test"),
}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PUBTATOR = re.compile(r"[^|\s]+\|t\|")
_BIOC = re.compile(r"<collection[\s>]")
_TAG = re.compile(r"O|[BIESLU](?:-\S+)?")
_MEMBER = re.compile(r"\{\s*\"")
_BLUE = re.compile(r"[^\t]+\t[^\t]+\t[0-9]{1,9}\t[^\t]+")


def split_of(name: str) -> SplitName | None:
    """The split a relative path names, the file before its folders and the last word first; None if it names none."""
    for part in reversed(PurePath(name).parts):
        for word in reversed(_WORD.findall(part)):
            if word.lower() in _SPLIT_WORDS:
                return _SPLIT_WORDS[word.lower()]
    return None


def format_of(path: Path, errors: Literal["strict", "replace"] = "strict") -> str | None:
    """One of pubtator, bioc, jsonl, blue, conll, tsv and csv, or None where a file begins like none of them.

    tsv and csv only say that the first line has tabs or commas, not that it is a header. With ``errors`` "replace" a
    file need not be UTF-8 in all places.

    Raises:
        DataError: the file cannot be opened.
    """
    lines = head_lines(path, errors)
    if not lines:
        return None
    if _PUBTATOR.match(lines[0]):
        return "pubtator"
    if lines[0].lstrip().startswith("<"):
        return "bioc" if any(map(_BIOC.search, lines)) else None
    if lines[0].startswith("{"):
        return "jsonl" if _is_object(lines[0]) else None
    if tag_column(lines) is not None:
        return "blue" if _BLUE.fullmatch(lines[0]) else "conll"
    if "\t" in lines[0]:
        return "tsv"
    return "csv" if "," in lines[0] else None


def tag_column(lines: Sequence[str]) -> int | None:
    """The last column, from 0, that holds a tag in every token line; None if there is none.

    The lines are the non-empty ones at the beginning of a file, the last of them perhaps cut.
    """
    rows = [cells_of(line) for line in lines if not line.startswith(("-DOCSTART-", "# "))]
    rows = rows[:-1] if len(rows) > 1 else rows
    if not rows or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return None
    for column in range(len(rows[0]) - 1, 0, -1):
        if all(_TAG.fullmatch(row[column]) for row in rows):
            return column
    return None


def cells_of(line: str) -> list[str]:
    """The columns of a token line: separated by tabs if there is one, else by blanks."""
    return line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


def head_lines(path: Path, errors: Literal["strict", "replace"] = "strict") -> list[str]:
    """The non-empty lines at the beginning of a text file, the last of them perhaps cut.

    Raises:
        DataError: the file cannot be opened.
    """
    lines = (line.removesuffix("\r") for line in _head(path, errors).split("\n"))
    return [line for line in lines if line.strip()]


def _head(path: Path, errors: str) -> str:
    """The beginning of a UTF-8 file; nothing of any other, unless ``errors`` is "replace"."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from None
    try:
        text = codecs.getincrementaldecoder("utf-8")(errors).decode(head)
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text


def _is_object(line: str) -> bool:
    if len(line.encode()) >= HEAD_BYTES - _ROUNDED:
        return _MEMBER.match(line) is not None  # its end has not been read
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
