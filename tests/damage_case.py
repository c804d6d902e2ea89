"""A small valid corpus in some format and the tasks that are read from it, for ``reader_damage``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtscale.corpora.example import SPLITS, SplitName
from mtscale.tasks import Access, Kind, Task

# Stands in every word of the example texts of all cases and in file names that a format keeps to itself, and in nothing
# else: what bears it must not be in a message.
MARK = "zq"


@dataclass(frozen=True)
class Case:
    """``files`` lie under the corpus' folder, {path: content}; each of them gets damaged in turn."""

    format: str
    name: str
    files: Mapping[str, str]
    tasks: tuple[Task, ...]


def make_task(kind: Kind, format_: str, files: Sequence[str], *labels: str, **more: Any) -> Task:
    """A task with train and the splits that ``dev_fraction`` or ``folds`` draw from it; its corpus is yet to be placed.

    A relation task's last label is its negative one.
    """
    if kind is Kind.RELATION:
        more = {"negative": labels[-1], **more}
    return Task(
        name=f"{format_}-{kind.value}",
        kind=kind,
        domain="clinical",
        access=Access.OPEN,
        corpus="",
        format=format_,
        files={"train": tuple(files)},
        labels=labels,
        **more,
    )


def splits_of(task: Task) -> tuple[SplitName, ...]:
    """The splits that a task of ``make_task`` has."""
    if task.folds:
        return SPLITS
    return ("train", "dev") if task.dev_fraction else ("train",)


def place(text: str, part: str) -> tuple[int, int]:
    """Where a part stands that is in a text once."""
    assert text.count(part) == 1
    return text.index(part), text.index(part) + len(part)
