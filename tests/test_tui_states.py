"""The table says within five seconds what has become of a run, however it ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mtscale_tui.app import RunsApp
from mtscale_tui.runs_screen import RunsTable
from textual.pilot import Pilot

from mtscale.runs import SILENT_AFTER_SECONDS, RunDirectory, State, Status, process_start
from tests.terminal import cells, make_run, until

SECONDS = 5.0


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """What trains, or waits to."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield started
    started.kill()
    started.wait()


def live(root: Path, name: str, state: State, process: subprocess.Popen[bytes]) -> RunDirectory:
    run = make_run(root, name, state=state)
    run.update_record(pid=process.pid, pid_start=process_start(process.pid))
    return run


def states(pilot: Pilot[None]) -> dict[str, str]:
    return {row[2]: row[1] for row in cells(pilot.app.screen.query_one(RunsTable))}


async def within_seconds(pilot: Pilot[None], expected: dict[str, str]) -> None:
    began = time.monotonic()
    await until(pilot, lambda: states(pilot) == expected)
    assert time.monotonic() - began < SECONDS


async def test_processes_that_die_without_a_word(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    for name in ("queued", "running", "stopping"):
        live(tmp_path, name, State(name), process)
    silent = live(tmp_path, "stalled", State.RUNNING, process)
    silent.write_status(Status(state=State.RUNNING, time=time.time() - SILENT_AFTER_SECONDS - 1))
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        shown = ("queued", "running", "stopping", "stalled")
        await within_seconds(pilot, {name: name for name in shown})
        process.send_signal(signal.SIGKILL)
        await within_seconds(pilot, dict.fromkeys(shown, "lost"))


async def test_ends_that_are_written_down(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    ends = (State.FINISHED, State.FAILED, State.STOPPED)
    runs = {end: live(tmp_path, str(end), State.RUNNING, process) for end in ends}
    asked = live(tmp_path, "asked", State.RUNNING, process)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await within_seconds(pilot, dict.fromkeys([*map(str, ends), "asked"], "running"))
        for end, run in runs.items():
            run.write_status(Status(state=end))
        asked.stop_file.touch()
        await within_seconds(pilot, {**{str(end): str(end) for end in ends}, "asked": "stopping"})


async def test_a_run_of_another_host_is_lost_after_three_heartbeats(tmp_path: Path) -> None:
    now = time.time()
    for name, age in (("heard", 0.0), ("missed", SILENT_AFTER_SECONDS - 3), ("silent", SILENT_AFTER_SECONDS + 1)):
        run = make_run(tmp_path, name, state=State.RUNNING)
        run.update_record(host="another")
        run.write_status(Status(state=State.RUNNING, time=now - age))
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await within_seconds(pilot, {"heard": "running", "missed": "running", "silent": "lost"})
        await until(pilot, lambda: states(pilot)["missed"] == "lost")
        assert SILENT_AFTER_SECONDS <= time.time() - now + SILENT_AFTER_SECONDS - 3 < SILENT_AFTER_SECONDS + SECONDS
