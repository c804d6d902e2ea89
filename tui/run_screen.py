"""The second screen: one run, its tasks, curves, log, settings and files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Footer, Static, TabbedContent, TabPane

from mtscale.run_summary import RunSummary

from .cells import plain
from .chart_view import ChartView
from .detail_screen import DetailScreen
from .live_table import LiveTable
from .places import mlflow_run
from .run_facts import FILE_COLUMNS, facts_line, files_table, heading, panel, task_columns, tasks_table
from .store import RunDetail, Snapshot
from .text_pane import TextLines, TextPane
from .topics import run_topics

TABS = {
    "run": "Run",
    "numbers": "Numbers",
    "log": "Log",
    "recipe": "recipe.toml",
    "ds_config": "ds_config.json",
    "files": "Files",
}
WIDE = 110


class RunScreen(DetailScreen):
    """One run. It keeps the last that was read if the directory vanishes."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012
    DEFAULT_CSS = """
    RunScreen {
        TabbedContent { height: 1fr; }
        TabPane { padding: 0; height: 1fr; }
        ContentSwitcher { height: 1fr; }
        Tabs { height: 1; }
        Underline { display: none; }
        Tab.-active { text-style: bold reverse; }
        #tasks { height: auto; max-height: 8; margin: 0 1; }
        #facts { padding: 0 1; height: 1; }
        #all-facts { padding: 0 1; }
        #file-table { margin: 0 1; }
        #charts { height: 1fr; }
        #top { height: auto; layout: vertical; }
        #second { display: none; }
        &.-wide #top { layout: horizontal; }
        &.-wide #tasks { width: auto; max-height: 16; }
        &.-wide #facts { width: 1fr; height: auto; max-height: 16; padding: 0 2; }
        &.-wide #second { display: block; }
        &.-zoomed #title, &.-zoomed #top, &.-zoomed Tabs { display: none; }
        &.-zoomed #charts > ChartView { display: none; }
        &.-zoomed #charts > ChartView:focus { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.close_screen", "Back"),
        *(
            Binding(str(number), f"tab('{tab}')", title, show=False)
            for number, (tab, title) in enumerate(TABS.items(), 1)
        ),
        Binding("l", "tab('log')", "Log"),
        Binding("z", "zoom", "Zoom", show=False),
        Binding("y", "copy", "Copy id", show=False),
    ]

    def __init__(self, directory: Path, baseline: Collection[str] = ()) -> None:
        """``baseline`` are the directories of the runs that the scores are compared with."""
        super().__init__()
        self._directory = directory
        self._baseline = baseline
        self._detail: RunDetail | None = None
        self._baseline_runs: Sequence[RunSummary] = ()

    @property
    def watched(self) -> tuple[Path, ...]:
        """See ``DetailScreen``."""
        return (self._directory,)

    @property
    def run(self) -> Path | None:
        """See ``DetailScreen``."""
        return self._directory

    def compose(self) -> ComposeResult:
        """The heading, the tabs and the keys."""
        yield Static(Text(plain(self._directory.name)), id="title", markup=False)
        with TabbedContent(id="tabs"):
            with TabPane(TABS["run"], id="run"):
                with Widget(id="top"):
                    yield LiveTable(id="tasks", cursor="none")
                    yield Static("", id="facts", markup=False)
                with Horizontal(id="charts"):
                    yield ChartView(id="first")
                    yield ChartView(id="second", first=1)
            with TabPane(TABS["numbers"], id="numbers"), VerticalScroll():
                yield Static("", id="all-facts", markup=False)
            with TabPane(TABS["log"], id="log"):
                yield TextPane("train.log is empty", id="lines", follow=True)
            with TabPane(TABS["recipe"], id="recipe"):
                yield TextPane("the file is empty", id="recipe-lines")
            with TabPane(TABS["ds_config"], id="ds_config"):
                yield TextPane("the file is empty", id="ds_config-lines")
            with TabPane(TABS["files"], id="files"), Vertical():
                yield LiveTable(id="file-table", cursor="none")
        yield Footer()

    def on_mount(self) -> None:
        """Begin with the chart."""
        self.query_one("#first").focus()

    def show(self, snapshot: Snapshot, details: Mapping[Path, RunDetail]) -> None:
        """Show what was read; nothing of the run if it is no longer there."""
        self._baseline_runs = [summary for summary in snapshot.runs if summary["dir"] in self._baseline]
        detail = details.get(self._directory)
        if detail is None:
            name = plain(self._directory.name)
            gone = f"gone  {name}\nThe run directory cannot be read any more; below, the last seen."
            asked = f"MLflow is asked for {name} ...  {snapshot.problem}"
            self.query_one("#title", Static).update(Text(asked if mlflow_run(self._directory) else gone))
            return
        self._detail = detail
        self._show_detail(detail)

    def _show_detail(self, detail: RunDetail) -> None:
        self.query_one("#title", Static).update(heading(detail, self._baseline_runs))
        tasks = self.query_one("#tasks", LiveTable)
        tasks.show(task_columns(bool(self._baseline_runs)), tasks_table(detail, self._baseline_runs))
        self._show_facts()
        topics = run_topics(detail.summary, detail.series)
        for chart in self.query(ChartView):
            chart.show(topics)
        self.query_one("#lines", TextPane).show(detail.log)
        self.query_one("#recipe-lines", TextPane).show(detail.settings.recipe)
        self.query_one("#ds_config-lines", TextPane).show(detail.settings.ds_config)
        self.query_one("#file-table", LiveTable).show(FILE_COLUMNS, files_table(detail.files))

    def on_resize(self) -> None:
        """What stands beside the tasks on a wide screen stands under them on a narrow one."""
        self._show_facts()

    def _show_facts(self) -> None:
        if self._detail is not None:
            whole = panel(self._detail)
            self.query_one("#facts", Static).update(whole if self.size.width >= WIDE else facts_line(self._detail))
            self.query_one("#all-facts", Static).update(whole)

    def action_tab(self, tab: str) -> None:
        """Go to a tab, and there to what can be moved."""
        self.remove_class("-zoomed")
        self.query_one(TabbedContent).active = tab
        targets = self.query_one(f"#{tab}").query("ChartView, TextLines, LiveTable, VerticalScroll")
        target = next((widget for widget in targets if widget.id != "tasks"), None)
        if target is not None:
            self.call_after_refresh(target.focus)

    def action_zoom(self) -> None:
        """Give all of the screen to the chart or the lines that have the keys, or the rest its place again."""
        if isinstance(self.focused, ChartView | TextLines):
            self.toggle_class("-zoomed")

    def action_copy(self) -> None:
        """Copy the run's id."""
        if self._detail is not None:
            copied = plain(self._detail.summary["id"])
            self.app.copy_to_clipboard(copied)
            self.notify(f"copied {copied}", markup=False)
