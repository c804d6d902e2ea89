"""The dialog that ends a run: step by step, only on purpose, and only what is there to be ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from mtscale_tui import commands
from mtscale_tui.app import RunsApp
from mtscale_tui.commands import Done
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsScreen, RunsTable
from mtscale_tui.stop_screen import StopScreen, look
from textual.pilot import Pilot
from textual.widgets import Button

from mtscale.runs import RunDirectory, RunProcess, State, Status, process_start
from tests.terminal import SIZES, make_run, text_of, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtscale_tui.stop_screen.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("mtscale_tui.stop_screen.SLICE_SECONDS", 0.02)


class Commands:
    """Stands for ``mtscale runs stop``: what was asked, what that does to the run, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.effect: Callable[[], object] = lambda: None
        self.answer = Done(0, "done\n", "")

    def run(self, words: Sequence[str], is_wanted: Callable[[], bool], *, keep: bool = False) -> Done | None:
        assert keep, "what was asked for is done, whether the dialog is open or not"
        self.asked.append(list(words))
        self.effect()
        return self.answer


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(commands, "run", made.run)
    return made


@pytest.fixture
def rank() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def live(tmp_path: Path, rank: subprocess.Popen[bytes]) -> RunDirectory:
    """A run whose one rank sleeps."""
    run = make_run(tmp_path / "runs", "live", state=State.RUNNING)
    started = process_start(rank.pid)
    assert started is not None
    run.update_record(
        pid=rank.pid, pid_start=started, processes=(RunProcess(role="rank 0", pid=rank.pid, start=started),)
    )
    (run.path / "checkpoints" / "step-20").mkdir()
    (run.path / "checkpoints" / "step-30").mkdir()
    return run


async def open_dialog(pilot: Pilot[None]) -> StopScreen:
    table = pilot.app.screen.query_one(RunsTable)
    await until(pilot, lambda: table.row_count == 1)
    await pilot.press("S")
    await until(pilot, lambda: isinstance(pilot.app.screen, StopScreen))
    screen = pilot.app.screen
    assert isinstance(screen, StopScreen)
    await until(pilot, lambda: "step" in text_of(pilot, "#seen"))
    return screen


def enabled(screen: StopScreen) -> set[str | None]:
    return {button.id for button in screen.query(Button) if not button.disabled and button.display}


@SIZES
async def test_the_button_in_focus_and_escape_end_nothing(
    live: RunDirectory, faked: Commands, size: tuple[int, int], rank: subprocess.Popen[bytes]
) -> None:
    app = RunsApp(live.path.parent)
    async with app.run_test(size=size) as pilot:
        screen = await open_dialog(pilot)
        assert screen.query_one("#keep", Button).has_focus
        assert str(screen.query_one("#keep", Button).label) == "Keep running"
        seen = text_of(pilot, "#seen")
        assert "running  live" in seen
        assert f"1 rank(s) alive; processes: rank 0 ({rank.pid})" in seen
        assert "last checkpoint at step 30" in seen
        assert enabled(screen) == {"keep", "clean"}
        assert screen.query_one("#dialog").region.bottom <= size[1]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        for _ in range(2):
            await open_dialog(pilot)
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert faked.asked == []
        assert not live.stop_file.exists()


async def test_one_step_after_the_other(live: RunDirectory, faked: Commands, rank: subprocess.Popen[bytes]) -> None:
    app = RunsApp(live.path.parent)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_dialog(pilot)
        faked.effect = live.stop_file.touch
        await pilot.press("right", "enter")
        await until(pilot, lambda: faked.asked == [["runs", "stop", str(live.path)]])
        await until(pilot, lambda: enabled(screen) == {"keep", "terminate"})
        await until(pilot, lambda: "stopping  live" in text_of(pilot, "#seen"))
        assert screen.query_one("#keep", Button).has_focus
        faked.effect = lambda: None
        faked.answer = Done(0, f"{live.path}: SIGTERM [sent]\n", "")
        await pilot.press("right", "enter")
        await until(pilot, lambda: faked.asked[1:] == [["runs", "stop", "--terminate", str(live.path)]])
        await until(pilot, lambda: text_of(pilot, "#answer") == "SIGTERM [sent]")
        await until(pilot, lambda: enabled(screen) == {"keep", "terminate", "kill"})

        def die() -> None:
            rank.kill()
            rank.wait()
            live.write_status(Status(state=State.STOPPED, step=30, steps=300))

        faked.effect = die
        await pilot.press("right", "right", "enter")
        await until(pilot, lambda: faked.asked[2:] == [["runs", "stop", "--kill", str(live.path)]])
        await until(pilot, lambda: text_of(pilot, "#seen").startswith("stopped  live"))
        await until(pilot, lambda: enabled(screen) == {"keep"})
        assert str(screen.query_one("#keep", Button).label) == "Close"


async def test_a_lost_run_is_repaired(live: RunDirectory, faked: Commands, rank: subprocess.Popen[bytes]) -> None:
    rank.kill()
    rank.wait()
    app = RunsApp(live.path.parent)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_dialog(pilot)
        await until(pilot, lambda: enabled(screen) == {"keep", "repair"})
        assert "No process is alive. Repair writes" in text_of(pilot, "#seen")
        faked.answer = Done(2, "", "refused\n")
        await pilot.click("#repair")
        await until(pilot, lambda: faked.asked == [["runs", "repair", str(live.path)]])
        await until(pilot, lambda: text_of(pilot, "#answer") == "refused")


async def test_a_lost_run_whose_other_ranks_live_can_be_killed_at_once(
    live: RunDirectory, rank: subprocess.Popen[bytes]
) -> None:
    live.update_record(pid_start=1)
    assert live.state() is State.LOST
    app = RunsApp(live.path.parent)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_dialog(pilot)
        await until(pilot, lambda: enabled(screen) == {"keep", "kill"})
        await pilot.click("#kill")
        await until(pilot, lambda: rank.poll() is not None)
        await until(pilot, lambda: "killed rank 0" in text_of(pilot, "#answer"))


async def test_a_run_of_another_host_can_only_be_asked(live: RunDirectory) -> None:
    live.update_record(host="far[red]away")
    app = RunsApp(live.path.parent)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_dialog(pilot)
        await until(pilot, lambda: enabled(screen) == {"keep", "clean"})
        assert "It runs on far[red]away: from here" in text_of(pilot, "#seen")
        live.stop_file.touch()
        await until(pilot, lambda: enabled(screen) == {"keep"})


async def test_a_directory_that_vanishes_is_told(live: RunDirectory) -> None:
    app = RunsApp(live.path.parent)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_dialog(pilot)
        (live.path / "run.json").unlink()
        await until(pilot, lambda: "cannot be read any more" in text_of(pilot, "#seen"))
        await until(pilot, lambda: enabled(screen) == {"keep"})
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
    assert look(live.path) is None


async def test_what_has_ended_needs_no_dialog(tmp_path: Path, faked: Commands) -> None:
    make_run(tmp_path, "done", state=State.FINISHED)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("S")
        await until(pilot, lambda: any("done is finished" in note.message for note in app._notifications))
        assert isinstance(app.screen, RunScreen)


async def test_no_run_nothing_to_stop(tmp_path: Path) -> None:
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        active = {key: binding.enabled for key, binding in app.screen.active_bindings.items()}
        assert active["n"]
        assert not active["S"]
        assert not active["R"]
