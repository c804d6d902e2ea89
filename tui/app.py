"""``mtscale-tui``: start, watch and stop the runs of a folder in the terminal.

mtscale-tui --runs runs          the app            mtscale-tui --runs runs --once       one table as plain text
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker, get_current_worker

from .acting import ActingApp
from .cells import Cell, Column
from .compare_screen import CompareScreen
from .live_table import cell_width
from .run_screen import RunScreen
from .runs_rows import RowCache, View, all_tasks, arrange, runs_table
from .runs_screen import RunsScreen, how_to_start
from .store import RunDetail, RunStore, Snapshot

REFRESH_SECONDS = 2.0
SLICE_SECONDS = 0.1


class RunsApp(ActingApp):
    """The screens and the thread that reads for them."""

    TITLE = "mtscale"
    CSS = """
    #title { padding: 0 1; background: $panel; height: auto; }
    #instead { padding: 1 2; }
    #runs { height: 1fr; }
    #filter { height: 1; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "toggle_help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    class Refreshed(Message):
        """The reading thread has read."""

        def __init__(self, snapshot: Snapshot, details: Mapping[Path, RunDetail], watched: Sequence[Path]) -> None:
            super().__init__()
            self.snapshot = snapshot
            self.details = details
            self.watched = watched

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._store = RunStore(root)
        self._runs_screen = RunsScreen(root)
        self._watched: tuple[Path, ...] = ()
        self._shown = threading.Event()

    async def on_mount(self) -> None:
        """Show the first screen, then begin to read."""
        await self.push_screen(self._runs_screen)
        self.call_after_refresh(self._read)

    @work(thread=True)
    def _read(self) -> None:
        """Read every two seconds, and at once when a run is opened; a long first reading in short turns."""
        worker = get_current_worker()
        snapshot = self._store.snapshot(SLICE_SECONDS / 2)
        before = None
        while not worker.is_cancelled:
            watched = self._watched
            details = self._store.details(watched)
            # Who opens a run is shown it at once, beside the runs as they were last read.
            if watched == before:
                snapshot = self._store.snapshot(2 * SLICE_SECONDS)
            before = watched
            self._shown.clear()
            self.post_message(self.Refreshed(snapshot, details, watched))
            # What is read faster than it can be shown would hold up the keys.
            while not worker.is_cancelled and not self._shown.wait(SLICE_SECONDS):
                pass
            self._rest(worker, watched, SLICE_SECONDS / 4 if snapshot.pending else REFRESH_SECONDS)

    def _rest(self, worker: Worker[None], watched: Sequence[Path], seconds: float) -> None:
        # A thread cannot be interrupted: it has to look often whether the app has ended.
        end = time.monotonic() + seconds
        while time.monotonic() < end and not worker.is_cancelled and self._watched == watched:
            time.sleep(SLICE_SECONDS / 4)

    @on(Refreshed)
    def _show(self, event: Refreshed) -> None:
        self._shown.set()
        # While the app ends its screens lose their widgets one by one.
        if not self.is_running:
            return
        for screen in self.screen_stack:
            if isinstance(screen, RunsScreen):
                screen.show(event.snapshot)
            elif isinstance(screen, RunScreen | CompareScreen) and screen.watched == event.watched:
                screen.show(event.snapshot, event.details)

    @on(RunsScreen.Opened)
    async def _open(self, event: RunsScreen.Opened) -> None:
        await self._open_screen(RunScreen(event.directory, event.baseline))

    @on(RunsScreen.Compared)
    async def _compare(self, event: RunsScreen.Compared) -> None:
        await self._open_screen(CompareScreen(event.directories, event.baseline, event.folded))

    async def _open_screen(self, screen: RunScreen | CompareScreen) -> None:
        await self.push_screen(screen)
        self._watched = screen.watched

    def current_run(self) -> Path | None:
        """The run that is open, or under the cursor of the table."""
        if isinstance(self.screen, RunScreen):
            return self.screen.watched[0]
        if isinstance(self.screen, RunsScreen) and self.screen.is_mounted:
            return self.screen.run_at_cursor
        return None

    def action_close_screen(self) -> None:
        """Go back to the table of runs."""
        self._watched = ()
        self.pop_screen()

    def action_toggle_help(self) -> None:
        """Show or hide the keys that work now."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()


def one_frame(root: Path) -> str:
    """The table of runs as plain text."""
    snapshot = RunStore(root).snapshot()
    if not snapshot.runs:
        return snapshot.problem or how_to_start(root)
    rows = arrange(snapshot.runs, View())
    columns, cells = runs_table(rows, all_tasks(snapshot.runs), snapshot.left, RowCache())
    lines = [[Cell(column.title) for column in columns], *cells.values()]
    widths = [max(cell_width(cell.text) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join((*(_plain_line(line, columns, widths) for line in lines), *filter(None, [snapshot.problem])))


def _plain_line(cells: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        space = " " * (width - cell_width(cell.text))
        padded.append(space + cell.text if column.number else cell.text + space)
    return "  ".join(padded).rstrip()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command ``mtscale-tui``."""
    parser = argparse.ArgumentParser(prog="mtscale-tui", description="Start, watch and stop the runs of a folder.")
    parser.add_argument(
        "--runs",
        type=Path,
        default=os.environ.get("MTSCALE_RUNS") or "runs",
        metavar="DIR",
        help="the folder of the runs (MTSCALE_RUNS, else ./runs)",
    )
    parser.add_argument("--once", action="store_true", help="print the table of runs as plain text and end")
    options = parser.parse_args(arguments)
    if options.once:
        print(one_frame(options.runs))
    else:
        app = RunsApp(options.runs)
        app.run()
        if farewell := app.farewell():
            print(farewell)


if __name__ == "__main__":
    main()
