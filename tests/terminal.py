"""What tests of the terminal app share: run directories with known numbers, and ways to look at a screen."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from mtscale_tui.live_table import LiveTable
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

from mtscale import names
from mtscale.runs import RunDirectory, RunRecord, State, Status

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)])
TASKS = ("cdr-disease", "cdr-relation")
# Dev scores of epochs 1 to 3; a seed adds a hundredth.
SCORES = (0.25, 0.75, 0.5)
BEGAN = 1.7e9
RECIPE = 'name = "sample"\nseeds = [1, 2]\n[refine]\nlearning_rate = 0.0003\n[[tasks]]\nname = "cdr-disease"\n'
DS_CONFIG = '{\n  "zero_optimization": {\n    "stage": 0\n  }\n}'


def event(kind: str, step: int, epoch: int, values: Mapping[str, float]) -> str:
    """A line of ``events.jsonl``, two seconds after that of the step before."""
    content = {"time": BEGAN + 2 * step, "step": step, "epoch": epoch, "kind": kind, "values": dict(values)}
    return json.dumps(content) + "\n"


def _events(seed: int, protocol: str) -> str:
    lines = []
    split = names.chosen_on(protocol)
    for step in range(1, 31):
        task = TASKS[step % 3 == 0]
        loss = math.exp(-step / 10) + (0.5 if task == TASKS[1] else 0)
        values = {names.TRAIN_LOSS: loss, names.train_loss(task): loss, names.LEARNING_RATE: 3e-4 * (1 - step / 40)}
        values |= {names.GRAD_NORM: 1.5, names.EXAMPLES_PER_SECOND: 56.25, names.RESIDENT_GIB: 1.25}
        lines.append(event("train", step, (step + 9) // 10, values))
        if step % 10 == 0:
            score = SCORES[step // 10 - 1] + seed / 100
            scores = {names.metric(split, task, names.SCORE): score for task in TASKS}
            lines.append(event(split, step, step // 10, {**scores, names.macro(split): score}))
    lines.append(event(split, 30, 3, {names.metric(split, TASKS[0], names.FLOOR): 0.125}))
    kept = 0.75 + seed / 100
    lines.append(event("best", 30, 3, {names.best(task, split): kept for task in (*TASKS, names.MACRO)}))
    return "".join(lines)


def make_run(
    root: Path,
    name: str,
    seed: int = 1,
    recipe: str = "sample",
    state: State = State.FINISHED,
    group: str | None = None,
    protocol: str = "clean",
    recipe_toml: str = RECIPE,
    tasks: tuple[str, ...] = TASKS,
) -> RunDirectory:
    """A run of two tasks and three epochs; its kept scores are 0.75 and a hundredth of the seed."""
    record = RunRecord(
        id=f"id-{name}",
        name=name,
        family="f",
        group=group or name,
        recipe=recipe,
        stage="refine",
        seed=seed,
        protocol=protocol,
        tasks=tasks,
        ds_config="cpu.json",
        world_size=1,
        command=("mtscale", "train"),
        versions={},
        recipe_hash="0",
        created=1e9 + seed,
    )
    run = RunDirectory.create(root / name, record, recipe_toml, DS_CONFIG)
    (run.path / "events.jsonl").write_text(_events(seed, protocol))
    run.write_status(Status(state=state, step=30, steps=300, epoch=3))
    (run.path / "train.log").write_text("first line\nlast [bold]line[/bold]\n")
    (run.path / "predictions" / "dev.cdr-disease.jsonl").write_text('{"id": "secret"}\n')
    return run


def cells(table: LiveTable) -> list[list[str]]:
    """The rows of a table as plain texts."""
    return table.texts()


def text_of(pilot: Pilot[None], selector: str) -> str:
    """The text of a widget on the screen that is shown."""
    return str(pilot.app.screen.query_one(selector, Static).render())


def frame(app: App[None]) -> str:
    """The screen as plain text."""
    lines = ("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())
    return "\n".join(line.rstrip() for line in lines)


def body(app: App[None]) -> str:
    """The screen as plain text, but for the footer: which keys fit there is not the screen's doing."""
    return frame(app).rpartition("\n")[0]


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait until the screen has come to show something."""
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, f"the screen did not come to show it:\n{frame(pilot.app)}"
        await pilot.pause(0.02)
