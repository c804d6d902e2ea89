"""The numbers of the paper's Tables 1 to 6 (``paper_numbers.toml``), to stand beside one's own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

Stage = Literal["single-task", "refine", "finetune"]
AVERAGE = "Avg"


@dataclass(frozen=True, slots=True)
class Size:
    """A row of Table 1: how many pairs, relations or mentions each split has."""

    task: str
    corpus: str
    kind: str
    metric: str
    domain: str
    train: int
    dev: int
    test: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of Tables 2 to 6 as printed, from 0 to 1 with three decimals.

    ``task`` is one of ``mtscale.tasks``, None for an average; ``row`` and ``column`` are as the table prints them.
    """

    table: int
    row: str
    column: str
    model: str
    encoder: str
    stage: Stage
    task: str | None
    value: float
    note: str


@dataclass(frozen=True, slots=True)
class Table:
    """One of Tables 2 to 6. ``trained_on``: the domain whose tasks its multi-task models share, or all."""

    number: int
    caption: str
    trained_on: str
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    cells: tuple[Cell, ...]
    note: str

    def cell(self, model: str, task: str | None) -> Cell:
        """The number of a model on a task, or with None its average.

        Raises:
            KeyError: the table has no such number.
        """
        for one in self.cells:
            if (one.model, one.task) == (model, task):
                return one
        raise KeyError(f"Table {self.number} has no number for {model} and {task or AVERAGE}")


@dataclass(frozen=True, slots=True)
class Gain:
    """A gain that the text quotes, in points of 100; ``task`` is None for the average. ``note``: where it is wrong."""

    table: int
    of: str
    over: str
    task: str | None
    points: float
    section: str
    note: str


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """Something in the paper that does not agree with the rest of it, or with the authors' code."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class PaperNumbers:
    """All of it."""

    source: Mapping[str, str]
    sizes: tuple[Size, ...]
    tables: Mapping[int, Table]
    gains: tuple[Gain, ...]
    inconsistencies: tuple[Inconsistency, ...]


@cache
def paper_numbers() -> PaperNumbers:
    """The numbers, read once."""
    content = tomllib.loads((resources.files("mtscale.study") / "paper_numbers.toml").read_text(encoding="utf-8"))
    tasks: dict[str, str] = content["tasks"]
    sizes = tuple(
        Size(tasks[row["corpus"]], row["corpus"], row["task"], *(row[name] for name in Size.__slots__[3:]))
        for row in content["sizes"]["rows"]
    )
    tables = {table["number"]: _table(table, tasks) for table in content["scores"]}
    gains = tuple(
        Gain(
            gain["table"],
            gain["of"],
            gain["over"],
            None if gain["task"] == AVERAGE else tasks[gain["task"]],
            gain["points"],
            gain["section"],
            gain.get("note", ""),
        )
        for gain in content["gains"]
    )
    inconsistencies = tuple(Inconsistency(**one) for one in content["inconsistencies"])
    return PaperNumbers(content["source"], sizes, tables, gains, inconsistencies)


def _table(content: Mapping[str, Any], tasks: Mapping[str, str]) -> Table:
    printed: Sequence[str] = content["tasks"]
    cells = []
    for model in content["models"]:
        names = [*printed, AVERAGE]
        for name, value in zip(names, [*model["values"], model["average"]], strict=True):
            row, column = (model["name"], name) if content["models_are"] == "rows" else (name, model["name"])
            cells.append(
                Cell(
                    table=content["number"],
                    row=row,
                    column=column,
                    model=model["name"],
                    encoder=model["encoder"],
                    stage=model["stage"],
                    task=None if name == AVERAGE else tasks[name],
                    value=value,
                    note=model.get("note", ""),
                )
            )
    return Table(
        number=content["number"],
        caption=content["caption"],
        trained_on=content["trained_on"],
        tasks=tuple(tasks[name] for name in printed),
        models=tuple(model["name"] for model in content["models"]),
        cells=tuple(cells),
        note=content.get("note", ""),
    )
