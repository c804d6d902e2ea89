"""The second screen: one run, its tasks and the end of its log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from mtscale import names

from .live_table import LiveTable
from .runs_screen import chose_on_dev, number_text, progress, run_name, score_text, state_text
from .store import RunDetail, plain

TASK_COLUMNS = (
    Text("task"),
    *map(number_text, ("last", "best", "epoch", "floor", "test")),
    Text("dev score by epoch"),
)
LINE_WIDTH = 24
LEVELS = "▁▂▃▄▅▆▇"  # without the full block, which would join the lines of two rows


def score_line(scores: Sequence[float], width: int = LINE_WIDTH) -> str:
    """Scores as a line of blocks from their lowest to their highest, at most ``width`` characters long.

    Where there are more epochs than characters, each character is the best of its epochs.
    """
    if not scores:
        return ""
    columns = min(width, len(scores))
    edges = [number * len(scores) // columns for number in range(columns + 1)]
    heights = [max(scores[start:end]) for start, end in pairwise(edges)]
    low, high = min(heights), max(heights)
    if low == high:
        return LEVELS[len(LEVELS) // 2] * columns
    return "".join(LEVELS[round((height - low) / (high - low) * (len(LEVELS) - 1))] for height in heights)


def tasks_table(detail: RunDetail) -> dict[str, list[Text]]:
    """A row per task: last and best dev score, the epoch of the best, floor, test score, and the way there."""
    rows = {}
    for task, known in detail.summary["scores"].items():
        dev = detail.dev.get(task, ())
        epoch = known["best_epoch"]
        rows[task] = [
            Text(plain(task)),
            score_text(dev[-1] if dev else None),
            score_text(max(dev, default=None)),
            number_text("-" if epoch is None else str(epoch)),
            score_text(known["floor"]),
            score_text(known["test"]),
            Text(score_line(dev)),
        ]
    return rows


def heading(detail: RunDetail) -> Text:
    """What the run is and how far it is, in two or three lines."""
    summary = detail.summary
    what = f"{summary['stage']} of {summary['recipe']}, seed {summary['seed']}, protocol {summary['protocol']}"
    text = Text.assemble(state_text(summary["state"]), f"  {run_name(summary)}\n", plain(what))
    text.append(f"\nstep {progress(summary)}  macro {score_text(summary['macro'])}")
    if not chose_on_dev(summary):
        text.append(f"  ({names.OPTIMISTIC})")
    if summary["message"]:
        text.append(f"  {plain(summary['message'])}")
    return text


class RunScreen(Screen[None]):
    """One run. It keeps the last that was read if the directory vanishes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.close_run", "Back")]

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def compose(self) -> ComposeResult:
        """The heading, the tasks, the log and the keys."""
        yield Static(Text(plain(self._directory.name)), id="title", markup=False)
        yield LiveTable(id="tasks", cursor_type="none", zebra_stripes=True)
        with VerticalScroll(id="log", can_focus=True):
            yield Static("", id="lines", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Let the arrow keys scroll the log, which follows its end until they do."""
        log = self.query_one("#log")
        log.focus()
        log.anchor()

    def show(self, detail: RunDetail | None) -> None:
        """Show what was read; None if the run is no longer there."""
        title = self.query_one("#title", Static)
        if detail is None:
            gone = (
                f"gone  {plain(self._directory.name)}\nThe run directory cannot be read any more; below, the last seen."
            )
            title.update(Text(gone))
            return
        title.update(heading(detail))
        self.query_one(LiveTable).show(TASK_COLUMNS, tasks_table(detail))
        self.query_one("#lines", Static).update(Text("\n".join(detail.log) or "train.log is empty"))
