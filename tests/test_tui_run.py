"""The screen of one run: tasks, charts, numbers, log, settings, files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mtscale_tui.app import RunsApp
from mtscale_tui.chart_view import ChartView
from mtscale_tui.live_table import LiveTable
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsScreen, RunsTable
from mtscale_tui.text_pane import TextLines, TextPane
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Input, Static

from mtscale import names
from mtscale.runs import State, Status
from tests.terminal import TASKS, body, cells, event, frame, make_run, text_of, until

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=["80x24", "120x40", "200x60"])


async def open_first(pilot: Pilot[None]) -> RunScreen:
    await until(pilot, lambda: pilot.app.screen.query_one(RunsTable).row_count > 0)
    await pilot.press("enter")
    screen = pilot.app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: screen.query_one("#tasks", LiveTable).row_count > 0)
    return screen


def chart(screen: RunScreen) -> ChartView:
    return screen.query_one("#first", ChartView)


@SIZES
async def test_one_run(tmp_path: Path, size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    run = make_run(tmp_path, "one", state=State.FAILED)
    run.write_status(Status(state=State.FAILED, step=30, steps=300, message="the loss is not finite"))
    app = RunsApp(tmp_path)
    async with app.run_test(size=size) as pilot:
        screen = await open_first(pilot)
        table = screen.query_one("#tasks", LiveTable)
        assert table.titles == ["task", "last", "best", "epoch", "kept", "floor", "test"]
        assert cells(table) == [
            ["cdr-disease", "0.510", "0.760", "2", "0.760", "0.125", "-"],
            ["cdr-relation", "0.510", "0.760", "2", "0.760", "-", "-"],
            ["macro", "0.510", "0.760", "2", "0.760", "-", "-"],
        ]
        assert table.max_scroll_x == 0
        title = text_of(pilot, "#title")
        assert all(part in title for part in ("failed", "one", "seed 1", "30/300", "0.760", "the loss is not finite"))
        await pilot.pause()
        assert body(app) == snapshot


async def test_scores_are_measured_by_the_baseline(tmp_path: Path) -> None:
    for seed in (1, 5):
        make_run(tmp_path, f"base-{seed}", seed, group="base")
    make_run(tmp_path, "one", 9)
    make_run(tmp_path, "paper", 8, protocol="paper")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 4)
        await pilot.press("F", "G", "b", "g")
        screen = await open_first(pilot)
        table = screen.query_one("#tasks", LiveTable)
        assert table.titles[-2:] == ["Δ base", "test"]
        assert [row[-2] for row in cells(table)] == ["+0.060"] * 3
        assert "baseline base-5 and 1 more" in text_of(pilot, "#title")
        await pilot.press("escape", "j")
        screen = await open_first(pilot)
        # Scores of two protocols are never compared.
        assert [row[-2] for row in cells(screen.query_one("#tasks", LiveTable))] == ["-"] * 3
        assert names.OPTIMISTIC in text_of(pilot, "#title")


async def test_what_is_appended_is_shown_and_what_vanishes_stays(tmp_path: Path, quick: None) -> None:
    run = make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_first(pilot)
        assert "gradient norm  1.5" in text_of(pilot, "#facts")
        with open(run.path / "events.jsonl", "a") as events:
            events.write(event("train", 31, 4, {names.GRAD_NORM: 7.25}))
            events.write(event("dev", 40, 4, {names.metric("dev", TASKS[0], names.SCORE): 0.9})[:-9])
        await until(pilot, lambda: "gradient norm  7.25" in text_of(pilot, "#facts"))
        assert cells(screen.query_one("#tasks", LiveTable))[0][1] == "0.510"
        with open(run.path / "events.jsonl", "a") as events:
            events.write(event("dev", 40, 4, {names.metric("dev", TASKS[0], names.SCORE): 0.9})[-9:])
        await until(pilot, lambda: cells(screen.query_one("#tasks", LiveTable))[0][1] == "0.900")
        shutil.rmtree(run.path)
        await until(pilot, lambda: text_of(pilot, "#title").startswith("gone"))
        assert len(cells(screen.query_one("#tasks", LiveTable))) == 3
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_the_numbers_of_a_run(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_first(pilot)
        assert text_of(pilot, "#facts") == "for 58s  ex/s 56.2  memory 1.25 GiB  lr 7.5e-05  grad 1.5"
        await pilot.press("2")
        shown = str(screen.query_one("#all-facts", Static).render())
        assert "learning rate  7.5e-05" in shown
        # Ten of thirty steps were of the second task.
        assert [line.split()[:2] for line in shown.splitlines()[-2:]] == [
            ["cdr-disease", "67%"],
            ["cdr-relation", "33%"],
        ]


async def test_keys_of_the_chart(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        view = chart(await open_first(pilot))
        assert view.has_focus
        shown = [view.topic.title]
        for _ in range(8):
            await pilot.press("m")
            shown.append(view.topic.title)
        assert shown == [
            *("dev score", "train loss", "dev macro score", "train loss of all tasks", "learning rate"),
            *("gradient norm", "examples per second", "resident GiB", "dev score"),
        ]
        await pilot.press("M", "M")
        assert view.topic.title == "examples per second"
        await pilot.press("m", "m", "m")
        assert view.topic.title == "train loss"
        assert [line.name for line in view.lines] == list(TASKS)
        await pilot.press("t")
        assert [line.name for line in view.lines] == ["cdr-disease"]
        await pilot.press("t", "t")
        assert len(view.lines) == 2
        assert list(view.lines[0].x[:3]) == [1, 2, 4]
        await pilot.press("x")
        assert list(view.lines[0].x[:3]) == [0.0, 2.0, 6.0]
        for key, word in (("s", "smoothed 0.6"), ("s", "smoothed 0.9"), ("L", "log scale"), ("x", "steps")):
            await pilot.press(key)
            assert word in view.render().plain.splitlines()[0]
        await pilot.press("s", "s")
        assert "smoothed" not in view.render().plain


async def test_the_cursor_of_the_chart(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        view = chart(await open_first(pilot))
        await pilot.press("left")
        assert view.render().plain.splitlines()[1].startswith("at 30  a ──── cdr-disease 0.51")
        await pilot.press("home")
        assert view.render().plain.splitlines()[1].startswith("at 10  a ──── cdr-disease 0.26")
        await pilot.press("shift+right", "shift+right", "shift+right", *["right"] * 5)
        assert view.render().plain.splitlines()[1].startswith("at 20  a ──── cdr-disease 0.76")
        await pilot.press("end")
        assert "at " not in view.render().plain.splitlines()[1]


async def test_the_log_is_followed_until_someone_reads_it(tmp_path: Path, quick: None) -> None:
    run = make_run(tmp_path, "one", state=State.RUNNING)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_first(pilot)
        pane = screen.query_one("#lines", TextPane)
        lines = pane.query_one(TextLines)
        await pilot.press("l")
        await until(pilot, lambda: lines.has_focus)
        assert lines.lines == ("first line", "last [bold]line[/bold]")
        assert "last [bold]line[/bold]" in frame(app)

        def append(first: int) -> None:
            with open(run.path / "train.log", "a") as log:
                log.writelines(f"line {number}\n" for number in range(first, first + 100))

        append(0)
        await until(pilot, lambda: "line 99" in frame(app))
        await pilot.press("pageup")
        append(100)
        await until(pilot, lambda: len(lines.lines) == 202)
        assert "line 199" not in frame(app)
        assert "not following" in text_of(pilot, "#lines > Static")
        await pilot.press("f")
        await until(pilot, lambda: "line 199" in frame(app))
        append(200)
        await until(pilot, lambda: "line 299" in frame(app))


async def test_the_log_is_searched(tmp_path: Path, quick: None) -> None:
    run = make_run(tmp_path, "one")
    with open(run.path / "train.log", "a") as log:
        log.writelines(f"{number:03} {'WARNING (a.b)' if number % 50 == 0 else 'step'}\n" for number in range(201))
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_first(pilot)
        await pilot.press("l", "slash", *"warning", "space", "(", "a", ".")
        await until(pilot, lambda: "5 of 5 lines with the words" in text_of(pilot, "#lines > Static"))
        assert "200 WARNING" in frame(app)
        await pilot.press("enter", "N")
        assert "150 WARNING" in frame(app)
        await pilot.press("n", "n")
        assert "1 of 5 lines" in text_of(pilot, "#lines > Static")
        assert "000 WARNING" in frame(app)
        await pilot.press("escape")
        assert screen.is_current
        assert not screen.query_one("#lines Input", Input).display
        assert "lines with" not in text_of(pilot, "#lines > Static")
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_tabs(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_first(pilot)
        await pilot.press("4")
        await until(pilot, lambda: "learning_rate = 0.0003" in frame(app))
        await pilot.press("5")
        await until(pilot, lambda: '"stage": 0' in frame(app))
        await pilot.press("6")
        await until(pilot, lambda: "events.jsonl" in frame(app))
        files = dict(cells(screen.query_one("#file-table", LiveTable)))
        assert files["predictions/dev.cdr-disease.jsonl"] == "17 B"
        assert {"run.json", "status.json", "recipe.toml", "ds_config.json", "train.log"} <= set(files)
        await pilot.press("1")
        await until(pilot, lambda: chart(screen).has_focus)


async def test_zoom_and_copy(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_first(pilot)
        await pilot.press("y")
        assert app.clipboard == "id-one"
        before = chart(screen).size
        await pilot.press("z")
        await pilot.pause()
        assert chart(screen).size.height > 35
        assert chart(screen).size.width > 110
        await pilot.press("z")
        await pilot.pause()
        assert chart(screen).size == before
