"""``mtscale-tui``: start, watch and stop the runs of a folder in the terminal.

mtscale-tui --runs runs          the app            mtscale-tui --runs runs --once       one table as plain text
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import get_current_worker

from .acting import ActingApp
from .run_screen import RunScreen
from .runs_screen import RunsScreen, RunsTable, how_to_start, runs_table
from .store import RunDetail, RunStore, Snapshot

REFRESH_SECONDS = 2.0
SLICE_SECONDS = 0.2


class RunsApp(ActingApp):
    """Two screens and the thread that reads for both."""

    TITLE = "mtscale"
    CSS = """
    #title { padding: 0 1; background: $panel; height: auto; }
    #instead { padding: 1 2; }
    #runs { height: 1fr; }
    #filter { height: 1; padding: 0 1; }
    #tasks { height: auto; max-height: 60%; }
    #log { height: 1fr; border-top: solid $panel; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "toggle_help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    class Refreshed(Message):
        """The reading thread has read."""

        def __init__(self, snapshot: Snapshot, directory: Path | None, detail: RunDetail | None) -> None:
            super().__init__()
            self.snapshot = snapshot
            self.directory = directory
            self.detail = detail

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._store = RunStore(root)
        self._runs_screen = RunsScreen(root)
        self._opened: Path | None = None

    async def on_mount(self) -> None:
        """Show the first screen, then begin to read."""
        await self.push_screen(self._runs_screen)
        self._read()

    @work(thread=True)
    def _read(self) -> None:
        """Read every two seconds, and at once when a run is opened."""
        worker = get_current_worker()
        while not worker.is_cancelled:
            opened = self._opened
            snapshot = self._store.snapshot()
            detail = self._store.detail(opened) if opened else None
            self.post_message(self.Refreshed(snapshot, opened, detail))
            # A thread cannot be interrupted: it has to look often whether the app has ended.
            for _ in range(round(REFRESH_SECONDS / SLICE_SECONDS)):
                if worker.is_cancelled or self._opened != opened:
                    break
                time.sleep(SLICE_SECONDS)

    @on(Refreshed)
    def _show(self, event: Refreshed) -> None:
        self._runs_screen.show(event.snapshot)
        if isinstance(self.screen, RunScreen) and event.directory == self._opened:
            self.screen.show(event.detail)

    @on(RunsScreen.Opened)
    async def _open(self, event: RunsScreen.Opened) -> None:
        await self.push_screen(RunScreen(event.directory))
        self._opened = event.directory

    def current_run(self) -> Path | None:
        """The run that is open, or under the cursor of the table."""
        if isinstance(self.screen, RunScreen):
            return self._opened
        if not isinstance(self.screen, RunsScreen) or not self.screen.is_mounted:
            return None
        at_cursor = self.screen.query_one(RunsTable).row_at_cursor
        return None if at_cursor is None else Path(at_cursor)

    def action_close_run(self) -> None:
        """Go back to the table of runs."""
        self._opened = None
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
    columns, rows = runs_table(snapshot.runs)
    lines = [columns, *rows.values()]
    widths = [max(cell.cell_len for cell in cells) for cells in zip(*lines, strict=True)]
    return "\n".join((*(_plain_line(line, widths) for line in lines), *filter(None, [snapshot.problem])))


def _plain_line(cells: Sequence[Text], widths: Sequence[int]) -> str:
    padded = []
    for cell, width in zip(cells, widths, strict=True):
        space = " " * (width - cell.cell_len)
        padded.append(space + cell.plain if cell.justify == "right" else cell.plain + space)
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
