"""The terminal app on real run directories."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mtscale_tui.app import RunsApp, main, one_frame
from mtscale_tui.live_table import LiveTable
from mtscale_tui.run_screen import LEVELS, RunScreen, score_line
from mtscale_tui.runs_screen import RunsScreen, RunsTable
from mtscale_tui.store import RunStore, log_tail, plain
from textual.pilot import Pilot
from textual.widgets import HelpPanel, Input, Static

from mtscale import names
from mtscale.runs import RunDirectory, RunRecord, State, Status

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)])


def make_run(
    root: Path, name: str, seed: int = 1, recipe: str = "sample", state: State = State.FINISHED
) -> RunDirectory:
    record = RunRecord(
        name=name,
        family="f",
        group="g",
        recipe=recipe,
        stage="refine",
        seed=seed,
        protocol="clean",
        tasks=("cdr-disease", "cdr-relation"),
        ds_config="cpu",
        world_size=1,
        command=("mtscale", "train"),
        versions={},
        recipe_hash="0",
        created=1e9 + seed,
    )
    run = RunDirectory.create(root / name, record, "", "{}")
    for epoch, score in ((1, 0.25), (2, 0.75), (3, 0.5)):
        run.append_event(
            "dev",
            epoch * 10,
            epoch,
            {names.metric("dev", task, names.SCORE): score + seed / 100 for task in record.tasks},
        )
    run.append_event("dev", 30, 3, {names.metric("dev", "cdr-disease", names.FLOOR): 0.125})
    run.append_event("best", 30, 3, {names.best(names.MACRO): 0.75 + seed / 100})
    run.write_status(Status(state=state, step=30, steps=300, epoch=3))
    (run.path / "train.log").write_text("first line\nlast [bold]line[/bold]\n")
    return run


def cells(table: LiveTable) -> list[list[str]]:
    return [[cell.plain for cell in table.get_row_at(number)] for number in range(table.row_count)]


def text_of(pilot: Pilot[None], selector: str) -> str:
    return str(pilot.app.screen.query_one(selector, Static).render())


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, "the screen did not come to show it"
        await pilot.pause(0.02)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtscale_tui.app.REFRESH_SECONDS", 0.2)
    monkeypatch.setattr("mtscale_tui.app.SLICE_SECONDS", 0.02)


@SIZES
async def test_runs_newest_first(tmp_path: Path, size: tuple[int, int]) -> None:
    make_run(tmp_path, "old", seed=1)
    make_run(tmp_path, "new", seed=2, state=State.FAILED)
    app = RunsApp(tmp_path)
    async with app.run_test(size=size) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 2)
        assert [column.label.plain for column in table.ordered_columns] == [
            *("state", "name", "recipe", "stage", "seed", "step", "macro"),
            *("cdr-disease", "cdr-relation"),
        ]
        assert cells(table) == [
            ["failed", "new", "sample", "refine", "2", "30/300", "0.770", "0.520", "0.520"],
            ["finished", "old", "sample", "refine", "1", "30/300", "0.760", "0.510", "0.510"],
        ]
        assert table.has_focus
        await until(pilot, lambda: table.region.right == size[0])
        assert "2 runs, 0 live" in text_of(pilot, "#title")


async def test_changes_show_and_the_cursor_stays_on_its_run(tmp_path: Path, quick: None) -> None:
    make_run(tmp_path, "one", seed=1)
    second = make_run(tmp_path, "two", seed=2, state=State.RUNNING)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 2)
        await pilot.press("j")
        assert table.row_at_cursor == str(tmp_path / "one")
        second.write_status(Status(state=State.STOPPED, step=123, steps=300))
        await until(pilot, lambda: cells(table)[0][0] == "stopped")
        assert cells(table)[0][5] == "123/300"
        make_run(tmp_path, "three", seed=3)
        await until(pilot, lambda: table.row_count == 3)
        assert [row[1] for row in cells(table)] == ["three", "two", "one"]
        assert table.row_at_cursor == str(tmp_path / "one")


async def test_broken_and_vanishing_runs_are_survived(tmp_path: Path, quick: None) -> None:
    make_run(tmp_path, "good", seed=1)
    doomed = make_run(tmp_path, "doomed", seed=2)
    (tmp_path / "mlflow-artifacts").mkdir()
    (tmp_path / "mlflow.db").write_bytes(b"")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 2)
        assert "unreadable" not in text_of(pilot, "#title")
        with open(tmp_path / "good" / "events.jsonl", "a") as events:
            events.write('{"time":1,"step":1,"epoch":1,"kind":"dev","values":[1]}\n')
        shutil.rmtree(doomed.path)
        await until(pilot, lambda: "0 runs, 0 live  1 unreadable" in text_of(pilot, "#title"))
        make_run(tmp_path, "later", seed=3)
        await until(pilot, lambda: table.row_count == 1)
        assert cells(table)[0][1] == "later"


async def test_no_runs_says_how_to_start_one(tmp_path: Path, quick: None) -> None:
    app = RunsApp(tmp_path / "none")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deepspeed mtscale/train.py" in text_of(pilot, "#instead"))
        make_run(tmp_path / "none", "first")
        await until(pilot, lambda: app.screen.query_one(RunsTable).display)
        assert not app.screen.query_one("#instead").display
        await pilot.press("enter")
        assert isinstance(app.screen, RunScreen)


@SIZES
async def test_one_run(tmp_path: Path, size: tuple[int, int], quick: None) -> None:
    run = make_run(tmp_path, "one", state=State.FAILED)
    run.write_status(Status(state=State.FAILED, step=30, steps=300, message="the loss is not finite"))
    app = RunsApp(tmp_path)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 1)
        await pilot.press("enter")
        table = app.screen.query_one(LiveTable)
        await until(pilot, lambda: table.row_count == 2)
        line = LEVELS[0] + LEVELS[-1] + LEVELS[3]
        assert cells(table) == [
            ["cdr-disease", "0.510", "0.760", "2", "0.125", "-", line],
            ["cdr-relation", "0.510", "0.760", "2", "-", "-", line],
        ]
        assert table.max_scroll_x == 0
        title = text_of(pilot, "#title")
        assert all(part in title for part in ("failed", "one", "seed 1", "30/300", "0.760", "the loss is not finite"))
        assert text_of(pilot, "#lines") == "first line\nlast [bold]line[/bold]"
        with open(run.path / "train.log", "a") as log:
            log.writelines(f"line {number}\n" for number in range(100))
        await until(pilot, lambda: text_of(pilot, "#lines").endswith("line 99"))
        scroll = app.screen.query_one("#log")
        await until(pilot, lambda: scroll.max_scroll_y > 0 and scroll.scroll_offset.y == scroll.max_scroll_y)
        shutil.rmtree(run.path)
        await until(pilot, lambda: text_of(pilot, "#title").startswith("gone"))
        assert len(cells(table)) == 2
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_filter(tmp_path: Path) -> None:
    for seed, recipe in ((1, "blue"), (2, "sample"), (3, "blue")):
        make_run(tmp_path, f"run-{seed}", seed, recipe, State.FAILED if seed == 3 else State.FINISHED)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 3)
        await pilot.press("slash", *"BLUE", "space", *"finish")
        await until(pilot, lambda: [row[1] for row in cells(table)] == ["run-1"])
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


async def test_help_and_quit(tmp_path: Path) -> None:
    make_run(tmp_path, "one")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 1)
        shown = {binding.binding.description for binding in app.screen.active_bindings.values()}
        assert {"Open", "Filter", "Help", "Quit"} <= shown
        await pilot.press("question_mark")
        assert len(app.screen.query(HelpPanel)) == 1
        await pilot.press("question_mark")
        assert len(app.screen.query(HelpPanel)) == 0
        await pilot.press("q")
    assert not app.is_running


async def test_a_slow_disk_does_not_hold_up_the_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "one")
    read = RunStore.snapshot

    shown = threading.Event()

    def slow(self: RunStore) -> object:
        shown.wait(15)
        return read(self)

    monkeypatch.setattr(RunStore, "snapshot", slow)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("question_mark")
        assert len(app.screen.query(HelpPanel)) == 1
        assert app.screen.query_one(RunsTable).row_count == 0
        shown.set()
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 1)


async def test_hostile_names_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Opening a run must not wait for the next regular refresh.
    monkeypatch.setattr("mtscale_tui.app.REFRESH_SECONDS", 60.0)
    make_run(tmp_path, "one", recipe="[red]x[/nope]\x1b[31m\x07\u202e")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        table = app.screen.query_one(RunsTable)
        await until(pilot, lambda: table.row_count == 1)
        assert cells(table)[0][2] == "[red]x[/nope]"
        await pilot.press("enter")
        await until(pilot, lambda: "refine of [red]x[/nope]," in text_of(pilot, "#title"))


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_plain_text_cannot_steer_the_terminal(text: str) -> None:
    shown = plain(text)
    assert all(character.isprintable() for character in shown)
    if text.isascii() and text.isprintable():
        assert shown == text


def test_plain_removes_whole_sequences() -> None:
    assert plain("\x1b[1;31mred\x1b[0m \x1b]0;title\x07and\x1b]8;;http://x\x1b\\link\ta\x00\x9b") == "red andlink a"


def test_log_tail(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    assert log_tail(log) == ()
    log.write_bytes(b"10%\r50%\r100%\r\nnext\xff\n\nunfinished")
    assert log_tail(log) == ("100%", "next\ufffd", "", "unfinished")
    log.write_text("".join(f"{number:06} {'x' * 100}\n" for number in range(10_000)))
    tail = log_tail(log)
    assert [line[:6] for line in tail] == [f"{number:06}" for number in range(9_800, 10_000)]
    log.write_text("y" * 100_000 + "\nlast\n")
    assert log_tail(log) == ("last",)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-1, 1, allow_subnormal=False), max_size=200), st.integers(1, 40))
def test_score_line(scores: list[float], width: int) -> None:
    line = score_line(scores, width)
    assert len(line) == min(len(scores), width)
    assert set(line) <= set(LEVELS)
    if len(set(scores)) > 1 and width >= len(scores):
        assert line[scores.index(max(scores))] == LEVELS[-1]
        assert line[scores.index(min(scores))] == LEVELS[0]


def test_score_line_keeps_peaks() -> None:
    assert score_line([0.0, 0.0, 0.0, 0.9, 0.3, 0.3, 0.3, 0.3], 4) == LEVELS[0] + LEVELS[-1] + LEVELS[2] * 2


def test_store_reads_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    events = RunDirectory.events

    def counted(self: RunDirectory) -> object:
        read.append(self.path.name)
        return events(self)

    monkeypatch.setattr(RunDirectory, "events", counted)
    for seed in (1, 2):
        make_run(tmp_path, f"run-{seed}", seed)
    store = RunStore(tmp_path)
    first = store.snapshot()
    assert sorted(read) == ["run-1", "run-2"]
    assert store.snapshot() == first
    assert len(read) == 2
    RunDirectory(tmp_path / "run-1").append_event("best", 40, 4, {names.best(names.MACRO): 0.99})
    assert [summary["macro"] for summary in store.snapshot().runs] == [0.77, 0.99]
    assert read[2:] == ["run-1"]


def test_store_sees_a_process_die_though_no_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "one", state=State.RUNNING)
    store = RunStore(tmp_path)
    assert [summary["state"] for summary in store.snapshot().runs] == ["running"]
    monkeypatch.setattr("mtscale.runs.process_start", lambda pid: None)
    assert [summary["state"] for summary in store.snapshot().runs] == ["lost"]


def test_once_prints_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path, "one", seed=7, recipe="\x1b[31mred")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    main(["--runs", str(tmp_path), "--once"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines() == [
        "state     name  recipe  stage   seed    step  macro  cdr-disease  cdr-relation",
        "finished  one   red     refine     7  30/300  0.820        0.570         0.570",
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

async def first_frame():
    app = module.RunsApp(Path(sys.argv[1]))
    async with app.run_test() as pilot:
        while not app.screen.query_one("#runs").row_count:
            await pilot.pause(0.01)
        await pilot.press("enter")
        await pilot.pause(0.1)

asyncio.run(first_frame())
heavy = {"torch", "transformers", "deepspeed", "datasets", "mlflow", "numpy", "matplotlib"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
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
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
