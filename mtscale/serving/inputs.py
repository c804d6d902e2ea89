"""The files to predict on, in which format each is, and what its outputs are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale.corpora import sniff
from mtscale.errors import ConfigError, DataError
from mtscale.serving.reading import READERS, has_rows

FORMATS = tuple(READERS)
# What an output folder holds of its own, and what the predictions on an input are called.
SETTINGS, DONE = "predict.json", "done.jsonl"
PREDICTIONS = ".predictions.jsonl"
RESERVED = frozenset({SETTINGS, DONE})


@dataclass(frozen=True)
class Input:
    """A file (of BRAT its .txt), its name among the outputs, its format and its size in bytes."""

    path: Path
    name: str
    format: str
    size: int
    changed_ns: int


def find_inputs(given: Sequence[Path], format_: str | None) -> list[Input]:
    """The files given, and those below the folders given; names of outputs are relative to these.

    A format that is not given is told by how a file begins, and BRAT by a .ann file beside a .txt one. What is in no
    known format is raw text.

    Raises:
        DataError: one of them does not exist, or a folder holds no file.
        ConfigError: two of them, or one and a file of the output folder, would have one name.
    """
    inputs: dict[str, Input] = {}
    for place in given:
        found = 0
        for path, name in _files(place.expanduser()):
            if path.suffix == ".ann" and path.with_suffix(".txt").is_file():
                continue  # read with its text
            found += 1
            one = _input(path, name, format_ or _format_of(path))
            if name in RESERVED or ((of := name.removesuffix(PREDICTIONS)) != name and of in inputs):
                raise ConfigError(
                    f"{path}: its output would be called like another file of the output folder; give it another name, "
                    "or predict on it in a command of its own"
                )
            if name in inputs:
                raise ConfigError(
                    f"{inputs[name].path} and {path} would both become {name} in the output folder; predict on them in "
                    "two commands, or give the folder that holds both"
                )
            inputs[name] = one
        if not found:
            raise DataError(f"{place}: expected a file, or a folder with files in it, found none")
    return list(inputs.values())


def _input(path: Path, name: str, format_: str) -> Input:
    facts = path.stat()
    changed = facts.st_mtime_ns
    if format_ == "brat" and (annotations := path.with_suffix(".ann")).is_file():
        changed = max(changed, annotations.stat().st_mtime_ns)
    return Input(path, name, format_, facts.st_size, changed)


def _files(place: Path) -> Iterator[tuple[Path, str]]:
    if place.is_file():
        yield place, place.name
    for folder, folders, names in os.walk(place):
        # Names that begin with a dot are the file system's own, or an output that is not finished.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder) / name
            if path.is_file():
                yield path, str(path.relative_to(place))


def _format_of(path: Path) -> str:
    if path.suffix == ".txt" and path.with_suffix(".ann").is_file():
        return "brat"
    # A part that is not UTF-8, or a whole file that cannot be read, is told when it is read.
    try:
        found = sniff.format_of(path, errors="replace")
        lines = sniff.head_lines(path, errors="replace")
    except DataError:
        return "text"
    if found in ("pubtator", "bioc", "jsonl"):
        return found
    if found in ("conll", "blue") and _are_token_lines(lines):
        return "conll"
    # A first line with tabs may be one of a text.
    if found == "tsv" and has_rows(lines[0].split("\t")):
        return "tsv"
    return "text"


def _are_token_lines(lines: Sequence[str]) -> bool:
    """Whether lines with a column of tags are no text: "Hepatitis B", alone or in a list, has such a column too."""
    if lines[0].startswith("-DOCSTART-"):
        return True
    column = sniff.tag_column(lines)
    rows = [sniff.cells_of(line) for line in lines[:-1]]
    return column is not None and len(rows) > 1 and any(cells[column : column + 1] == ["O"] for cells in rows)
