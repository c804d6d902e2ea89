"""Values as short texts: cells of tables, and the words around them. No widgets here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from rich.text import Text

from mtscale import names
from mtscale.states import State

from .places import mlflow_run

if TYPE_CHECKING:
    from mtscale.run_summary import RunSummary

NOTHING = "-"
_TERMINAL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Cell(NamedTuple):
    """One cell of a table, as plain text: whatever it holds is never read as markup."""

    text: str
    style: str = ""


# The words of a verdict, and the signs before them.
VERDICTS: Mapping[str, Cell] = {
    "gain": Cell("▲", "green"),
    "loss": Cell("▼", "red"),
    "unclear": Cell("·"),
}

STATE_STYLE: Mapping[str, str] = {
    State.RUNNING: "green",
    State.STOPPING: "yellow",
    State.STALLED: "bold yellow",
    State.FAILED: "bold red",
    State.LOST: "bold red",
}


class Column(NamedTuple):
    """The head of a column; numbers stand at its right."""

    title: str
    number: bool = False


def plain(text: str) -> str:
    """A text without anything that could steer the terminal: no escape sequences, no control characters."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in _TERMINAL_SEQUENCE.sub("", text).expandtabs(4) if character.isprintable())


def state_text(state: str) -> Text:
    """The state as a word; the colour only repeats it."""
    return Text(plain(state), style=STATE_STYLE.get(state, ""))


def score(value: float | None) -> str:
    """A score with three decimals, or a dash where there is none yet."""
    return NOTHING if value is None else f"{value:.3f}"


def delta(value: float | None, reference: float | None) -> Cell:
    """How much a score is above another: the sign tells, the colour repeats it."""
    if value is None or reference is None:
        return Cell(NOTHING)
    difference = round(value - reference, 3)
    if difference == 0:
        return Cell("=")
    return Cell(f"{difference:+.3f}", "green" if difference > 0 else "red")


def duration(seconds: float) -> str:
    """A time as a person says it: 45s, 3m20, 2h05, 3d04h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def file_size(size: float) -> str:
    """A number of bytes in the unit that keeps it short."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {_UNITS[unit]}"


def short(value: float) -> str:
    """Any number in at most nine characters."""
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"


def progress(summary: RunSummary) -> str:
    """The steps done, and of how many, where that is known."""
    if summary["steps"]:
        return f"{summary['step']}/{summary['steps']}"
    return str(summary["step"] or NOTHING)


def run_name(summary: RunSummary) -> str:
    """The name of the run, which is that of its directory; said of one that MLflow alone knows."""
    return plain(os.path.basename(summary["dir"])) + (" (MLflow)" if mlflow_run(summary["dir"]) else "")


def chose_on_dev(summary: RunSummary) -> bool:
    """Whether the epoch was chosen on dev; scores of other runs are optimistic."""
    return names.chosen_on(summary["protocol"]) == "dev"
