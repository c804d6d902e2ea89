"""Sentence pairs in tab-separated files with a header: the format "tsv".

Columns are found by name, in any order: ``index`` (unique), ``sentence1``, ``sentence2``, and ``score`` (similarity) or
``label`` (inference); ``document`` where pairs share one, else every pair is its own. Others are ignored. There are no
quoting rules: a quote is a character.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from mtscale.corpora.example import Gold, PairExample
from mtscale.corpora.pubtator import Line, numbered_lines
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

TARGET_COLUMN = {Kind.SIMILARITY: "score", Kind.INFERENCE: "label"}


def read_examples(task: Task, path: Path) -> Iterator[PairExample]:
    """The pairs of a file, one at a time.

    Raises:
        ConfigError: the task is neither similarity nor inference.
        DataError: the file is empty or malformed, with file and line.
    """
    if task.kind not in TARGET_COLUMN:
        raise ConfigError(
            f"task {task.name}: format {task.format} gives similarity and inference tasks, not {task.kind.value}; "
            "change the task's kind or format"
        )
    return _rows(task, path)


def read_gold(task: Task, path: Path) -> Gold:
    """The scores or classes of a file by example id.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    examples = read_examples(task, path)
    if task.kind is Kind.SIMILARITY:
        return {example.id: float(example.label) for example in examples}
    return {example.id: str(example.label) for example in examples}


def _rows(task: Task, path: Path) -> Iterator[PairExample]:
    lines = numbered_lines(path)
    header = next(lines, None)
    if header is None:
        raise DataError(f"{path}: expected a header line, found an empty file")
    columns = _columns(header, TARGET_COLUMN[task.kind])
    width = header.text.count("\t") + 1
    seen: set[str] = set()
    for line in lines:
        cells = line.text.split("\t")
        if len(cells) != width:
            raise line.error(f"expected {width} columns separated by tabs, as the header has, found {len(cells)}")
        example = _example(task, line, {name: cells[position] for name, position in columns.items()})
        if example.id in seen:
            raise line.error("this index has occurred before; indices must be unique in a file")
        seen.add(example.id)
        yield example
    if not seen:
        raise DataError(f"{path}: expected pairs below the header, found none")


def _columns(header: Line, target: str) -> dict[str, int]:
    names = header.text.split("\t")
    required = ("index", "sentence1", "sentence2", target)
    missing = [name for name in required if name not in names]
    if missing:
        raise header.error(f"expected a header with the columns {', '.join(required)}; missing: {', '.join(missing)}")
    repeated = [name for name in (*required, "document") if names.count(name) > 1]
    if repeated:
        raise header.error(f"these columns stand in the header more than once: {', '.join(repeated)}; keep one of each")
    return {name: names.index(name) for name in (*required, "document") if name in names}


def _example(task: Task, line: Line, cells: dict[str, str]) -> PairExample:
    empty = [name for name in cells if not cells[name].strip()]
    if empty:
        raise line.error(f"expected a value in every column the task needs; empty: {', '.join(empty)}")
    label = _score(task, line, cells["score"]) if task.kind is Kind.SIMILARITY else _label(task, line, cells["label"])
    document = cells.get("document", cells["index"])
    return PairExample(cells["index"], document, cells["sentence1"], cells["sentence2"], label)


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


def _label(task: Task, line: Line, cell: str) -> str:
    if cell not in task.labels:
        raise line.error(f"task {task.name}: expected one of the labels {', '.join(task.labels)}, found another")
    return cell
