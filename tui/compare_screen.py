"""The third screen: several runs, or groups of seeds, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from mtscale import names

from .cells import plain
from .chart_view import ChartView
from .comparison import Comparison, compare, letters, scores_table, settings_table
from .detail_screen import DetailScreen
from .groups import member_name
from .live_table import LiveTable
from .places import mlflow_run
from .runs_rows import all_tasks
from .store import RunDetail, Snapshot
from .topics import compared_topics

SIGNIFICANCE = "significance, from the stored predictions: mtscale runs compare"


class CompareScreen(DetailScreen):
    """Tasks by runs with differences, the curves, and the settings that differ."""

    DEFAULT_CSS = """
    CompareScreen {
        #scores { height: auto; max-height: 45%; margin: 0 1; }
        #notes { padding: 0 1; height: auto; color: $text-muted; }
        #settings { height: auto; max-height: 30%; margin: 0 1; }
        &.-zoomed #title, &.-zoomed #scores, &.-zoomed #settings, &.-zoomed #notes { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.close_screen", "Back"),
        Binding("F", "fold", "Fold"),
        Binding("v", "split", "Dev, test"),
        Binding("z", "zoom", "Zoom", show=False),
        Binding("y", "copy", "Copy ids", show=False),
    ]

    def __init__(self, directories: Sequence[str], baseline: frozenset[str], folded: bool) -> None:
        super().__init__()
        self._directories = directories
        self._baseline = baseline
        self._folded = folded
        self._test = False
        self._read: tuple[Snapshot, Mapping[Path, RunDetail]] | None = None

    @property
    def watched(self) -> tuple[Path, ...]:
        """See ``DetailScreen``."""
        return tuple(map(Path, self._directories))

    def compose(self) -> ComposeResult:
        """The title line, the scores, the curves, the settings and the keys."""
        yield Static("Reading the runs ...", id="title", markup=False)
        yield LiveTable(id="scores", cursor="none", frozen=1)
        yield Static("", id="notes", markup=False)
        yield ChartView(id="curves")
        yield LiveTable(id="settings", cursor="none", frozen=1)
        yield Footer()

    def on_mount(self) -> None:
        """Let the keys move the chart."""
        self.query_one(ChartView).focus()

    def show(self, snapshot: Snapshot, details: Mapping[Path, RunDetail]) -> None:
        """Show what was read."""
        self._read = (snapshot, details)
        self._show_runs()

    def _show_runs(self) -> None:
        if self._read is None:
            return
        _, details = self._read
        runs = [details[path].summary for path in self.watched if path in details]
        comparison = compare(runs, self._baseline, self._folded, self._test)
        missing = [path for path in self.watched if path not in details]
        asked = sum(mlflow_run(path) is not None for path in missing)
        gone = len(missing) - asked
        self.query_one("#title", Static).update(self._title(comparison))
        self.query_one("#scores", LiveTable).show(*scores_table(comparison))
        notes = [SIGNIFICANCE, comparison.left_out]
        notes.append(f"{gone} cannot be read any more" if gone else "")
        notes.append(f"MLflow is asked for {asked}" if asked else "")
        self.query_one("#notes", Static).update(Text("\n".join(note for note in notes if note)))
        named = [
            (f"{letters(number)} {member_name((member,))}", details[Path(member["dir"])].series)
            for number, members in enumerate(comparison.columns)
            for member in members
        ]
        split = names.chosen_on(comparison.runs[0]["protocol"]) if comparison.runs else "dev"
        self.query_one(ChartView).show(compared_topics(named, all_tasks(comparison.runs), split))
        settings = self.query_one("#settings", LiveTable)
        settings.show(*settings_table(comparison, details))

    def _title(self, comparison: Comparison) -> Text:
        what = "groups of seeds" if self._folded else "runs"
        optimistic = ""
        if comparison.runs and names.chosen_on(comparison.runs[0]["protocol"]) == "test":
            optimistic = f"  ({names.OPTIMISTIC})"
        count = len(comparison.columns)
        return Text(f"compare  {count} {what}, scores on {comparison.split} at the kept epoch{optimistic}")

    def action_fold(self) -> None:
        """Show runs that differ in their seed as one column, or each."""
        self._folded = not self._folded
        self._show_runs()

    def action_split(self) -> None:
        """Change between scores on dev and on test."""
        self._test = not self._test
        self._show_runs()

    def action_copy(self) -> None:
        """Copy the ids of the runs."""
        if self._read is not None:
            ids = " ".join(plain(self._read[1][path].summary["id"]) for path in self.watched if path in self._read[1])
            self.app.copy_to_clipboard(ids)
            self.notify(f"copied {ids}", markup=False)

    def action_zoom(self) -> None:
        """Give all of the screen to the chart, or the rest its place again."""
        self.toggle_class("-zoomed")
