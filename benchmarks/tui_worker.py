"""A user's session of the terminal app in a process of its own, over made runs.

python -m benchmarks.tui_worker RUNS   prints the times and the memory of a session with growing runs
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from pathlib import Path

from mtscale_tui import app
from mtscale_tui.app import RunsApp
from mtscale_tui.chart_view import ChartView
from mtscale_tui.runs_screen import RunsTable
from mtscale_tui.store import RunStore, Snapshot
from textual import events, on
from textual.pilot import Pilot

from benchmarks.memory import peak_memory
from mtscale import names
from mtscale.runs import RunDirectory, RunRecord, State, Status

GROWING = 5
TASKS = ("cdr-disease", "cdr-chemical", "cdr-relation", "evidence-inference")
SECONDS_BETWEEN_KEYS, SECONDS_OF_REFRESHES = 0.05, 10.0
OPENED = 10
SIZE = (120, 40)


def make_runs(root: Path, runs: int, points: int) -> None:
    """Runs of one recipe and three seeds a group; all but a few have ended."""
    recorded = _events(points)
    for number in range(runs):
        record = RunRecord(
            name=f"run-{number:04}",
            family=f"family-{number // 3}",
            group=f"group-{number // 3}",
            recipe="made",
            stage="refine",
            seed=number % 3 + 1,
            protocol="clean",
            tasks=TASKS,
            ds_config="cpu.json",
            world_size=1,
            command=("mtscale", "train"),
            versions={},
            recipe_hash="0",
            created=1e9 + number,
        )
        made = RunDirectory.create(root / record.name, record, 'name = "made"\n', "{}\n")
        (made.path / "events.jsonl").write_text(recorded, encoding="utf-8")
        state = State.RUNNING if number >= runs - GROWING else State.FINISHED
        made.write_status(Status(state=state, step=points, steps=2 * points, epoch=points))


def _events(points: int) -> str:
    """Twelve metrics of training and eight of dev, ``points`` of each."""
    lines = []
    for step in range(1, points + 1):
        lines.append(_event("train", step, dict.fromkeys(_training_names(), 1 / step)))
        dev = {names.metric("dev", task, metric): 1 - 1 / step for task in TASKS for metric in (names.SCORE, "f1")}
        lines.append(_event("dev", step, dev))
    best = {names.best(task): 0.9 for task in (*TASKS, names.MACRO)}
    lines.append(_event("best", points, best))
    return "".join(lines)


def _training_names() -> list[str]:
    whole = [names.TRAIN_LOSS, names.LEARNING_RATE, names.GRAD_NORM, names.EXAMPLES_PER_SECOND]
    whole += [names.PIECES_PER_SECOND, names.RESIDENT_GIB, names.NONFINITE_STEPS, "train/other"]
    return [*whole, *map(names.train_loss, TASKS)]


def _event(kind: str, step: int, values: dict[str, float]) -> str:
    return json.dumps({"time": 1e9 + step, "step": step, "epoch": step, "kind": kind, "values": values}) + "\n"


class TimedStore(RunStore):
    """Remembers when it last began to read."""

    began = 0.0

    def snapshot(self, seconds: float | None = None) -> Snapshot:
        """See ``RunStore``."""
        self.began = time.perf_counter()
        return super().snapshot(seconds)


class TimedApp(RunsApp):
    """Notes how long each refresh took, from the beginning of the reading until its rows are on the screen."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._timed = TimedStore(root)
        self.refreshes: list[float] = []
        self.whole = asyncio.Event()

    def open_store(self) -> RunStore:
        """See ``RunsApp``."""
        return self._timed

    @on(RunsApp.Refreshed)
    def _note(self, event: RunsApp.Refreshed) -> None:
        if not event.snapshot.pending:
            self.call_after_refresh(self._refreshed, self._timed.began)

    def _refreshed(self, began: float) -> None:
        if self.whole.is_set():
            self.refreshes.append(time.perf_counter() - began)
        self.whole.set()


class Session:
    """A user who moves the cursor all the time, then opens runs, while runs grow and the app reads them."""

    def __init__(self, root: Path) -> None:
        app.REFRESH_SECONDS = 0.5
        self._root = root
        self._app = TimedApp(root)
        self._keys: list[float] = []
        self._ended = threading.Event()

    def _grow(self) -> None:
        paths = sorted(self._root.iterdir())[-GROWING:]
        step = 10**6
        while not self._ended.wait(0.2):
            step += 1
            for path in paths:
                with open(path / "events.jsonl", "a", encoding="utf-8") as stream:
                    stream.write(_event("train", step, dict.fromkeys(_training_names(), 1.0)))

    async def run(self) -> dict[str, object]:
        """Read all, let it refresh for a while, open runs."""
        growing = threading.Thread(target=self._grow)
        growing.start()
        try:
            with peak_memory() as peak:
                async with self._app.run_test(size=SIZE) as pilot:
                    began = time.perf_counter()
                    keys = asyncio.create_task(self._press())
                    await self._app.whole.wait()
                    scores = time.perf_counter() - began
                    await asyncio.sleep(SECONDS_OF_REFRESHES)
                    keys.cancel()
                    refreshes = list(self._app.refreshes)
                    opened = [await self._open(pilot) for _ in range(OPENED)]
        finally:
            self._ended.set()
            growing.join()
        return {"scores": scores, "refresh": refreshes, "open": opened, "keys": self._keys, "memory": peak[0]}

    async def _press(self) -> None:
        """Move the cursor down and up, and note how long it takes until it stands on the other row."""
        table = self._app.screen.query_one(RunsTable)
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_KEYS)
            before = table.cursor_row
            if table.row_count < 2:
                continue
            began = time.perf_counter()
            key = "k" if before else "j"
            self._app.post_message(events.Key(key, key))
            while table.cursor_row == before:
                await asyncio.sleep(0.001)
            self._keys.append(time.perf_counter() - began)

    async def _open(self, pilot: Pilot[None]) -> float:
        began = time.perf_counter()
        self._app.post_message(events.Key("enter", None))
        while not (charts := self._app.screen.query(ChartView)) or not charts.first().lines:
            await asyncio.sleep(0.001)
        seconds = time.perf_counter() - began
        await pilot.press("escape", "down")
        return seconds


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Session(Path(sys.argv[1])).run())))
