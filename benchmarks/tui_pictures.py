"""Draws the README's pictures of the terminal app, of the runs of its demo.

python -m benchmarks.tui_pictures docs/pictures
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from mtscale_tui.app import DEMO, RunsApp
from mtscale_tui.chart_view import ChartView
from mtscale_tui.runs_screen import RunsTable
from textual.pilot import Pilot

# A name, the size of the terminal, and the keys that lead there from the table of runs.
PICTURES = (
    ("runs", (160, 18), ()),
    ("run", (120, 40), ("G", "b", "k", "enter")),
    ("compare", (120, 36), ("G", "space", "k", "space", "k", "k", "space", "c")),
)
_SECONDS = 30.0


async def _until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_SECONDS):
        while not condition():
            await pilot.pause(0.05)


async def draw(folder: Path) -> None:
    """Write an SVG for each picture.

    Raises:
        TimeoutError: a screen did not come to show its runs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, size, keys in PICTURES:
        app = RunsApp(DEMO, demo=True)
        app.theme = "textual-dark"
        async with app.run_test(size=size) as pilot:
            table = app.screen.query_one(RunsTable)
            await _until(pilot, lambda table=table: table.row_count > 0 and "0." in str(table.texts()))  # type: ignore[misc]
            await pilot.press(*keys)
            if keys:
                await _until(pilot, lambda app=app: any(chart.lines for chart in app.screen.query(ChartView)))  # type: ignore[misc]
            await pilot.pause()
            (folder / f"{name}.svg").write_text(app.export_screenshot(title="mtscale-tui --demo"), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(draw(Path(sys.argv[1])))
