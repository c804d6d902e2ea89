"""Rows with a cell for each thing an example needs, and the examples they give. The table formats are tables.py's.

A needed thing is a *role*. A task's ``columns`` says which column has it, {role: column}; a role that is not named
there has the column of its own name.

    similarity    sentence1, sentence2, score
    inference     sentence1, sentence2, label
    relation      sentence, label                     (the arguments are masked already, as in ``@CHEMICAL$``)
                  text, start1, end1, type1, start2, end2, type2, label    (offsets count in the row's own text)
    all           index: the example's id, unique in the split; without it the row's number there, from 1
                  document: without it every row is its own (but see ``examples``)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mtscale.corpora.clusters import clusters
from mtscale.corpora.example import Example, GoldItem, PairExample, RelationExample, Span, TaggedExample
from mtscale.corpora.lines import Line
from mtscale.corpora.repeats import repeated
from mtscale.errors import ConfigError
from mtscale.tasks import Kind, Task

_PAIR = {Kind.SIMILARITY: ("sentence1", "sentence2", "score"), Kind.INFERENCE: ("sentence1", "sentence2", "label")}
_MASKED = ("sentence", "label")
_MARKED = ("text", "start1", "end1", "type1", "start2", "end2", "type2", "label")
_OPTIONAL = ("index", "document")
# What ends up in files of ids, marks and messages has to stay on one line there.
_ONE_LINE = ("index", "document", "type1", "type2")
_OFFSET = re.compile(r"[0-9]{1,9}")


class Row(NamedTuple):
    """What a task needs of one row: the line it begins on, and its cells by role."""

    line: Line
    cells: Mapping[str, str]


def check_columns(task: Task) -> None:
    """Check that a table can hold what the task needs.

    Raises:
        ConfigError: it is a tagging task, or ``columns`` names a role that its kind has not, or mixes the two forms of
            relations.
    """
    if task.kind is Kind.TAGGING:
        raise ConfigError(
            f"task {task.name}: format {task.format} gives similarity, inference and relation tasks, not tagging; "
            "format conll reads a word a line, brat reads texts with annotations beside them"
        )
    roles = (*_OPTIONAL, *_PAIR.get(task.kind, dict.fromkeys((*_MASKED, *_MARKED))))
    unknown = [role for role in task.columns if role not in roles]
    if unknown:
        raise ConfigError(
            f"task {task.name}: expected in columns the roles {', '.join(roles)} of a {task.kind.value} task, "
            f"found {', '.join(unknown)}"
        )
    if "sentence" in task.columns and _names_marked(task):
        raise ConfigError(
            f"task {task.name}: expected in columns either sentence (the arguments are masked) or text and offsets, "
            "found both; keep one"
        )


def required_roles(task: Task, names: Sequence[str]) -> tuple[str, ...]:
    """The roles that a table with columns of these names must have for the task."""
    if task.kind is not Kind.RELATION:
        return _PAIR[task.kind]
    if "sentence" in task.columns or _names_marked(task):
        return _MASKED if "sentence" in task.columns else _MARKED
    return _MARKED if "text" in names and "sentence" not in names else _MASKED


def _names_marked(task: Task) -> bool:
    return any(role in task.columns for role in _MARKED if role != "label")


def find_columns(task: Task, line: Line, names: Sequence[str], required: Iterable[str]) -> dict[str, int]:
    """The position of each role's column among the names that stand on ``line``.

    ``index`` and ``document`` may be absent unless the task's ``columns`` name them.

    Raises:
        DataError: a column is missing or stands there more than once.
    """
    expected = {role: task.columns.get(role, role) for role in (*required, *_OPTIONAL)}
    needed = [name for role, name in expected.items() if role not in _OPTIONAL or role in task.columns]
    missing = [name for name in needed if name not in names]
    if missing:
        raise line.error(
            f"task {task.name}: expected the columns {', '.join(needed)}; "
            f"missing: {', '.join(missing)}; correct the file, or say with columns = {{role = name}} what it calls them"
        )
    repeated = [name for name in dict.fromkeys(expected.values()) if names.count(name) > 1]
    if repeated:
        raise line.error(f"these columns stand here more than once: {', '.join(repeated)}; keep one of each")
    return {role: names.index(name) for role, name in expected.items() if name in names}


def make_row(task: Task, line: Line, cells: Mapping[str, str]) -> Row:
    """The row that begins on a line.

    Raises:
        DataError: a cell is empty, or one that has to stay on one line holds unprintable characters.
    """
    empty = [task.columns.get(role, role) for role, cell in cells.items() if not cell.strip()]
    if empty:
        raise line.error(f"expected a value in every column the task needs; empty: {', '.join(empty)}")
    broken = [task.columns.get(role, role) for role in _ONE_LINE if not cells.get(role, "").isprintable()]
    if broken:
        raise line.error(f"expected printable characters only in {', '.join(broken)}, found others")
    return Row(line, cells)


def examples(task: Task, rows: Callable[[], Iterator[Row]]) -> Iterator[Example]:
    """The examples that rows give; ``rows`` is called several times, since ids may repeat at any distance.

    A relation may stand in several rows that differ in nothing but the label: they become one example with all of
    them. In a similarity task that draws its splits (``folds``, ``dev_fraction``) pairs that share a sentence are one
    document, named after the first of them, so that no sentence is in two splits.

    Raises:
        DataError: a score, label or offset is not what it has to be, or an id occurs twice, with file and line.
    """
    if task.kind is Kind.RELATION:
        return _relations(task, rows)
    return _pairs(task, rows)


def gold(read: Iterable[Example]) -> Iterator[GoldItem]:
    """The gold of examples read from a table, where nothing is lost on the way to one."""
    for example in read:
        assert not isinstance(example, TaggedExample)
        value = example.labels if isinstance(example, RelationExample) else example.label
        yield GoldItem(example.document, example.id, value)


def _indexed(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((row.cells.get("index", str(number)), row) for number, row in enumerate(rows, start=1))


def _pairs(task: Task, rows: Callable[[], Iterator[Row]]) -> Iterator[PairExample]:
    draws = task.kind is Kind.SIMILARITY and (task.folds or task.dev_fraction)
    documents = _shared_documents(rows()) if draws else {}
    twice = repeated(index for index, _ in _indexed(rows()))
    seen: set[str] = set()
    for index, (line, cells) in _indexed(rows()):
        if hash(index) in twice:
            if index in seen:
                raise line.error("this index has occurred before; indices must be unique in a split")
            seen.add(index)
        label = _score(task, line, cells["score"]) if task.kind is Kind.SIMILARITY else _label(task, line, cells)
        document = cells.get("document", documents.get(index, index))
        yield PairExample(index, document, cells["sentence1"], cells["sentence2"], label)


def _shared_documents(rows: Iterable[Row]) -> dict[str, str]:
    """For each pair the id of the first of those it is connected with by equal sentences."""
    ids: list[str] = []

    def sentences() -> Iterator[tuple[str, str]]:
        for index, (_, cells) in _indexed(rows):
            ids.append(index)
            yield cells["sentence1"], cells["sentence2"]

    firsts = clusters(sentences())
    return {index: ids[first] for index, first in zip(ids, firsts, strict=True)}


def _relations(task: Task, rows: Callable[[], Iterator[Row]]) -> Iterator[RelationExample]:
    twice = repeated(index for index, _ in _indexed(rows()))
    several = _relation_labels(task, ((index, row) for index, row in _indexed(rows()) if hash(index) in twice))
    seen: set[str] = set()
    for index, (line, cells) in _indexed(rows()):
        if index in seen:
            continue
        if index in several:
            seen.add(index)
        masked = "sentence" in cells
        yield RelationExample(
            id=index,
            document=cells.get("document", index),
            text=cells["sentence" if masked else "text"],
            offset=0,
            arguments=None if masked else (_argument(task, line, cells, 1), _argument(task, line, cells, 2)),
            labels=several.get(index) or (_label(task, line, cells),),
        )


def _relation_labels(task: Task, rows: Iterable[tuple[str, Row]]) -> dict[str, tuple[str, ...]]:
    """The labels of each index, in the order of its rows."""
    labels: dict[str, tuple[str, ...]] = {}
    contents: dict[str, int] = {}
    for index, (line, cells) in rows:
        label, before = _label(task, line, cells), labels.get(index, ())
        content = hash(tuple(cell for role, cell in cells.items() if role != "label"))
        if contents.setdefault(index, content) != content:
            raise line.error("this index has occurred before with other values; a relation's rows differ in the label")
        if label in before:
            raise line.error("this index has occurred before with this label; remove one of the rows")
        labels[index] = (*before, label)
        if before and task.negative in labels[index]:
            raise line.error(
                f"this index has occurred before with another label, and one of them is {task.negative}; "
                "a pair cannot be related and not related"
            )
    return labels


def _argument(task: Task, line: Line, cells: Mapping[str, str], number: int) -> Span:
    roles = (f"start{number}", f"end{number}")
    names = " and ".join(task.columns.get(role, role) for role in roles)
    if not all(_OFFSET.fullmatch(cells[role]) for role in roles):
        raise line.error(f"expected whole numbers of up to 9 digits as {names}, found something else")
    start, end = (int(cells[role]) for role in roles)
    if not start < end <= len(cells["text"]):
        raise line.error(
            f"expected offsets 0 <= start < end <= {len(cells['text'])} as {names}, found {start} and {end}"
        )
    return Span(start, end, cells[f"type{number}"])


def _score(task: Task, line: Line, cell: str) -> float:
    try:
        score = float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise line.error(f"task {task.name}: expected a finite number as score, found something else")
    low, high = task.score_range or (-math.inf, math.inf)
    if not low <= score <= high:
        raise line.error(f"task {task.name}: expected a score from {low} to {high}, found {score}")
    return score


def _label(task: Task, line: Line, cells: Mapping[str, str]) -> str:
    if cells["label"] not in task.labels:
        raise line.error(f"task {task.name}: expected one of the labels {', '.join(task.labels)}, found another")
    return cells["label"]
