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
        ConfigError: two of them would have one name.
    """
    inputs: dict[str, Input] = {}
    for place in given:
        found = 0
        for path, name in _files(place.expanduser()):
            if path.suffix == ".ann" and path.with_suffix(".txt").is_file():
                continue  # read with its text
            found += 1
            facts = path.stat()
            one = Input(path, name, format_ or _format_of(path), facts.st_size, facts.st_mtime_ns)
            if name in inputs:
                raise ConfigError(
                    f"{inputs[name].path} and {path} would both become {name} in the output folder; predict on them in "
                    "two commands, or give the folder that holds both"
                )
            inputs[name] = one
        if not found:
            raise DataError(f"{place}: expected a file, or a folder with files in it, found none")
    return list(inputs.values())


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
    # A part that is not UTF-8 is told when it is read.
    found = sniff.format_of(path, errors="replace")
    if found in ("pubtator", "bioc", "jsonl"):
        return found
    if found in ("conll", "blue"):
        return "conll"
    # A first line with tabs may be one of a text.
    if found == "tsv" and has_rows(sniff.head_lines(path, errors="replace")[0].split("\t")):
        return "tsv"
    return "text"
