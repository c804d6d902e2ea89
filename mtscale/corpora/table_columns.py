"""Which columns of a table have what a task needs, guessed from their names, and what is in them.

Roles are those of rows.py. A column is taken for a role by its name, in small letters and without punctuation.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtscale.corpora.lines import Line, numbered_lines
from mtscale.corpora.tables import Record, csv_records
from mtscale.tasks import Kind

FORMATS = ("jsonl", "tsv", "csv")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "index": ("index", "id", "idx", "pairid", "exampleid"),
    "document": ("document", "documentid", "docid", "doc", "pmid"),
    "sentence1": ("sentence1", "sentencea", "sent1", "text1", "texta", "s1", "premise"),
    "sentence2": ("sentence2", "sentenceb", "sent2", "text2", "textb", "s2", "hypothesis"),
    "score": ("score", "similarity", "similarityscore", "relatednessscore", "goldscore"),
    "label": ("label", "goldlabel", "class", "relation", "category", "entailmentjudgment", "entailmentlabel"),
    "sentence": ("sentence", "maskedsentence", "text"),
    "text": ("text",),
    **{role: (role,) for role in ("start1", "end1", "type1", "start2", "end2", "type2")},
}
_PAIR = ("sentence1", "sentence2")
_MARKED = ("text", "start1", "end1", "type1", "start2", "end2", "type2", "label")
_MASKED = ("sentence", "label")
_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")

Columns = dict[str, str]


@dataclass
class Content:
    """What stands in the columns of a task: labels with their counts, the lowest and highest score, ids."""

    labels: Counter[str] = field(default_factory=Counter)
    low: float = math.inf
    high: float = -math.inf
    index_is_unique: bool = True

    def add_score(self, line: Line, cell: str) -> None:
        """Widen the range of scores.

        Raises:
            DataError: the cell holds no finite number.
        """
        try:
            score = float(cell)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise line.error("expected a finite number as score, found something else")
        self.low, self.high = min(self.low, score), max(self.high, score)


def header(path: Path, format_: str) -> list[str]:
    """The names of a table's columns; of a JSONL file those in its first object.

    Raises:
        DataError: the file cannot be read, or its beginning is malformed.
    """
    if format_ == "jsonl":
        return next((list(_members(line)) for line in numbered_lines(path)), [])
    return next((cells for _, cells in _records(path, format_)), [])


def roles(names: Sequence[str]) -> Columns:
    """The roles that columns of these names are taken for, {role: column}."""
    by_name = {_NOT_A_LETTER.sub("", name.lower()): name for name in reversed(names)}
    return {
        role: next(by_name[spelling] for spelling in spellings if spelling in by_name)
        for role, spellings in _NAMES.items()
        if any(spelling in by_name for spelling in spellings)
    }


def kinds(names: Sequence[str]) -> dict[Kind, Columns]:
    """The kinds of tasks that columns of these names make, each with {role: column}."""
    found = roles(names)
    makes: dict[Kind, Sequence[str]] = {}
    if found.keys() >= {*_PAIR, "score"}:
        makes[Kind.SIMILARITY] = (*_PAIR, "score")
    if found.keys() >= {*_PAIR, "label"}:
        makes[Kind.INFERENCE] = (*_PAIR, "label")
    elif found.keys() >= set(_MARKED):
        makes[Kind.RELATION] = _MARKED
    elif found.keys() >= set(_MASKED):
        makes[Kind.RELATION] = _MASKED
    return {
        kind: {role: found[role] for role in ("index", "document", *needed) if role in found}
        for kind, needed in makes.items()
    }


def content(format_: str, splits: Iterable[Sequence[Path]], columns: Columns) -> Content:
    """Read what stands in the columns of a task, in the files of each split.

    Raises:
        DataError: a file is malformed, lacks a column, or has a score that is no number, with file and line.
    """
    found = Content()
    for paths in splits:
        ids: set[str] = set()
        for line, cells in (row for path in paths for row in _rows(path, format_)):
            missing = [column for column in columns.values() if column not in cells]
            if missing:
                raise line.error(f"expected a value in the columns {', '.join(missing)}, found none")
            if "label" in columns:
                found.labels[cells[columns["label"]]] += 1
            if "score" in columns:
                found.add_score(line, cells[columns["score"]])
            # A relation may stand in several rows of one index; a pair may not.
            if "sentence1" in columns and "index" in columns:
                index = cells[columns["index"]]
                found.index_is_unique = found.index_is_unique and index not in ids
                ids.add(index)
    return found


def _rows(path: Path, format_: str) -> Iterator[tuple[Line, dict[str, str]]]:
    if format_ == "jsonl":
        for line in numbered_lines(path):
            yield line, {name: value for name, value in _members(line).items() if isinstance(value, str)}
        return
    records = _records(path, format_)
    names = next(records, Record(Line(path, 1, ""), [])).cells
    for line, cells in records:
        if len(cells) != len(names):
            raise line.error(f"expected {len(names)} columns, as the header has, found {len(cells)}")
        yield line, dict(zip(names, cells, strict=True))


def _records(path: Path, format_: str) -> Iterator[Record]:
    if format_ == "csv":
        return csv_records(path, ",")
    return (Record(line, line.text.split("\t")) for line in numbered_lines(path))


def _members(line: Line) -> dict[str, object]:
    """The members of a JSON object, numbers as they are written."""
    try:
        value: object = json.loads(line.text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise line.error("expected a JSON object, found something that is not JSON or is nested too deeply") from None
    if not isinstance(value, dict):
        raise line.error("expected a JSON object, found another JSON value")
    return value
