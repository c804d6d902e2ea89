"""One study: its units, its tables as they fill, who gains from whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static, TabbedContent, TabPane

from mtscale import names
from mtscale.states import LIVE, State

from .cells import plain
from .live_table import LiveTable
from .messages import StudyWanted
from .runs_screen import RunsScreen
from .studies import StudySeen, UnitSeen
from .studies_screen import ReadingScreen
from .study_facts import PAIRS_LEGEND, UNIT_COLUMNS, heading, pairs_table, score_table, units_table

TABS = {"units": "Units", "tables": "Tables", "pairs": "Pairs"}


class UnitsTable(LiveTable):
    """The table of units: Enter opens the run of one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "Open run")]


class StudyScreen(ReadingScreen):
    """One study. It keeps the last that was read if the plan cannot be read any more."""

    DEFAULT_CSS = """
    StudyScreen {
        #title { max-height: 8; }
        TabbedContent, ContentSwitcher { height: 1fr; }
        TabPane { padding: 0; height: 1fr; }
        Tabs { height: 1; }
        Underline { display: none; }
        Tab.-active { text-style: bold reverse; }
        .caption { padding: 0 1; height: auto; }
        LiveTable { margin: 0 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.close_screen", "Back"),
        *(
            Binding(str(number), f"tab('{tab}')", title, show=False)
            for number, (tab, title) in enumerate(TABS.items(), 1)
        ),
        Binding("m", "table(1)", "Next table"),
        Binding("M", "table(-1)", "Table before", show=False),
        Binding("r", "train", "Train what is left"),
    ]

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root, name)
        self._called = name
        self._seen = StudySeen(name)
        self._place = 0

    def compose(self) -> ComposeResult:
        """The heading, the tabs and the keys."""
        yield Static(Text(f"study {plain(self._called)}\nReading the study ..."), id="title", markup=False)
        with TabbedContent(id="tabs"):
            with TabPane(TABS["units"], id="units"):
                yield UnitsTable(id="unit-table", frozen=2)
                yield Static("", id="why", classes="caption", markup=False)
            with TabPane(TABS["tables"], id="tables"):
                yield Static("", id="caption", classes="caption", markup=False)
                yield LiveTable(id="score-table", cursor="none", frozen=1)
            with TabPane(TABS["pairs"], id="pairs"):
                yield Static("", id="legend", classes="caption", markup=False)
                yield LiveTable(id="pair-table", cursor="none", frozen=1)
        yield Footer()

    def on_mount(self) -> None:
        """Begin with the units."""
        self.query_one(UnitsTable).focus()

    def show_studies(self, studies: Sequence[StudySeen]) -> None:
        """See ``ReadingScreen``."""
        for seen in studies:
            self.query_one("#title", Static).update(Text(heading(seen)))
            if seen.plan is None:
                return
            self._seen = seen
            self.query_one(UnitsTable).show(UNIT_COLUMNS, units_table(seen.units))
            self._show_table()
            self.query_one("#legend", Static).update(PAIRS_LEGEND if seen.gains else "No pairs to show")
            self.query_one("#pair-table", LiveTable).show(*pairs_table(seen.gains))
        self._moved()

    @on(LiveTable.Moved)
    def _moved(self) -> None:
        """Say what is wrong with the unit under the cursor; whether there is a run to stop or resume."""
        seen = self._at_cursor
        self.query_one("#why", Static).update(Text(plain(seen.why) if seen else ""))
        self.refresh_bindings()

    @property
    def _at_cursor(self) -> UnitSeen | None:
        # Which keys work is asked while the screen is made, and while it ends.
        key = next((table.row_at_cursor for table in self.query(UnitsTable)), None)
        return next((seen for seen in self._seen.units if seen.unit.name == key), None)

    def _show_table(self) -> None:
        tables = self._seen.tables
        if not tables:
            self.query_one("#caption", Static).update("No tables to show")
            return
        place = self._place % len(tables)
        table = tables[place]
        caption = (
            f"{table.key} ({place + 1} of {len(tables)})  {table.title}, on test: mean±sd over seeds, [seeds there]"
        )
        if names.chosen_on(table.protocol) == "test":
            caption += f"; {names.OPTIMISTIC}"
        self.query_one("#caption", Static).update(Text(plain(caption)))
        self.query_one("#score-table", LiveTable).show(*score_table(table))

    @property
    def run(self) -> Path | None:
        """See ``DetailScreen``: the run of the unit under the cursor that matters most."""
        if any(tabs.active != "units" for tabs in self.query(TabbedContent)):
            return None
        seen = self._at_cursor
        return _run_of(seen) if seen else None

    @on(LiveTable.Chosen)
    def _open(self, event: LiveTable.Chosen) -> None:
        run = self.run
        if run is None:
            self.notify(f"{plain(event.key)} has no run yet", markup=False)
        else:
            self.post_message(RunsScreen.Opened(run))

    def action_tab(self, tab: str) -> None:
        """Go to a tab, and there to its table."""
        self.query_one(TabbedContent).active = tab
        self.call_after_refresh(self.query_one(f"#{tab}").query_one(LiveTable).focus)

    def action_table(self, steps: int) -> None:
        """Show the next table of scores."""
        self._place += steps
        self._show_table()
        self.action_tab("tables")

    def action_train(self) -> None:
        """Train what is not finished, detached: what failed is tried again."""
        if self._seen.units and self._seen.counts["finished"] == len(self._seen.units):
            self.notify("All units are finished", markup=False)
        else:
            self.post_message(StudyWanted(self._called))


def _run_of(seen: UnitSeen) -> Path | None:
    """Of several runs the one that failed, else the one at work, else the last."""
    for states in (frozenset({State.FAILED, State.LOST}), LIVE, frozenset(State)):
        for run in reversed(seen.runs):
            if run["state"] in states:
                return Path(run["dir"])
    return None
