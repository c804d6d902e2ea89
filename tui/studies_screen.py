"""The studies of a folder, and what their screens have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Footer, Static

from mtscale.run_summary import RunSummary

from .cells import plain
from .detail_screen import DetailScreen
from .live_table import LiveTable
from .messages import StudyOpened, is_there
from .store import RunDetail, Snapshot
from .studies import StudySeen, planned, read_studies
from .study_facts import STUDY_COLUMNS, studies_table


class ReadingScreen(DetailScreen):
    """A screen about studies: each time the runs were read, a worker reads the studies beside them."""

    class StudiesRead(Message):
        """The worker has read."""

        def __init__(self, studies: Sequence[StudySeen]) -> None:
            super().__init__()
            self.studies = studies

    def __init__(self, root: Path, name: str | None = None) -> None:
        """``name``: this study alone."""
        super().__init__()
        self._root, self._study = root, name
        self._is_reading = False

    @property
    def watched(self) -> tuple[Path, ...]:
        """See ``DetailScreen``."""
        return ()

    def show(self, snapshot: Snapshot, details: Mapping[Path, RunDetail]) -> None:
        """Read the studies, unless they are being read."""
        if not self._is_reading:
            self._is_reading = True
            self._read(snapshot.runs)

    @work(thread=True, exit_on_error=False, group="read studies")
    def _read(self, runs: Sequence[RunSummary]) -> None:
        names = planned(self._root) if self._study is None else [self._study]
        self.post_message(self.StudiesRead(read_studies(self._root, names, runs)))

    @on(StudiesRead)
    def _have_read(self, event: StudiesRead) -> None:
        self._is_reading = False
        if is_there(self):
            self.show_studies(event.studies)

    def show_studies(self, studies: Sequence[StudySeen]) -> None:
        """Show what was read."""
        raise NotImplementedError


class StudiesTable(LiveTable):
    """The table of studies: Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Open")]


class StudiesScreen(ReadingScreen):
    """All studies that are planned in the folder."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.close_screen", "Back")]

    def compose(self) -> ComposeResult:
        """The title line, the table, and what stands in its place."""
        yield Static("studies", id="title", markup=False)
        yield Static("Reading the studies ...", id="instead", markup=False)
        yield StudiesTable(id="studies", frozen=1)
        yield Footer()

    def show_studies(self, studies: Sequence[StudySeen]) -> None:
        """See ``ReadingScreen``."""
        instead, table = self.query_one("#instead", Static), self.query_one(StudiesTable)
        instead.display = not studies
        folder = plain(str(self._root))
        instead.update(Text(f"No studies in {folder}\n\nPlan one in another terminal:\n\n  mtscale study list"))
        self.query_one("#title", Static).update(Text(f"studies  {len(studies)} in {folder}"))
        table.show(STUDY_COLUMNS, studies_table(studies))

    def on_mount(self) -> None:
        """Let the keys move the table."""
        self.query_one(StudiesTable).focus()

    @on(LiveTable.Chosen)
    def _open(self, event: LiveTable.Chosen) -> None:
        self.post_message(StudyOpened(event.key))
