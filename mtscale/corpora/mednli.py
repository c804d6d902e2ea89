"""MedNLI (Romanov and Shivade 2018): one JSON object a line with gold_label, pairID, sentence1 and sentence2.

The four parses that each object carries are not read. sentence1 is the premise; each premise stands in three pairs,
and the pairs of one premise are one document, named by its first pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtscale.corpora.clinical_files import lines_of
from mtscale.corpora.example import GoldItem, PairExample
from mtscale.corpora.lines import Line
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

_FIELDS = ("gold_label", "pairID", "sentence1", "sentence2")


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[PairExample]:
    """The pairs of the files, one at a time; the id is pairID.

    Raises:
        ConfigError: the task is no inference task.
        DataError: a file is empty or malformed, a label is none of the task's (as ``-`` is, where annotators did not
            agree), or a pairID occurs twice, with file and line.
    """
    if task.kind is not Kind.INFERENCE:
        raise ConfigError(
            f"task {task.name}: format {task.format} gives inference tasks, not {task.kind.value}; "
            "change the task's kind or format"
        )
    return _pairs(task, paths)


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The classes of the pairs.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return (GoldItem(example.document, example.id, example.label) for example in read_examples(task, paths))


def _pairs(task: Task, paths: Sequence[Path]) -> Iterator[PairExample]:
    seen: set[str] = set()
    first_pairs: dict[bytes, str] = {}
    for path in paths:
        empty = True
        for line in lines_of(path):
            empty = False
            label, pair, first, second = _values(line)
            if label not in task.labels:
                raise line.error(
                    f"task {task.name}: expected one of the labels {', '.join(task.labels)} as gold_label, found "
                    "another; remove pairs without a label"
                )
            if pair in seen:
                raise line.error("this pairID has occurred before; ids must be unique in a split")
            seen.add(pair)
            # A digest, so that no more than ids is kept of a large corpus.
            document = first_pairs.setdefault(hashlib.sha256(first.encode()).digest(), pair)
            yield PairExample(pair, document, first, second, label)
        if empty:
            raise DataError(f"{path}: expected one pair a line, found an empty file")


def _values(line: Line) -> list[str]:
    """The four fields of a pair, in the order of ``_FIELDS``."""
    try:
        pair = json.loads(line.text)
    except (ValueError, RecursionError):
        raise line.error("expected one JSON object, found something else; is the file whole?") from None
    if not isinstance(pair, dict):
        raise line.error("expected one JSON object, found another JSON value")
    wrong = [name for name in _FIELDS if not _is_text(pair.get(name))]
    if wrong:
        raise line.error(f"expected a text that is not blank in {', '.join(_FIELDS)}, not found in {', '.join(wrong)}")
    if not pair["pairID"].isprintable():
        raise line.error("expected a pairID of printable characters, found others in it")
    return [pair[name] for name in _FIELDS]


def _is_text(value: object) -> bool:
    """Whether a value is a string, not blank, and without the halves of surrogate pairs that JSON can spell."""
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
