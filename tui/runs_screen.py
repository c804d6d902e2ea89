"""The first screen: all runs of a folder, live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from mtscale.states import LIVE

from .cells import Cell, Column, plain
from .live_table import LiveTable
from .messages import is_there
from .runs_rows import NEWEST, Members, RowCache, View, all_tasks, arrange, mark_cell, runs_table, sort_columns

if TYPE_CHECKING:
    from .store import Snapshot

MARKS = Column("")


def how_to_start(root: Path) -> str:
    """What to show where there are no runs."""
    return (
        f"No runs in {plain(str(root))}\n\n"
        "Press n for a form that starts one, or start it in another terminal, and it appears here:\n\n"
        f"  deepspeed mtscale/train.py --ds_config ds_configs/cpu.json --runs {plain(str(root))}"
    )


class RunsTable(LiveTable):
    """The table of runs: Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", show=False),
        Binding("space", "screen.mark", "Mark"),
        Binding("c", "screen.compare", "Compare"),
        Binding("b", "screen.baseline", "Baseline", show=False),
        Binding("o", "screen.sort(1)", "Sort", show=False),
        Binding("O", "screen.turn", "Sort backwards", show=False),
        Binding("F", "screen.fold", "Fold seeds", show=False),
        Binding("y", "screen.copy", "Copy id", show=False),
        Binding("u", "screen.unmark", "Unmark all", show=False),
    ]


class RunsScreen(Screen[None]):
    """All runs; posts ``Opened`` when one is chosen and ``Compared`` when several are."""

    DEFAULT_CSS = "RunsScreen #title { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter"),
        Binding("escape", "drop_filter", "Drop filter"),
        Binding("t", "app.studies", "Studies", show=False),
    ]

    class Opened(Message):
        """A run was chosen; ``baseline`` are the directories of the runs that it is compared with."""

        def __init__(self, directory: Path, baseline: frozenset[str] = frozenset()) -> None:
            super().__init__()
            self.directory = directory
            self.baseline = baseline

    class Compared(Message):
        """Several runs were chosen, by their directories."""

        def __init__(self, directories: Sequence[str], baseline: frozenset[str], folded: bool) -> None:
            super().__init__()
            self.directories = directories
            self.baseline = baseline
            self.folded = folded

    def __init__(self, root: Path, title: str | None = None) -> None:
        """``title`` stands for the folder where that is not what tells most."""
        super().__init__()
        self._root = root
        self._folder = title or str(root)
        self._snapshot: Snapshot | None = None
        self._view = View()
        self._rows: dict[str, Members] = {}
        self._cache = RowCache()

    def compose(self) -> ComposeResult:
        """The title line, the table or what stands in its place, the filter and the keys."""
        yield Static(Text(f"mtscale  {plain(self._folder)}"), id="title", markup=False)
        yield Static("Reading the runs ...", id="instead", markup=False)
        yield RunsTable(id="runs", frozen=3)
        yield Input(placeholder="words of a name, recipe, stage, state or task", id="filter", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        """Hide what is not needed yet."""
        self.query_one(RunsTable).display = False
        self.query_one(Input).display = False

    def show(self, snapshot: Snapshot) -> None:
        """Show what was read, at once or when this screen is seen again."""
        self._snapshot = snapshot
        if self.is_current:
            self._show_runs()

    def on_screen_resume(self) -> None:
        """Show what was read meanwhile."""
        self._show_runs()

    def _show_runs(self) -> None:
        if self._snapshot is None or not is_there(self):
            return
        runs = self._snapshot.runs
        self._rows = arrange(runs, self._view)
        columns, cells = runs_table(self._rows, all_tasks(runs), self._snapshot.left, self._cache)
        table = self.query_one(RunsTable)
        table.show([MARKS, *columns], {key: [self._mark(key), *row] for key, row in cells.items()})
        if bool(cells) != table.display:
            table.display = bool(cells)
            # Whether there is a run to stop.
            self.refresh_bindings()
            if cells and not self.query_one(Input).has_focus:
                table.focus()
        instead = self.query_one("#instead", Static)
        instead.display = not cells
        reading = self._snapshot.pending and not runs
        empty = "Reading the runs ..." if reading else how_to_start(self._root)
        instead.update(Text("No run matches the filter" if runs else empty))
        self.query_one("#title", Static).update(self._title(self._snapshot))

    def _title(self, snapshot: Snapshot) -> Text:
        live = sum(summary["state"] in LIVE for summary in snapshot.runs)
        sort = f"by {self._view.sort}{', backwards' if self._view.backwards else ''}"
        parts = (
            "mtscale",
            f"{len(snapshot.runs)} runs, {live} live",
            f"reading {snapshot.pending}" if snapshot.pending else "",
            snapshot.problem,
            f"{len(self._view.marked)} marked" if self._view.marked else "",
            "" if sort == f"by {NEWEST}" else sort,
            self._folder,
        )
        return Text("  ".join(plain(part) for part in parts if part))

    def _mark(self, key: str) -> Cell:
        return mark_cell(self._rows[key], self._view.marked, self._view.baseline)

    def _change(self, **changes: object) -> None:
        self._view = replace(self._view, **changes)  # type: ignore[arg-type]
        self._show_runs()

    @property
    def run_at_cursor(self) -> Path | None:
        """The directory of the run under the cursor; None where there is none, or a group of several."""
        members = self._at_cursor
        return Path(members[0]["dir"]) if len(members) == 1 else None

    @property
    def _at_cursor(self) -> Members:
        # Which keys work is asked while the app ends, too.
        key = next((table.row_at_cursor for table in self.query(RunsTable)), None)
        return self._rows.get(key or "", ())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Offer a filter where none is asked for, and the end of it where it shows."""
        if action not in {"filter", "drop_filter"}:
            return True
        entries = self.query(Input)
        return all(not one.has_focus for one in entries) if action == "filter" else any(one.display for one in entries)

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        self._change(filter=event.value)

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

    def action_mark(self) -> None:
        """Mark the row, or take its mark away, and go on to the next."""
        directories = {member["dir"] for member in self._at_cursor}
        all_marked = directories <= self._view.marked
        self._change(marked=self._view.marked - directories if all_marked else self._view.marked | directories)
        self.query_one(RunsTable).action_move(1)

    def action_unmark(self) -> None:
        """Take all marks away."""
        self._change(marked=frozenset())

    def action_baseline(self) -> None:
        """Make the row the baseline that others are compared with, or none."""
        directories = frozenset(member["dir"] for member in self._at_cursor)
        self._change(baseline=frozenset() if directories == self._view.baseline else directories)

    def action_sort(self, steps: int) -> None:
        """Sort by the next column."""
        columns = sort_columns(self._snapshot.runs if self._snapshot else ())
        place = columns.index(self._view.sort) if self._view.sort in columns else 0
        self._change(sort=columns[(place + steps) % len(columns)])

    def action_turn(self) -> None:
        """Sort the other way round."""
        self._change(backwards=not self._view.backwards)

    def action_fold(self) -> None:
        """Show runs that differ in their seed as one row, or each."""
        self._change(folded=not self._view.folded)

    def action_copy(self) -> None:
        """Copy the id of the run, or of all of the group."""
        ids = " ".join(plain(member["id"]) for member in self._at_cursor)
        if ids:
            self.app.copy_to_clipboard(ids)
            self.notify(f"copied {ids}", markup=False)

    def action_compare(self) -> None:
        """Compare the marked runs; without marks, the row with the baseline."""
        at_cursor = frozenset(member["dir"] for member in self._at_cursor)
        self._compare((self._view.marked or at_cursor) | self._view.baseline)

    def _compare(self, wanted: frozenset[str]) -> None:
        runs = self._snapshot.runs if self._snapshot else ()
        # Oldest first: what came later is compared with what was there before.
        directories = [summary["dir"] for summary in reversed(runs) if summary["dir"] in wanted]
        if len(directories) < 2:
            self.notify("Mark two or more runs with space, then compare them", severity="warning", markup=False)
            return
        self.post_message(self.Compared(directories, self._view.baseline, self._view.folded))

    @on(LiveTable.Chosen)
    def _open(self, event: LiveTable.Chosen) -> None:
        members = self._rows.get(event.key, ())
        if len(members) == 1:
            self.post_message(self.Opened(Path(members[0]["dir"]), self._view.baseline))
        elif members:
            self._compare(frozenset(member["dir"] for member in members) | self._view.baseline)
