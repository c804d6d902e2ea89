"""The third screen: several runs, or groups of seeds, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Footer, Static
from textual.worker import get_current_worker

from mtscale import names

from . import commands
from .cells import plain
from .chart_view import ChartView
from .comparison import Comparison, compare, letters, scores_table, settings_table
from .detail_screen import DetailScreen
from .groups import member_name
from .live_table import LiveTable
from .messages import is_there
from .places import mlflow_run
from .runs_rows import all_tasks
from .significance import COLUMNS, Answer, Question, answer, question
from .store import RunDetail, Snapshot
from .topics import compared_topics

SIGNIFICANCE = "p: significance, from the stored predictions, by mtscale runs compare"


class CompareScreen(DetailScreen):
    """Tasks by runs with differences, the curves, and the settings that differ."""

    DEFAULT_CSS = """
    CompareScreen {
        #scores { height: auto; max-height: 45%; margin: 0 1; }
        #notes { padding: 0 1; height: auto; color: $text-muted; }
        #settings { height: auto; max-height: 30%; margin: 0 1; }
        &.-zoomed #title, &.-zoomed #scores, &.-zoomed #settings, &.-zoomed #notes { display: none; }
        #significance { display: none; height: 1fr; padding: 0 1; }
        #said { height: auto; max-height: 50%; }
        &.-significance #significance { display: block; }
        &.-significance #curves { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "app.close_screen", "Back"),
        Binding("F", "fold", "Fold"),
        Binding("v", "split", "Dev, test"),
        Binding("p", "significance", "Significance", show=False),
        Binding("z", "zoom", "Zoom", show=False),
        Binding("y", "copy", "Copy ids", show=False),
    ]

    class Answered(Message):
        """The command that compares has ended."""

        def __init__(self, asked: Question, done: commands.Done) -> None:
            super().__init__()
            self.asked, self.done = asked, done

    def __init__(self, directories: Sequence[str], baseline: frozenset[str], folded: bool) -> None:
        super().__init__()
        self._directories = directories
        self._baseline = baseline
        self._folded = folded
        self._test = False
        self._answers: dict[Question, Answer] = {}
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
        with Vertical(id="significance"):
            yield Static("", id="said", markup=False)
            yield LiveTable(id="differences", cursor="none", frozen=1)
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
        comparison = self._comparison(details)
        missing = [path for path in self.watched if path not in details]
        asked = sum(mlflow_run(path) is not None for path in missing)
        gone = len(missing) - asked
        self.query_one("#title", Static).update(self._title(comparison))
        found = self._answers.get(question(comparison), Answer(""))
        self.query_one("#scores", LiveTable).show(*scores_table(comparison, found.verdicts))
        self.query_one("#said", Static).update(Text(found.said))
        self.query_one("#differences", LiveTable).show(COLUMNS, found.rows)
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

    def _comparison(self, details: Mapping[Path, RunDetail]) -> Comparison:
        runs = [details[path].summary for path in self.watched if path in details]
        return compare(runs, self._baseline, self._folded, self._test)

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
        self._show_significance(False)
        self._show_runs()

    def action_split(self) -> None:
        """Change between scores on dev and on test."""
        self._test = not self._test
        self._show_significance(False)
        self._show_runs()

    def action_significance(self) -> None:
        """Show in place of the curves which differences are real, or the curves again; it is asked when needed."""
        is_wanted = not self.has_class("-significance")
        self._show_significance(is_wanted)
        if not is_wanted or self._read is None:
            return
        asked = question(self._comparison(self._read[1]))
        if asked in self._answers and not asked.is_live:
            return
        if asked.refusal:
            self._answers[asked] = Answer(asked.refusal)
        else:
            self._answers[asked] = Answer("Comparing the stored predictions ...")
            self._ask(asked)
        self._show_runs()

    def _show_significance(self, is_wanted: bool) -> None:
        self.set_class(is_wanted, "-significance")
        self.remove_class("-zoomed")
        self.call_after_refresh(self.query_one("#differences" if is_wanted else "#curves").focus)

    @work(thread=True, exit_on_error=False, group="significance")
    def _ask(self, asked: Question) -> None:
        worker = get_current_worker()
        done = commands.run(asked.words, lambda: not worker.is_cancelled)
        if done is not None:
            self.post_message(self.Answered(asked, done))

    @on(Answered)
    def _answered(self, event: Answered) -> None:
        self._answers[event.asked] = answer(event.asked, event.done)
        if is_there(self):
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
