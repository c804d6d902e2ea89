"""Every screen as a picture, at three sizes and in three themes; `--snapshot-update` after a change that is wanted.

Most of the runs are those of the demo: the pictures are also what a reader of the README sees.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from mtscale_tui.app import DEMO, RunsApp
from mtscale_tui.chart_view import ChartView
from mtscale_tui.runs_screen import RunsTable
from mtscale_tui.stop_screen import Sight, StopScreen
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from mtscale.runs import RunProcess, State
from tests.terminal import make_run, text_of, until

LOOKS = (
    *(("textual-dark", size) for size in ((80, 24), (120, 40), (200, 60))),
    ("textual-light", (120, 40)),
    ("ansi-dark", (80, 24)),
)
Pictures = Callable[[Pilot[None]], Awaitable[None]]


async def settled(pilot: Pilot[None]) -> str:
    """The screen as a picture, once it does not change any more."""
    before = ""
    for _ in range(100):
        await pilot.pause(0.03)
        picture = pilot.app.export_screenshot(title="mtscale-tui")
        if picture == before:
            break
        before = picture
    return before


@pytest.fixture
def pictures(snapshot: SnapshotAssertion) -> Pictures:
    """Compares what is on the screen, in every size and theme."""

    async def compare(pilot: Pilot[None]) -> None:
        for theme, size in LOOKS:
            pilot.app.theme = theme
            await pilot.resize_terminal(*size)
            picture = await settled(pilot)
            name = f"{theme}-{size[0]}x{size[1]}"
            assert picture == snapshot(name=name, extension_class=SVGImageExtension), name

    return compare


async def rows(pilot: Pilot[None]) -> None:
    """Wait until the table has all its scores."""
    await until(pilot, lambda: pilot.app.screen.query_one(RunsTable).row_count > 0)
    await until(pilot, lambda: "reading" not in text_of(pilot, "#title"))


async def curves(pilot: Pilot[None]) -> None:
    """Wait until a chart has something to show."""
    await until(pilot, lambda: any(chart.lines for chart in pilot.app.screen.query(ChartView)))


async def test_runs(pictures: Pictures) -> None:
    async with RunsApp(DEMO, demo=True).run_test(size=(80, 24)) as pilot:
        await rows(pilot)
        await pictures(pilot)


async def test_a_run_with_a_baseline(pictures: Pictures) -> None:
    async with RunsApp(DEMO, demo=True).run_test(size=(80, 24)) as pilot:
        await rows(pilot)
        await pilot.press("G", "b", "k", "enter")
        await curves(pilot)
        await pictures(pilot)


async def test_compare(pictures: Pictures) -> None:
    async with RunsApp(DEMO, demo=True).run_test(size=(80, 24)) as pilot:
        await rows(pilot)
        await pilot.press("G", "space", "k", "space", "k", "k", "space", "c")
        await curves(pilot)
        await pictures(pilot)


@pytest.mark.slow
async def test_help(pictures: Pictures) -> None:
    async with RunsApp(DEMO, demo=True).run_test(size=(80, 24)) as pilot:
        await rows(pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: len(pilot.app.screen.query("BindingsTable")) == 1)
        await pictures(pilot)


async def test_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Pictures) -> None:
    monkeypatch.chdir(tmp_path)
    async with RunsApp(Path("runs")).run_test(size=(80, 24)) as pilot:
        await pilot.press("n")
        await until(pilot, lambda: bool(pilot.app.screen.query("#command")))
        await until(pilot, lambda: "Ready" in text_of(pilot, "#verdict"))
        await pictures(pilot)


async def test_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Pictures) -> None:
    """What would change from one time to the next is fixed: the process, and the age of the checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mtscale_tui.stop_screen.socket.gethostname", lambda: "here")
    make_run(Path("runs"), "sample-seed1", state=State.RUNNING)
    rank = RunProcess(role="rank 0", pid=4711, start=1, host="here")
    seen = Sight(State.RUNNING, 30, 300, "here", False, (rank,), (20, 75.0))
    monkeypatch.setattr("mtscale_tui.stop_screen.look", lambda directory: seen)
    async with RunsApp(Path("runs")).run_test(size=(80, 24)) as pilot:
        await rows(pilot)
        await pilot.press("S")
        await until(pilot, lambda: isinstance(pilot.app.screen, StopScreen))
        await until(pilot, lambda: "alive" in text_of(pilot, "#seen"))
        await pictures(pilot)
