"""Every key of the app, gathered from the bindings that make them work: what the README shows.

python -m mtscale_tui.keys     prints the table
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.binding import Binding

from .acting import ActingApp
from .app import RunsApp
from .chart_view import ChartView
from .compare_screen import CompareScreen
from .launch_screen import LaunchScreen
from .live_table import LiveTable
from .run_screen import RunScreen
from .runs_screen import RunsScreen, RunsTable
from .stop_screen import StopScreen
from .studies_screen import StudiesScreen, StudiesTable
from .study_screen import StudyScreen, UnitsTable
from .text_pane import TextLines, TextPane

if TYPE_CHECKING:
    from textual.dom import DOMNode

PLACES: dict[str, tuple[type[DOMNode], ...]] = {
    "everywhere": (RunsApp, ActingApp),
    "runs": (RunsTable, RunsScreen),
    "a run": (RunScreen,),
    "a chart": (ChartView,),
    "log, settings": (TextPane, TextLines),
    "compare": (CompareScreen,),
    "studies": (StudiesTable, StudiesScreen),
    "a study": (UnitsTable, StudyScreen),
    "new run": (LaunchScreen,),
    "stop": (StopScreen,),
    "any table": (LiveTable,),
}
_SHOWN = {"question_mark": "?", "slash": "/", "escape": "esc"}


def keys_of(owner: type[DOMNode]) -> Iterator[tuple[str, str]]:
    """The keys of one class, alternatives side by side, and what they do."""
    for binding in owner.BINDINGS:
        assert isinstance(binding, Binding)
        shown = " ".join(f"`{_SHOWN.get(key, key)}`" for key in binding.key.split(","))
        yield shown, binding.description


def table() -> str:
    """A row for each place, as Markdown."""
    lines = ["| where | keys |", "|---|---|"]
    for place, owners in PLACES.items():
        keys = (f"{shown} {does}" for owner in owners for shown, does in keys_of(owner))
        lines.append(f"| {place} | {', '.join(keys)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
