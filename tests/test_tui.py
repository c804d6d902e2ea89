"""The terminal app as a whole, on real run directories."""

from __future__ import annotations

import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from mtscale_tui.app import RunsApp, main, one_frame
from mtscale_tui.chart_view import ChartView
from mtscale_tui.compare_screen import CompareScreen
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsScreen, RunsTable
from mtscale_tui.store import RunStore
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import HelpPanel

from tests.terminal import cells, make_run, text_of, until

SCREENS = pytest.mark.parametrize("keys", [(), ("enter",), ("space", "space", "c")])


@SCREENS
async def test_help_shows_every_key_that_works_now(tmp_path: Path, keys: tuple[str, ...]) -> None:
    make_run(tmp_path, "one", seed=1)
    make_run(tmp_path, "two", seed=2)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 2)
        await pilot.press(*keys)
        await pilot.press("question_mark")
        assert len(app.screen.query(HelpPanel)) == 1
        await until(pilot, lambda: len(app.screen.query("BindingsTable")) == 1)
        owners = [app, app.screen, app.focused]
        own = [binding for owner in owners for binding in type(owner).BINDINGS if isinstance(binding, Binding)]  # type: ignore[union-attr]
        active = app.screen.active_bindings
        assert {key for binding in own for key in binding.key.split(",")} - set(active) <= {"escape"}
        assert all(binding.description for binding in own)
        await pilot.press("question_mark")
        assert len(app.screen.query(HelpPanel)) == 0


async def test_quit(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 1)
        await pilot.press("enter", "q")
    assert not app.is_running


async def test_a_slow_disk_does_not_hold_up_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "one")
    read = RunStore.snapshot

    shown = threading.Event()

    def slow(self: RunStore, seconds: float | None = None) -> object:
        shown.wait(15)
        return read(self, seconds)

    monkeypatch.setattr(RunStore, "snapshot", slow)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        assert len(app.screen.query(HelpPanel)) == 1
        assert app.screen.query_one(RunsTable).row_count == 0
        shown.set()
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (20, 5), (400, 120)])
async def test_any_size_of_terminal_is_survived(tmp_path: Path, size: tuple[int, int], quick: None) -> None:
    make_run(tmp_path, "one", seed=1)
    make_run(tmp_path, "two", seed=2)
    app = RunsApp(tmp_path)

    def shows(expected: type[Screen[None]]) -> bool:
        return isinstance(app.screen, expected)

    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 2)
        steps: list[tuple[tuple[str, ...], type[Screen[None]]]] = [
            ((), RunsScreen),
            (("enter",), RunScreen),
            (("escape",), RunsScreen),
            (("space", "space", "c"), CompareScreen),
        ]
        for keys, expected in steps:
            await pilot.press(*keys)
            await until(pilot, partial(shows, expected))
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await pilot.resize_terminal(80, 24)
            await pilot.pause()
        await until(pilot, lambda: bool(app.screen.query_one(ChartView).lines))


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "ansi-dark"])
async def test_the_cursor_shows_in_every_theme(tmp_path: Path, theme: str) -> None:
    make_run(tmp_path, "one", seed=1)
    make_run(tmp_path, "two", seed=2)
    app = RunsApp(tmp_path)
    app.theme = theme
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 2 and table.size.height > 2)
        with_cursor, without = (table.render_line(y)._segments[1].style for y in (1, 2))
        assert with_cursor is not None
        assert without is not None
        assert (with_cursor.reverse, with_cursor.bgcolor) != (without.reverse, without.bgcolor)


async def test_hostile_names_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Opening a run must not wait for the next regular refresh.
    monkeypatch.setattr("mtscale_tui.app.REFRESH_SECONDS", 60.0)
    make_run(tmp_path, "one", recipe="[red]x[/nope]\x1b[31m\x07\u202e")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 1)
        assert cells(table)[0][3] == "[red]x[/nope]"
        await pilot.press("enter")
        await until(pilot, lambda: "refine of [red]x[/nope]," in text_of(pilot, "#title"))
        assert isinstance(app.screen, RunScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


def test_once_prints_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "one", seed=7, recipe="\x1b[31mred")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    main(["--runs", str(tmp_path), "--once"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines() == [
        "state     name  recipe  stage   seed    step  left  macro  cdr-disease  cdr-relation",
        "finished  one   red     refine     7  30/300     -  0.820        0.820         0.820",
        "1 unreadable",
    ]


def test_once_takes_the_folder_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MTSCALE_RUNS", str(tmp_path / "empty"))
    main(["--once"])
    assert f"--runs {tmp_path / 'empty'}" in capsys.readouterr().out
    assert one_frame(tmp_path / "empty").startswith(f"No runs in {tmp_path / 'empty'}")


FIRST_FRAME = """
import asyncio, sys
from pathlib import Path
from mtscale_tui import app as module

module.REFRESH_SECONDS = 60.0

early = set()

class Watched(module.RunsApp):
    def first_frame_shown(self):
        early.update(sys.modules)
        super().first_frame_shown()

async def first_frame():
    app = Watched(Path(sys.argv[1]))
    async with app.run_test() as pilot:
        while not app.screen.query_one("#runs").row_count:
            await pilot.pause(0.01)
        await pilot.press("enter")
        await pilot.pause(0.1)

asyncio.run(first_frame())
heavy = {"torch", "transformers", "deepspeed", "datasets", "mlflow", "numpy", "matplotlib"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
later = {"pydantic", "mtscale.runs", "mtscale_tui.store", "mtscale_tui.run_screen", "mtscale_tui.mlflow_store"}
print(sorted(early & later), sorted(later - set(sys.modules)))
"""


def test_nothing_heavy_is_loaded_and_the_end_is_not_held_up(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST_FRAME, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n[] []\n", "")
