"""``mtscale-tui``: start, watch and stop the runs of a folder in the terminal.

mtscale-tui --runs runs     the app            mtscale-tui --runs runs --once     one table as plain text
mtscale-tui --demo          recorded runs
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import Worker, get_current_worker

from .acting import ActingApp
from .cells import Cell, Column, plain
from .detail_screen import DetailScreen
from .live_table import cell_width
from .messages import StudyOpened
from .places import mlflow_run
from .runs_rows import RowCache, View, all_tasks, arrange, runs_table
from .runs_screen import RunsScreen, how_to_start

if TYPE_CHECKING:
    from .mlflow_store import Elsewhere
    from .store import RunDetail, RunStore, Snapshot

REFRESH_SECONDS = 2.0
DEMO = Path(__file__).parent / "demo"
SLICE_SECONDS = 0.1


class RunsApp(ActingApp):
    """The screens and the threads that read for them."""

    TITLE = "mtscale"
    CSS = """
    #title { padding: 0 1; background: $panel; height: auto; }
    #instead { padding: 1 2; }
    #runs { height: 1fr; }
    #filter { height: 1; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "toggle_help", "Help", key_display="?"),
        Binding("q", "quit", "Quit", show=False),
    ]

    class Refreshed(Message):
        """The reading thread has read."""

        def __init__(self, snapshot: Snapshot, details: Mapping[Path, RunDetail], watched: Sequence[Path]) -> None:
            super().__init__()
            self.snapshot = snapshot
            self.details = details
            self.watched = watched

    class MlflowRead(Message):
        """The thread that asks MLflow has an answer."""

        def __init__(self, elsewhere: Elsewhere) -> None:
            super().__init__()
            self.elsewhere = elsewhere

    def __init__(self, root: Path, *, demo: bool = False) -> None:
        """``demo``: the runs are recordings, which can only be looked at."""
        super().__init__(root)
        self._demo = demo
        self._runs_screen = RunsScreen(root, "demo: recorded runs of the sample recipe" if demo else None)
        self._watched: tuple[Path, ...] = ()
        self._shown = threading.Event()
        self._last: RunsApp.Refreshed | None = None
        self._elsewhere: Elsewhere | None = None
        self._asks_mlflow = demo

    async def on_mount(self) -> None:
        """Show the first screen, then begin to read."""
        await self.push_screen(self._runs_screen)
        self.call_after_refresh(self.first_frame_shown)

    def first_frame_shown(self) -> None:
        """Begin to read; what that needs is not loaded before somebody sees something."""
        self._read()

    def open_store(self) -> RunStore:
        """What reads the run directories, for the reading thread."""
        from .store import RunStore

        return RunStore(self.root)

    @work(thread=True)
    def _read(self) -> None:
        """Read every two seconds, and at once when a run is opened; a long first reading in short turns."""
        worker = get_current_worker()
        store = self.open_store()
        snapshot = store.snapshot(SLICE_SECONDS / 2)
        before = None
        while not worker.is_cancelled:
            watched = self._watched
            details = store.details(watched)
            # Who opens a run is shown it at once, beside the runs as they were last read.
            if watched == before:
                snapshot = store.snapshot(2 * SLICE_SECONDS)
            before = watched
            self._shown.clear()
            self.post_message(self.Refreshed(snapshot, details, watched))
            # What is read faster than it can be shown would hold up the keys.
            while not worker.is_cancelled and not self._shown.wait(SLICE_SECONDS):
                pass
            seconds = SLICE_SECONDS / 4 if snapshot.pending else REFRESH_SECONDS
            self._rest(worker, seconds, watched, lambda: self._watched)

    @work(thread=True, group="mlflow")
    def _ask_mlflow(self) -> None:
        """Ask for the runs that are in none of the directories when that is due, and at once for one that is opened."""
        from .mlflow_store import MlflowStore

        worker = get_current_worker()
        with MlflowStore(self.root) as store:
            while not worker.is_cancelled:
                places, last = self._mlflow_places(), self._last
                assert last is not None, "it begins when the directories have been read"
                elsewhere = store.read(last.snapshot, places, lambda: not worker.is_cancelled)
                self.post_message(self.MlflowRead(elsewhere))
                seconds = store.due - time.monotonic()
                self._rest(worker, seconds, places, self._mlflow_places)

    def _mlflow_places(self) -> tuple[Path, ...]:
        return tuple(path for path in self._watched if mlflow_run(path))

    def _rest(
        self, worker: Worker[None], seconds: float, opened: Sequence[Path], now: Callable[[], Sequence[Path]]
    ) -> None:
        """Wait so long, or until something else is open than was."""
        # A thread cannot be interrupted: it has to look often whether the app has ended.
        end = time.monotonic() + seconds
        while time.monotonic() < end and not worker.is_cancelled and now() == opened:
            time.sleep(SLICE_SECONDS / 4)

    @on(Refreshed)
    def _show(self, event: Refreshed) -> None:
        self._shown.set()
        self._last = event
        if not self._asks_mlflow and not event.snapshot.pending:
            self._asks_mlflow = True
            self._ask_mlflow()
        self._show_all()

    @on(MlflowRead)
    def _show_mlflow(self, event: MlflowRead) -> None:
        self._elsewhere = event.elsewhere
        self._show_all()

    def _show_all(self) -> None:
        # While the app ends its screens lose their widgets one by one.
        if not self.is_running or self._last is None:
            return
        snapshot, details = self._last.snapshot, self._last.details
        if self._elsewhere is not None:
            snapshot, details = self._elsewhere.beside(snapshot), {**self._elsewhere.details, **details}
        for screen in self.screen_stack:
            if isinstance(screen, RunsScreen):
                screen.show(snapshot)
            elif isinstance(screen, DetailScreen) and screen.watched == self._last.watched:
                screen.show(snapshot, details)

    @on(RunsScreen.Opened)
    async def _open(self, event: RunsScreen.Opened) -> None:
        from .run_screen import RunScreen

        await self._open_screen(RunScreen(event.directory, event.baseline))

    @on(RunsScreen.Compared)
    async def _compare(self, event: RunsScreen.Compared) -> None:
        from .compare_screen import CompareScreen

        await self._open_screen(CompareScreen(event.directories, event.baseline, event.folded))

    async def _open_screen(self, screen: DetailScreen) -> None:
        await self.push_screen(screen)
        self._watched = screen.watched
        # Of what is read for every screen it need not wait for the next reading.
        self._show_all()

    async def action_studies(self) -> None:
        """Show the studies of the folder."""
        from .studies_screen import StudiesScreen

        await self._open_screen(StudiesScreen(self.root))

    @on(StudyOpened)
    async def _open_study(self, event: StudyOpened) -> None:
        from .study_screen import StudyScreen

        await self._open_screen(StudyScreen(self.root, event.name))

    def current_run(self) -> Path | None:
        """The run that is open, or under the cursor of the table."""
        if isinstance(self.screen, DetailScreen):
            return self.screen.run
        if isinstance(self.screen, RunsScreen):
            return self.screen.run_at_cursor
        return None

    def hindrance(self, directory: Path | None) -> str:
        """See ``ActingApp``."""
        if self._demo:
            return "These are recorded runs: `mtscale-tui` without --demo starts, stops and resumes"
        if directory is not None and mlflow_run(directory):
            return f"{plain(directory.name)} is known to MLflow alone: stop or resume it where its run directory is"
        return ""

    def action_close_screen(self) -> None:
        """Go back to the screen before, down to the table of runs."""
        self.pop_screen()
        self._watched = self.screen.watched if isinstance(self.screen, DetailScreen) else ()

    def action_toggle_help(self) -> None:
        """Show or hide the keys that work now."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()


def one_frame(root: Path) -> str:
    """The table of runs as plain text."""
    from .store import RunStore

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
    parser.add_argument("--demo", action="store_true", help="look at recorded runs that come with the app")
    parser.add_argument("--once", action="store_true", help="print the table of runs as plain text and end")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    root = DEMO if options.demo else options.runs
    if options.once:
        print(one_frame(root))
    else:
        app = RunsApp(root, demo=options.demo)
        app.run()
        if farewell := app.farewell():
            print(farewell)


if __name__ == "__main__":
    main()
