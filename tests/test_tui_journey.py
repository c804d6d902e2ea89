"""A day of a user, typed into a terminal: launch, watch, leave, come back, stop, resume, compare."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mtscale_tui import form
from mtscale_tui.launch_screen import _OPTIONS

from mtscale import processes
from mtscale.runs import LIVE, RunDirectory, State
from tests.terminal import make_run
from tests.tmux import Terminal

APP = Path(sys.executable).with_name("mtscale-tui")
FIELDS = [*_OPTIONS, *(setting.name for setting in form.SETTINGS)]
TASKS = ("cdr-disease", "cdr-chemical", "cdr-relation", "cdr-similarity", "evidence-inference")
SIZE = (200, 50)
# An epoch takes seconds, but not where other trainings have the cores.
SECONDS = 900.0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for runs, in which none lives on."""
    yield tmp_path
    for path in (tmp_path / "runs").glob("*/run.json"):
        run = RunDirectory(path.parent)
        if run.state() in LIVE:
            for process in processes.living(run):
                os.kill(process.pid, 9)


def open_terminal(place: Path, name: str) -> Terminal:
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "TERM": "xterm-256color"}
    terminal = Terminal(place / name, place, environment, SIZE)
    terminal.write(f"{APP} --runs runs")
    terminal.press("Enter")
    return terminal


def row(screen: str, name: str) -> str:
    """The line of a run in the table."""
    return next((line for line in screen.splitlines() if re.search(rf"\b{name}\b", line)), "")


def fill(terminal: Terminal, values: dict[str, str]) -> None:
    """Go from field to field of the form, as somebody who looks where the cursor is, and type."""
    at = 0
    for name in sorted(values, key=FIELDS.index):
        while at < FIELDS.index(name):
            at += 1
            terminal.press("Tab")
            label = _OPTIONS[FIELDS[at]][0] if FIELDS[at] in _OPTIONS else FIELDS[at].rpartition(".")[2]
            # The label of the field that has the keys is bold and reversed.
            terminal.until(rf"\x1b\[1;7m(\x1b\[[\d;]*m)*{label}", styled=True)
        terminal.write(values[name])
        terminal.until(re.escape(values[name][:60]))


@pytest.mark.slow
def test_a_day(place: Path, tiny_encoder: Path) -> None:
    make_run(place / "runs", "last-week", recipe="sample")
    run = RunDirectory(place / "runs" / "today")
    with open_terminal(place, "morning") as terminal:
        terminal.until("last-week")
        # Launch the sample recipe from the form.
        terminal.press("n")
        terminal.until(r"\$ mtscale train")
        fill(terminal, {"run": "today", "encoder.name": str(tiny_encoder), "refine.epochs": "60"})
        shown = terminal.until(r"\$ mtscale train .*--run today")
        assert "refine.epochs=60" in shown
        terminal.press("C-s")
        terminal.until("Started today", SECONDS)
        # Watch the dev metrics of five tasks.
        shown = terminal.until(lambda screen: len(re.findall(r"\d\.\d{3}", row(screen, "today"))) == 6, SECONDS)
        assert "running" in row(shown, "today")
        assert all(task in shown for task in TASKS)
        terminal.press("g", "Enter")
        shown = terminal.until("dev score")
        assert all(re.search(rf"{task} +\d\.\d{{3}} +\d\.\d{{3}} +\d+", shown) for task in TASKS)
        first = step_of(shown)
        terminal.until(lambda screen: step_of(screen) > first + 50, SECONDS)
        # Leave; then the terminal is closed.
        terminal.press("q")
        terminal.until(r"1 run\(s\) keep going")
    assert run.state() is State.RUNNING
    with open_terminal(place, "evening") as terminal:
        shown = terminal.until(lambda screen: "running" in row(screen, "today"))
        # Stop it cleanly, from the dialog.
        terminal.press("g", "S")
        terminal.until("Keep running")
        terminal.until(r"1 rank\(s\) alive")
        terminal.press("Right", "Enter")
        wait(lambda: run.state() is State.STOPPED)
        terminal.press("Escape")
        terminal.until(lambda screen: "stopped" in row(screen, "today"), 5)
        wait(lambda: processes.living(run) == [])
        stopped_at = run.status.step
        # Resume it.
        terminal.press("R")
        terminal.until("today goes on", SECONDS)
        shown = terminal.until(
            lambda screen: (
                (found := re.search(r"(\d+)/\d+", row(screen, "today"))) is not None
                and int(found[1]) > stopped_at
                and "running" in row(screen, "today")
            ),
            SECONDS,
        )
        # Compare it with last week's.
        terminal.press("g", "Space", "Space", "c")
        shown = terminal.until("compare +2 runs")
        assert re.search(r"A last-week +B today", shown)
        assert re.search(r"cdr-disease +\d\.\d{3}\*? +\d\.\d{3}\*? +[+-]\d\.\d{3}", shown)
        terminal.press("Escape", "g", "S")
        terminal.until(r"1 rank\(s\) alive")
        terminal.press("Right", "Enter")
        terminal.until(r"stopped  today|no process is alive|No process is alive", SECONDS)
        terminal.press("Escape", "q")
        terminal.until(r"[$#]\s*$", 10)


def wait(condition: Callable[[], bool]) -> None:
    """Wait for what is not on the screen."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def step_of(screen: str) -> int:
    """The step in the heading of a run."""
    found = re.search(r"step (\d+)/\d+", screen)
    return int(found[1]) if found else 0
