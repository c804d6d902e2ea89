"""The first screen: all runs of a folder, live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from mtscale import names
from mtscale.run_summary import RunSummary
from mtscale.runs import LIVE, State

from .live_table import LiveTable
from .store import Snapshot, plain

STATE_STYLE: Mapping[str, str] = {
    State.RUNNING: "green",
    State.STOPPING: "yellow",
    State.STALLED: "bold yellow",
    State.FAILED: "bold red",
    State.LOST: "bold red",
}


def number_text(text: str) -> Text:
    """A number, or the head of a column of numbers."""
    return Text(text, justify="right")


def state_text(state: str) -> Text:
    """The state as a word; the colour only repeats it."""
    return Text(plain(state), style=STATE_STYLE.get(state, ""))


def score_text(score: float | None) -> Text:
    """A score with three decimals, or a dash where there is none yet."""
    return number_text("-" if score is None else f"{score:.3f}")


def progress(summary: RunSummary) -> str:
    """The steps done, and of how many, where that is known."""
    return f"{summary['step']}/{summary['steps']}" if summary["steps"] else str(summary["step"])


def run_name(summary: RunSummary) -> str:
    """The name of the run, which is that of its directory."""
    return plain(Path(summary["dir"]).name)


def chose_on_dev(summary: RunSummary) -> bool:
    """Whether the epoch was chosen on dev; scores of other runs are optimistic."""
    return names.chosen_on(summary["protocol"]) == "dev"


def runs_table(runs: Iterable[RunSummary]) -> tuple[list[Text], dict[str, list[Text]]]:
    """Columns, and rows by run directory: what is known of each run, then a dev score for each task of any run.

    A run that chose its epoch on test has no dev scores and says so.
    """
    runs = list(runs)
    tasks = list(dict.fromkeys(task for summary in runs for task in summary["tasks"]))
    columns = [
        *map(Text, ("state", "name", "recipe", "stage")),
        *map(number_text, ("seed", "step", "macro", *map(plain, tasks))),
    ]
    rows = {}
    for summary in runs:
        rows[summary["dir"]] = [
            state_text(summary["state"]),
            Text(run_name(summary)),
            Text(plain(summary["recipe"])),
            Text(plain(summary["stage"]) + ("" if chose_on_dev(summary) else f" ({plain(summary['protocol'])})")),
            number_text(str(summary["seed"])),
            number_text(progress(summary)),
            score_text(summary["macro"] if chose_on_dev(summary) else None),
            *(score_text(summary["scores"][task]["dev"]) if task in summary["tasks"] else Text("") for task in tasks),
        ]
    return columns, rows


def how_to_start(root: Path) -> str:
    """What to show where there are no runs."""
    return (
        f"No runs in {plain(str(root))}\n\n"
        "Start one in another terminal, and it appears here:\n\n"
        f"  deepspeed mtscale/train.py --ds_config ds_configs/cpu.json --runs {plain(str(root))}"
    )


def matches(summary: RunSummary, wanted: str) -> bool:
    """Whether every word of the filter stands somewhere in the run's name, recipe, stage, state or tasks."""
    parts = (run_name(summary), summary["recipe"], summary["stage"], summary["state"], *summary["tasks"])
    text = " ".join(parts).casefold()
    return all(word in text for word in wanted.casefold().split())


class RunsTable(LiveTable):
    """The table of runs: Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Open")]


class RunsScreen(Screen[None]):
    """All runs; posts ``Opened`` when one is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("escape", "drop_filter", "Drop filter"),
    ]

    class Opened(Message):
        """A run was chosen."""

        def __init__(self, directory: Path) -> None:
            super().__init__()
            self.directory = directory

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._snapshot: Snapshot | None = None

    def compose(self) -> ComposeResult:
        """The title line, the table or what stands in its place, the filter and the keys."""
        yield Static(Text(f"mtscale  {plain(str(self._root))}"), id="title", markup=False)
        yield Static("Reading the runs ...", id="instead", markup=False)
        yield RunsTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Input(placeholder="words of a name, recipe, stage, state or task", id="filter", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        """Hide what is not needed yet."""
        self.query_one(RunsTable).display = False
        self.query_one(Input).display = False

    def show(self, snapshot: Snapshot) -> None:
        """Show what was read."""
        self._snapshot = snapshot
        self._show_runs()

    @on(Input.Changed)
    def _show_runs(self) -> None:
        if self._snapshot is None:
            return
        runs = self._snapshot.runs
        shown = [summary for summary in runs if matches(summary, self.query_one(Input).value)]
        table = self.query_one(RunsTable)
        table.show(*runs_table(shown))
        if bool(shown) != table.display:
            table.display = bool(shown)
            if shown and not self.query_one(Input).has_focus:
                table.focus()
        instead = self.query_one("#instead", Static)
        instead.display = not shown
        instead.update(Text("No run matches the filter" if runs else how_to_start(self._root)))
        live = sum(summary["state"] in LIVE for summary in runs)
        title = (f"mtscale  {plain(str(self._root))}", f"{len(runs)} runs, {live} live", self._snapshot.problem)
        self.query_one("#title", Static).update(Text("  ".join(part for part in title if part)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Offer a filter where none is asked for, and the end of it where it shows."""
        if not self.is_mounted or action not in {"filter", "drop_filter"}:
            return True
        entry = self.query_one(Input)
        return not entry.has_focus if action == "filter" else entry.display

    def action_filter(self) -> None:
        """Ask for a filter; it works while it is typed."""
        entry = self.query_one(Input)
        entry.display = True
        entry.focus()

    def action_drop_filter(self) -> None:
        """Show all runs again."""
        self.query_one(Input).clear()
        self._leave_filter()

    @on(Input.Submitted)
    def _leave_filter(self) -> None:
        entry = self.query_one(Input)
        entry.display = bool(entry.value)
        self.query_one(RunsTable).focus()

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        if event.row_key.value is not None:
            self.post_message(self.Opened(Path(event.row_key.value)))
