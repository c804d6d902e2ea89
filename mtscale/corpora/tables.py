"""Tables with a column for each thing an example needs (the roles of rows.py): the formats "tsv", "csv" and "jsonl".

Columns may stand in any order and others are ignored. "tsv" has a header and no quoting rules: a quote is a character.
"csv" has a header and follows RFC 4180: fields in quotes may hold commas, line ends (read as ``\\n``) and doubled
quotes. "jsonl" has one object a line, its values texts or numbers.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora.example import Example, GoldItem
from mtscale.corpora.lines import Line, numbered_lines
from mtscale.corpora.rows import Row, check_columns, examples, find_columns, gold, make_row, required_roles
from mtscale.errors import DataError
from mtscale.tasks import Task

_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Record(NamedTuple):
    """A record of a delimited file: the line it begins on, and its cells."""

    line: Line
    cells: list[str]


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of similarity, inference and relation tasks.

    Raises:
        ConfigError: the task is of another kind, or its ``columns`` do not fit its kind.
        DataError: a file is empty or malformed, with file and line.
    """
    check_columns(task)
    rows_of = {"tsv": _tsv_rows, "csv": _csv_rows, "jsonl": _jsonl_rows}[task.format]
    return examples(task, lambda: all_rows(paths, lambda path: rows_of(task, path)))


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The scores, classes or relations by example id.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return gold(read_examples(task, paths))


def all_rows(paths: Iterable[Path], rows_of: Callable[[Path], Iterator[Row]]) -> Iterator[Row]:
    """The rows of all files.

    Raises:
        DataError: a file has none.
    """
    for path in paths:
        empty = True
        for row in rows_of(path):
            empty = False
            yield row
        if empty:
            raise DataError(f"{path}: expected rows (below the header where the format has one), found none")


def _tsv_rows(task: Task, path: Path) -> Iterator[Row]:
    return _table_rows(task, path, (Record(line, line.text.split("\t")) for line in numbered_lines(path)))


def _csv_rows(task: Task, path: Path) -> Iterator[Row]:
    return _table_rows(task, path, csv_records(path, ","))


def _table_rows(task: Task, path: Path, records: Iterator[Record]) -> Iterator[Row]:
    header = header_of(path, records)
    positions = find_columns(task, header.line, header.cells, required_roles(task, header.cells))
    return rows_at(task, records, positions, len(header.cells))


def csv_records(path: Path, delimiter: str) -> Iterator[Record]:
    """The records of a file that follows RFC 4180 but for its delimiter.

    Raises:
        DataError: it does not, or a field is longer than the csv module takes.
    """
    lines = (f"{line.text}\n" for line in numbered_lines(path))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = Line(path, reader.line_num + 1, "")
        try:
            cells = next(reader, None)
        except csv.Error:
            raise line.error(
                "expected a record as RFC 4180 has it: quotes closed and, inside quotes, doubled, no bare carriage "
                f"return, no field over {csv.field_size_limit()} characters; the record that begins here is none"
            ) from None
        if cells is None:
            return
        yield Record(line, cells)


def header_of(path: Path, records: Iterator[Record]) -> Record:
    """The first record of a file.

    Raises:
        DataError: there is none.
    """
    header = next(records, None)
    if header is None:
        raise DataError(f"{path}: expected a header line, found an empty file")
    return header


def rows_at(task: Task, records: Iterable[Record], positions: Mapping[str, int], width: int) -> Iterator[Row]:
    """The rows that records below a header of ``width`` columns give, with each role's cell at its position.

    Raises:
        DataError: a record has more or fewer columns, or lacks a needed value.
    """
    for line, cells in records:
        if len(cells) != width:
            raise line.error(f"expected {width} columns, as the header has, found {len(cells)}")
        yield make_row(task, line, {role: cells[position] for role, position in positions.items()})


class _Object(list[tuple[str, object]]):
    """A JSON object as it stands there: names with values, also names that occur twice."""


def _jsonl_rows(task: Task, path: Path) -> Iterator[Row]:
    for line in numbered_lines(path):
        members = _object(line)
        names = [name for name, _ in members]
        positions = find_columns(task, line, names, required_roles(task, names))
        cells: dict[str, str] = {}
        for role, position in positions.items():
            name, value = members[position]
            if not isinstance(value, str):
                raise line.error(f"expected a text or a number as {name}, found something else")
            if _SURROGATE.search(value):
                raise line.error(f"expected Unicode text as {name}, found half of a surrogate pair")
            cells[role] = value
        yield make_row(task, line, cells)


def _object(line: Line) -> _Object:
    try:
        # Numbers stay as they are written: as an id or a label 1 is "1", whatever a float would make of it.
        value: object = json.loads(
            line.text, object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str
        )
    except (ValueError, RecursionError):
        raise line.error("expected a JSON object, found something that is not JSON or is nested too deeply") from None
    if not isinstance(value, _Object):
        raise line.error("expected a JSON object, found another JSON value")
    return value
