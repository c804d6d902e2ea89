"""Which differences between compared runs are real: what `mtscale runs compare` is asked, and its answer as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtscale import names
from mtscale.states import LIVE

from . import commands
from .cells import VERDICTS, Cell, Column, plain
from .comparison import Comparison, letters
from .places import mlflow_run

COLUMNS = (
    Column("task"),
    Column("metric"),
    Column(""),
    Column("difference", number=True),
    Column("adjusted interval", number=True),
    Column("adjusted p", number=True),
    Column("verdict"),
    Column(""),
)


@dataclass(frozen=True, slots=True)
class Question:
    """The columns of a comparison, by their run directories, and the split; the first is the baseline."""

    columns: tuple[tuple[str, ...], ...]
    split: str
    is_live: bool = field(compare=False)

    @property
    def refusal(self) -> str:
        """Why it need not be asked; mostly empty."""
        for directory in (directory for column in self.columns for directory in column):
            if mlflow_run(directory):
                name = plain(Path(directory).name)
                return f"{name} is known to MLflow alone: its predictions are where its run directory is; leave it out"
        return "" if len(self.columns) > 1 else "There is nothing to compare with A"

    @property
    def words(self) -> list[str]:
        """The command, after ``mtscale``."""
        others = [directory for column in self.columns[1:] for directory in column]
        return ["runs", "compare", *others, "--baseline", *self.columns[0], "--split", self.split, "--json"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A row for each difference, its verdicts by task, and what has to be said with them: all there is if refused."""

    said: str
    rows: Mapping[str, list[Cell]] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)


def question(comparison: Comparison) -> Question:
    """What is to be asked of a comparison."""
    columns = tuple(tuple(member["dir"] for member in members) for members in comparison.columns)
    return Question(columns, comparison.split, any(run["state"] in LIVE for run in comparison.runs))


def answer(asked: Question, done: commands.Done) -> Answer:
    """What the command printed, as it is shown; its refusal where it refused."""
    said = "\n".join(plain(line) for line in done.errors.splitlines() if line.strip())
    if not done.succeeded:
        return Answer(said or f"mtscale runs compare ended with exit code {done.code}")
    try:
        return _told(asked, json.loads(done.output))
    except (KeyError, TypeError, ValueError):
        return Answer("The answer of mtscale runs compare cannot be read")


def _told(asked: Question, told: Mapping[str, Any]) -> Answer:
    called = {model["key"]: _column_names(asked, model) for model in told["models"]}
    baseline = called[told["baseline"]]
    rows: dict[str, list[Cell]] = {}
    verdicts: dict[str, str] = {}
    for one in told["differences"]:
        name, adjusted = called[one["model"]], one["adjusted"]
        mark, style = VERDICTS[adjusted["verdict"]]
        rows[f"{one['model']}/{one['task']}"] = [
            Cell(plain(one["task"])),
            Cell(plain(one["metric"])),
            Cell(f"{name} - {baseline}"),
            Cell(f"{one['difference']:+.4f}"),
            Cell(f"{adjusted['low']:+.4f} {adjusted['high']:+.4f}"),
            Cell(f"{adjusted['p']:.4f}"),
            Cell(f"{mark} {adjusted['verdict']}", style),
            Cell(plain(one["label"])),
        ]
        verdicts[one["task"]] = f"{verdicts.get(one['task'], '')}  {name} {mark}".strip()
    optimistic = f", {names.OPTIMISTIC}" if told["optimistic"] else ""
    head = f"{len(rows)} differences on {told['split']}{optimistic}. {told['rule']}"
    return Answer(plain(head), rows, verdicts)


def _column_names(asked: Question, model: Mapping[str, Any]) -> str:
    """The letters of the columns that a model's runs stand in; seeds shown apart are compared as one model."""
    directories = {str(Path(run["dir"]).absolute()) for run in model["runs"]}
    own = [
        letters(number)
        for number, column in enumerate(asked.columns)
        if directories & {str(Path(directory).absolute()) for directory in column}
    ]
    return "+".join(own)
