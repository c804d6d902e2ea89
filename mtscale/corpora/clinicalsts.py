"""ClinicalSTS 2018 (MedSTS, Wang et al. 2018): sentence pairs with a score, one a line, tabs between, no header.

    SENTENCE1<_TAB>SENTENCE2<_TAB>SCORE       training pairs
    SENTENCE1<_TAB>SENTENCE2                 test pairs, whose scores stand in a file of their own, one a line

A split is read from its file of pairs and, where the pairs have no third column, its file of scores, in this order.
A pair's id is the number of its line. There are no quoting rules.

Pairs that share a sentence, directly or through others, are one document (``rows-N``, N the first of their lines), so
that pairs held out for dev share no sentence with those left in train. Case and the number of blanks make no difference
to that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from mtscale.corpora.clinical_files import lines_of
from mtscale.corpora.clusters import clusters
from mtscale.corpora.example import GoldItem, PairExample
from mtscale.corpora.lines import Line
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

_TAB = "\t"
_SCORE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,20})?")


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[PairExample]:
    """The pairs of a split.

    Raises:
        ConfigError: the task is no similarity task, or its split has other files than pairs and perhaps scores.
        DataError: a file is empty or malformed, a score is out of the task's range, or there are not as many scores
            as pairs, with file and line.
    """
    if task.kind is not Kind.SIMILARITY:
        raise ConfigError(
            f"task {task.name}: format {task.format} gives similarity tasks, not {task.kind.value}; "
            "change the task's kind or format"
        )
    if len(paths) not in (1, 2):
        raise ConfigError(
            f"task {task.name}: format {task.format} reads a split from a file of pairs and perhaps one of scores, "
            f"found {len(paths)} files; name one or two"
        )
    return _examples(task, paths)


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The scores of a split.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return (GoldItem(example.document, example.id, example.label) for example in read_examples(task, paths))


def _examples(task: Task, paths: Sequence[Path]) -> Iterator[PairExample]:
    firsts = clusters((_digest(first), _digest(second)) for first, second, _ in _rows(task, paths))
    for number, (root, row) in enumerate(zip(firsts, _rows(task, paths), strict=True), start=1):
        yield PairExample(str(number), f"rows-{root + 1}", *row)


def _digest(sentence: str) -> str:
    """Equal for sentences of the same words; the sentences themselves need not be kept."""
    return hashlib.sha256(" ".join(sentence.casefold().split()).encode()).hexdigest()


def _rows(task: Task, paths: Sequence[Path]) -> Iterator[tuple[str, str, float]]:
    expected = "two sentences and a score" if len(paths) == 1 else "two sentences"
    empty = True
    for line, sentences, score in _cells(paths):
        empty = False
        if len(sentences) != 2 or not all(sentence.strip() for sentence in sentences):
            raise line.error(
                f"expected {expected} separated by tabs, none blank, found {line.text.count(_TAB) + 1} columns; "
                "scores may also stand in a file of their own, named after the file of pairs"
            )
        yield sentences[0], sentences[1], _score(task, score)
    if empty:
        raise DataError(f"{paths[0]}: expected one pair a line, found an empty file")


def _cells(paths: Sequence[Path]) -> Iterator[tuple[Line, list[str], Line]]:
    """Each pair's line, the columns that should be its sentences, and its score with the line it stands on."""
    if len(paths) == 1:
        for line in lines_of(paths[0]):
            *sentences, score = line.text.split(_TAB)
            yield line, sentences, line._replace(text=score)
        return
    for pair, score_line in zip_longest(lines_of(paths[0]), lines_of(paths[1])):
        if pair is None or score_line is None:
            raise (pair or score_line).error("expected as many scores as pairs, found no counterpart of this line")
        yield pair, pair.text.split(_TAB), score_line


def _score(task: Task, line: Line) -> float:
    cell = line.text.strip()
    if not _SCORE.fullmatch(cell):
        raise line.error(f"task {task.name}: expected a decimal number as score, found something else")
    score = float(cell)
    if task.score_range is not None and not task.score_range[0] <= score <= task.score_range[1]:
        low, high = task.score_range
        raise line.error(f"task {task.name}: expected a score from {low} to {high}, found {score}")
    return score
