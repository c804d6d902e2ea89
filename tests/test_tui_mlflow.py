"""Runs that MLflow alone knows: shown with what it has, and a store that is not well is told and harms nothing."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mtscale_tui.app import RunsApp
from mtscale_tui.chart_view import ChartView
from mtscale_tui.compare_screen import CompareScreen
from mtscale_tui.mlflow_store import Elsewhere, MlflowStore
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsTable
from mtscale_tui.store import RunStore, Snapshot

from mtscale.event_log import EventLog
from mtscale.run_summary import summarize
from mtscale.runs import RunDirectory, State
from mtscale.tracking.replay import replay
from tests.terminal import cells, make_run, text_of, until

EMPTY = Snapshot((), "")


def wanted() -> bool:
    return True


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs, and the MLflow store that shows both."""
    runs = tmp_path_factory.mktemp("mirrored") / "runs"
    for seed, state in ((1, State.FINISHED), (2, State.STOPPED)):
        run = make_run(runs, f"run-{seed}", seed, state=state)
        run.update_record(params={"recipe": "sample", "stage": "refine", "seed": seed, "protocol": "clean"})
        # Sends for half a minute at most; what is there already is not sent again.
        assert any(replay(run) for _ in range(5))
    return runs


@pytest.fixture
def gone(mirrored: Path, tmp_path: Path) -> Path:
    """The same store beside the first run; the directory of the second is not there."""
    runs = tmp_path / "runs"
    runs.mkdir()
    shutil.copytree(mirrored / "run-1", runs / "run-1")
    shutil.copy(mirrored / "mlflow.db", runs)
    return runs


def read(runs: Path, snapshot: Snapshot = EMPTY) -> Elsewhere:
    with MlflowStore(runs) as store:
        return store.read(snapshot, (), wanted)


def test_a_run_has_what_mlflow_tells_of_it(mirrored: Path) -> None:
    with MlflowStore(mirrored) as store:
        found = store.read(EMPTY, (), wanted)
        assert found.problem == ""
        store.due = 0.0
        again = store.read(EMPTY, [Path(summary["dir"]) for summary in found.runs], wanted)
    # Who shows runs sees that they are the same as before.
    assert all(one is other for one, other in zip(found.runs, again.runs, strict=True))
    by_id = {summary["id"]: summary for summary in found.runs}
    for name in ("run-1", "run-2"):
        run = RunDirectory(mirrored / name)
        shown, written = by_id[f"id-{name}"], summarize(run)
        same = ("family", "group", "recipe", "stage", "seed", "protocol", "tasks", "state", "macro", "mlflow_run_id")
        assert {key: shown[key] for key in same} == {key: written[key] for key in same}  # type: ignore[literal-required]
        for task in written["tasks"]:
            assert shown["scores"][task] == {**written["scores"][task], "best_epoch": None}
        assert Path(shown["dir"]).name == name
        assert str(mirrored / name) in shown["message"]
        detail = again.details[Path(shown["dir"])]
        log = EventLog(run.path)
        log.read()
        assert {key: (one.steps, one.values) for key, one in detail.series.items()} == {
            key: (one.steps, one.values) for key, one in log.series.items()
        }
        assert detail.settings.recipe == tuple((run.path / "recipe.toml").read_text().splitlines())
        assert detail.settings.ds_config == tuple((run.path / "ds_config.json").read_text().splitlines())


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_what_is_the_matter_is_told(gone: Path, tmp_path: Path, server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = sqlite3.connect(gone / "mlflow.db")
    lock.execute("BEGIN EXCLUSIVE")
    assert read(gone).problem == "MLflow: database is locked"
    lock.close()
    (gone / "mlflow.db").write_text("no database at all, whatever its name says")
    assert read(gone).problem == "MLflow: file is not a database"
    (gone / "mlflow.db").write_bytes(b"")
    assert read(gone).problem == "MLflow: no such table: experiments"
    (gone / "mlflow.db").unlink()
    assert read(gone).problem == ""
    assert "no mlflow.db beside" in read(gone, RunStore(gone).snapshot()).problem
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert read(gone).problem == f"MLflow: no store at {tmp_path}/none.db"
    assert not (tmp_path / "none.db").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://name:secret@127.0.0.1:{server}")
    monkeypatch.setattr("mtscale_tui.mlflow_store.ANSWER_SECONDS", 1.0)
    assert read(gone).problem == "MLflow: no answer within 1 seconds"


def test_a_server_that_cannot_be_reached_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://name:secret@127.0.0.1:{port}")
    problem = read(tmp_path).problem
    assert "refused" in problem
    assert "secret" not in problem


def test_who_leaves_does_not_wait_for_a_server(tmp_path: Path, server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server}")
    began = time.monotonic()
    with MlflowStore(tmp_path) as store:
        store.read(EMPTY, (), lambda: time.monotonic() < began + 0.3)
    assert time.monotonic() - began < 2


async def test_what_mlflow_alone_knows_is_opened_and_compared(gone: Path, quick: None) -> None:
    """The run that has its directory stands there once, though MLflow has it too."""
    app = RunsApp(gone)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 2)
        table = app.screen.query_one(RunsTable)
        assert [row[1:8] for row in cells(table)] == [
            ["stopped", "run-2 (MLflow)", "sample", "refine", "2", "-", "-"],
            ["finished", "run-1", "sample", "refine", "1", "30/300", "-"],
        ]
        await pilot.press("g", "S", "R")
        assert not app.screen.query("#dialog")
        said = [notification.message for notification in app._notifications]
        assert said == ["run-2 is known to MLflow alone: stop or resume it where its run directory is"] * 2
        await pilot.press("enter")
        await until(pilot, lambda: bool(app.screen.query(ChartView)) and bool(app.screen.query_one("#first").lines))  # type: ignore[attr-defined]
        assert isinstance(app.screen, RunScreen)
        assert "in MLflow alone; its directory was" in text_of(pilot, "#title")
        await pilot.press("escape", "space", "space", "c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: len(app.screen.query_one(ChartView).lines) == 2)
        assert "cannot be read" not in text_of(pilot, "#notes")


NEVER_LOADED = """
import asyncio, sys
from pathlib import Path
from mtscale_tui.app import RunsApp

async def main():
    app = RunsApp(Path(sys.argv[1]))
    async with app.run_test(size=(120, 40)) as pilot:
        table = app.screen.query_one("#runs")
        while not any(" (MLflow)" in row[2] for row in table.texts()):
            await pilot.pause(0.05)

asyncio.run(main())
print("mlflow" in sys.modules)
"""


@pytest.mark.slow
def test_mlflow_is_never_loaded_into_the_app(gone: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NEVER_LOADED, str(gone)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


async def test_a_broken_store_is_told_in_the_title(gone: Path, quick: None) -> None:
    (gone / "mlflow.db").write_text("no database at all, whatever its name says")
    app = RunsApp(gone)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "MLflow: file is not a database" in text_of(pilot, "#title"))
        make_run(gone, "later", 3)
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 2)
