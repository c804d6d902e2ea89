"""The screen with all runs: live rows, filter, sorting, groups of seeds, marks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mtscale_tui.app import RunsApp
from mtscale_tui.compare_screen import CompareScreen
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsTable
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Input

from mtscale.runs import State, Status
from tests.terminal import body, cells, frame, make_run, text_of, until

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=["80x24", "120x40", "200x60"])


def table_of(pilot: Pilot[None]) -> RunsTable:
    return pilot.app.screen.query_one(RunsTable)


def column(pilot: Pilot[None], title: str) -> list[str]:
    table = table_of(pilot)
    return [row[table.titles.index(title)] for row in cells(table)]


async def shows(pilot: Pilot[None], *names: str) -> None:
    await until(pilot, lambda: column(pilot, "name") == list(names))


@SIZES
async def test_runs_newest_first(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs"), "old", seed=1)
    make_run(Path("runs"), "new", seed=2, state=State.FAILED)
    app = RunsApp(Path("runs"))
    async with app.run_test(size=size) as pilot:
        table = table_of(pilot)
        await until(pilot, lambda: table.row_count == 2)
        assert table.titles == [
            *("", "state", "name", "recipe", "stage", "seed", "step", "left", "macro"),
            *("cdr-disease", "cdr-relation"),
        ]
        assert cells(table) == [
            ["  ", "failed", "new", "sample", "refine", "2", "30/300", "-", "0.770", "0.770", "0.770"],
            ["  ", "finished", "old", "sample", "refine", "1", "30/300", "-", "0.760", "0.760", "0.760"],
        ]
        assert table.has_focus
        await pilot.pause()
        assert body(app) == snapshot


async def test_changes_show_and_the_cursor_stays_on_its_run(tmp_path: Path, quick: None) -> None:
    make_run(tmp_path, "one", seed=1)
    second = make_run(tmp_path, "two", seed=2, state=State.RUNNING)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "two", "one")
        assert column(pilot, "left") == ["9m00", "-"]
        await pilot.press("j")
        assert table_of(pilot).row_at_cursor == str(tmp_path / "one")
        second.write_status(Status(state=State.STOPPED, step=123, steps=300))
        await until(pilot, lambda: column(pilot, "state") == ["stopped", "finished"])
        assert column(pilot, "step")[0] == "123/300"
        assert column(pilot, "left")[0] == "-"
        make_run(tmp_path, "three", seed=3)
        await shows(pilot, "three", "two", "one")
        assert table_of(pilot).row_at_cursor == str(tmp_path / "one")


async def test_the_cursor_waits_above_all_runs_until_it_is_moved(tmp_path: Path, quick: None) -> None:
    make_run(tmp_path, "one", seed=1)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "one")
        make_run(tmp_path, "two", seed=2)
        await shows(pilot, "two", "one")
        assert table_of(pilot).row_at_cursor == str(tmp_path / "two")


async def test_broken_and_vanishing_runs_are_survived(tmp_path: Path, quick: None) -> None:
    make_run(tmp_path, "good", seed=1)
    doomed = make_run(tmp_path, "doomed", seed=2)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: table_of(pilot).row_count == 2)
        (tmp_path / "good" / "run.json").write_text("{")
        shutil.rmtree(doomed.path)
        await until(pilot, lambda: "0 runs, 0 live  1 unreadable" in text_of(pilot, "#title"))
        make_run(tmp_path, "later", seed=3)
        await shows(pilot, "later")


async def test_no_runs_says_how_to_start_one(tmp_path: Path, quick: None) -> None:
    app = RunsApp(tmp_path / "none")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deepspeed mtscale/train.py" in text_of(pilot, "#instead"))
        make_run(tmp_path / "none", "first")
        await until(pilot, lambda: table_of(pilot).display)
        assert not app.screen.query_one("#instead").display
        await pilot.press("enter")
        assert isinstance(app.screen, RunScreen)


async def test_filter(tmp_path: Path) -> None:
    for seed, recipe in ((1, "blue"), (2, "sample"), (3, "blue")):
        make_run(tmp_path, f"run-{seed}", seed, recipe, State.FAILED if seed == 3 else State.FINISHED)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        table = table_of(pilot)
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("slash", *"BLUE", "space", *"finish")
        await shows(pilot, "run-1")
        await pilot.press("enter")
        assert table.has_focus
        assert table.row_count == 1
        await pilot.press("escape")
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("slash", *"nothing")
        await until(pilot, lambda: "No run matches" in text_of(pilot, "#instead"))
        await pilot.press("escape")
        await until(pilot, lambda: table.row_count == 3 and table.has_focus)
        assert not app.screen.query_one(Input).display


async def test_sorting(tmp_path: Path) -> None:
    for seed, name, state in ((1, "b", State.FAILED), (3, "a", State.FINISHED), (2, "c", State.STOPPED)):
        make_run(tmp_path, name, seed, state=state)
    make_run(tmp_path, "paper", 9, protocol="paper")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "paper", "a", "c", "b")
        await pilot.press("O")
        await shows(pilot, "b", "c", "a", "paper")
        # A run that chose on test has no dev score: it comes last either way.
        await pilot.press("o")
        assert "by macro, backwards" in text_of(pilot, "#title")
        await shows(pilot, "b", "c", "a", "paper")
        await pilot.press("O")
        await shows(pilot, "a", "c", "b", "paper")
        await pilot.press("o", "o")
        assert "by cdr-relation" in text_of(pilot, "#title")
        await pilot.press("o")
        await shows(pilot, "a", "b", "c", "paper")
        await pilot.press("o")
        assert column(pilot, "state") == ["failed", "stopped", "finished", "finished"]
        await pilot.press("o")
        await shows(pilot, "paper", "a", "c", "b")


async def test_seeds_fold_to_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("runs"), "other", 1)
    for seed in (2, 4, 6):
        make_run(Path("runs"), f"run-{seed}", seed, group="g", state=State.FAILED if seed == 4 else State.FINISHED)
    app = RunsApp(Path("runs"))
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(pilot, "run-6", "run-4", "run-2", "other")
        await pilot.press("F")
        await shows(pilot, "sample-refine [3]", "other")
        assert column(pilot, "macro") == ["0.790±0.020 [3]", "0.760"]
        assert column(pilot, "seed") == ["2,4,6", "1"]
        assert column(pilot, "step") == ["90/900", "30/300"]
        assert column(pilot, "state") == ["failed 1/3", "finished"]
        await pilot.press("space")
        assert column(pilot, "") == ["* ", "  "]
        assert "3 marked" in text_of(pilot, "#title")
        assert body(app) == snapshot
        await pilot.press("F")
        assert column(pilot, "") == ["* ", "* ", "* ", "  "]
        await pilot.press("g", "space", "F")
        assert column(pilot, "") == ["+ ", "  "]
        await pilot.press("g", "enter")
        assert isinstance(app.screen, CompareScreen)
        assert {path.name for path in app.screen.watched} == {"run-2", "run-4", "run-6"}


async def test_marks_baseline_and_comparing(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, f"run-{seed}", seed)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "run-3", "run-2", "run-1")
        await pilot.press("c")
        assert not isinstance(app.screen, CompareScreen)
        await pilot.press("space", "space", "k", "k", "space", "u", "space", "G", "b")
        assert column(pilot, "") == ["  ", "* ", " B"]
        await pilot.press("c")
        assert isinstance(app.screen, CompareScreen)
        assert [path.name for path in app.screen.watched] == ["run-1", "run-2"]
        await pilot.press("escape", "b")
        assert column(pilot, "") == ["  ", "* ", "  "]


async def test_copy(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path, f"run-{seed}", seed, group="g")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "run-2", "run-1")
        await pilot.press("y")
        assert app.clipboard == "id-run-2"
        await pilot.press("F", "y")
        assert app.clipboard == "id-run-1 id-run-2"


async def test_a_long_table_scrolls_with_its_cursor(tmp_path: Path, quick: None) -> None:
    for seed in range(1, 61):
        make_run(tmp_path, f"run-{seed:02}", seed)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        table = table_of(pilot)
        await until(pilot, lambda: table.row_count == 60)
        await pilot.pause()
        page = table.scrollable_content_region.height - 2
        steps = (("pagedown", page), ("end", 59), ("k", 58), ("pageup", 58 - page), ("home", 0))
        for key, row in steps:
            await pilot.press(key)
            assert table.cursor_row == row
            assert f"run-{60 - row:02}" in frame(app)
        await pilot.press("G")
        make_run(tmp_path, "run-61", 61)
        await until(pilot, lambda: table.row_count == 61)
        assert table.row_at_cursor == str(tmp_path / "run-01")
        assert "run-01" in frame(app)
        assert "state" in frame(app)


async def test_the_mouse_moves_the_cursor_and_opens(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_run(tmp_path, f"run-{seed}", seed)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await shows(pilot, "run-2", "run-1")
        await pilot.click(RunsTable, offset=(5, 2))
        assert table_of(pilot).cursor_row == 1
        await pilot.click(RunsTable, offset=(5, 2), times=2)
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape", "right", "right", "right", "right", "right", "right")
        # The columns with mark, state and name stay in sight.
        assert "run-1" in frame(app)
        assert table_of(pilot).scroll_offset.x > 0
