"""``mtscale runs stop`` and ``resume``: a run ends where it is asked to, and its own command goes on with it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from mtscale import cli
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED, EXIT_STOPPED
from mtscale.runs import RunDirectory, State
from tests.lab import SECONDS, Lab, steps_done, wait_until


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    """A run that ``runs stop`` has ended."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.write(tiny_encoder)
    process = lab.start("halted", "--seed", "4", "--set", "refine.epochs=4")
    run = lab.run("halted")
    wait_until(lambda: steps_done(run) >= 1, process)
    # In a process of its own: a fixture of the whole module must not change this one's log.
    command = [sys.executable, "-m", "mtscale.cli", "runs", "stop", "halted", "--runs", str(lab.runs)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.startswith(str(run.path))
    assert process.wait(SECONDS) == EXIT_STOPPED
    process.communicate()
    assert run.state() is State.STOPPED
    return run


@pytest.mark.slow
def test_a_stopped_run_goes_on_from_anywhere(stopped: RunDirectory, tmp_path: Path) -> None:
    before = stopped.status.step
    assert before < stopped.status.steps
    environment = {**os.environ, "MTSCALE_CACHE": str(stopped.path.parents[1] / "cache"), "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, "-m", "mtscale.cli", "runs", "resume", str(stopped.path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == EXIT_FINISHED, done.stderr
    assert stopped.state() is State.FINISHED
    assert stopped.status.step == stopped.status.steps
    assert f"going on after step {before}" in (stopped.path / "train.log").read_text(encoding="utf-8")
    assert stopped.record.seed == 4
    assert not any(tmp_path.iterdir()), "written where the command was given"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["runs", *arguments]) == EXIT_REFUSED
    return capsys.readouterr().err


def test_what_has_ended_is_neither_stopped_nor_resumed(
    stopped: RunDirectory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = str(stopped.path)
    stopped.stop_file.unlink(missing_ok=True)  # what ended it stays until it goes on
    stopped.write_status(stopped.status.model_copy(update={"state": State.FINISHED}))
    assert f"{name} is finished: only a live run can be stopped" in refused(capsys, "stop", name)
    assert f"{name} is finished: only a run that was stopped, failed or lost" in refused(capsys, "resume", name)
    assert not stopped.stop_file.exists()

    stopped.write_status(stopped.status.model_copy(update={"state": State.STOPPED}))
    stopped.update_record(directory=str(tmp_path / "gone"))
    assert f"was started in {tmp_path}/gone, which cannot be entered" in refused(capsys, "resume", name)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
def test_sync_brings_mlflow_up_to_date_once(stopped: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    runs = stopped.path.parent
    (runs / "mlflow.db").rename(runs / "lost.db")
    expected = sorted((name, event.step, value) for event in stopped.events() for name, value in event.values.items())
    for _ in range(2):
        assert cli.main(["runs", "sync", "--runs", str(runs)]) == EXIT_FINISHED
        assert f"halted: in MLflow as {stopped.record.mlflow_run_id}" in capsys.readouterr().out
        with sqlite3.connect(runs / "mlflow.db") as store:
            found = store.execute("SELECT key, step, value FROM metrics ORDER BY key, step").fetchall()
            params = dict(store.execute("SELECT key, value FROM params").fetchall())
            statuses = store.execute("SELECT status FROM runs").fetchall()
        assert found == expected
        assert params["optim.lr"] == str(stopped.record.params["optim.lr"])
        assert statuses == [("KILLED" if stopped.state() is State.STOPPED else "FINISHED",)]
    assert stopped.record.mlflow_run_id is not None
    artifacts = runs / "mlflow-artifacts" / stopped.record.mlflow_run_id
    assert {"recipe.toml", "ds_config.json"} <= {path.name for path in artifacts.rglob("*")}
