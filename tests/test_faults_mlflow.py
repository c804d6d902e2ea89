"""MLflow's store killed, locked, read-only or gone: training goes on and says so, and a sync shows all of it later."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtscale.errors import EXIT_FAILED, EXIT_FINISHED
from mtscale.runs import RunDirectory
from tests.lab import ROOT, SECONDS, Lab, make_run, mlflow_metrics, mlflow_runs, recorded, steps_done, wait_until

MIRROR = """
import os, sys
from pathlib import Path
from mtscale.runs import RunDirectory, State
from mtscale.tracking import replay
from mtscale.tracking.mlflow_tracker import MlflowMirror

def die(*_, **__):
    os.kill(os.getpid(), 9)

run = RunDirectory(Path(sys.argv[1]))
if sys.argv[2] == "before its id is noted":
    RunDirectory.update_record = die
elif sys.argv[2] == "while the tables are made":
    import mlflow.store.db.utils
    mlflow.store.db.utils._upgrade_db = die
tracker, _ = replay.mirrored(run)
tracker.start(run.record.params, replay.tags(run))
tracker.close(State.FINISHED)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("lab"))
    made.write(tiny_encoder)
    return made


def mirror(lab: Lab, run: RunDirectory, killed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", MIRROR, str(run.path), killed]
    return subprocess.run(
        command, env=lab.environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.mark.parametrize(
    "moment", [pytest.param("before its id is noted", marks=pytest.mark.slow), "while the tables are made"]
)
def test_a_mirror_killed_at_its_beginning_goes_on_with_one_run(lab: Lab, tmp_path: Path, moment: str) -> None:
    run = make_run(tmp_path / "runs")
    run.append_event("train", 1, 1, {"train/loss": 1.0})
    assert mirror(lab, run, moment).returncode == -signal.SIGKILL
    assert run.record.mlflow_run_id is None
    done = mirror(lab, run, "never")
    assert (done.returncode, done.stderr) == (EXIT_FINISHED, "")
    assert mlflow_runs(run) == [(run.record.mlflow_run_id, "FINISHED")]
    assert mlflow_metrics(run) == [("train/loss", 1, 1.0)]


@pytest.fixture(scope="module")
def whole(lab: Lab) -> RunDirectory:
    """A run whose mirror nothing disturbs."""
    lab.finish("whole")
    return lab.run("whole")


def assert_it_trained_on(lab: Lab, whole: RunDirectory, process: subprocess.Popen[str], name: str, cause: str) -> None:
    """The run has everything that the undisturbed one has, and said once what is the matter and what to do."""
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_FINISHED, errors
    assert recorded(lab.run(name)) == recorded(whole)
    (said,) = [line for line in errors.splitlines() if "MLflow" in line]
    assert re.fullmatch(
        rf"MLflow at \S+ is behind \(.*({cause}).*\): training goes on, .*`mtscale runs sync {name}`.*", said
    )
    assert "Traceback" not in errors


def sync(lab: Lab, name: str, **added: str) -> int:
    command = [sys.executable, "-m", "mtscale.cli", "runs", "sync", name, "--runs", str(lab.runs)]
    return subprocess.run(
        command, env=lab.environment(PYTHONPATH=str(ROOT), **added), capture_output=True, timeout=SECONDS, check=False
    ).returncode


def assert_synced(lab: Lab, name: str, **added: str) -> None:
    run = lab.run(name)
    assert sync(lab, name, **added) == EXIT_FINISHED
    assert mlflow_runs(run) == [(run.record.mlflow_run_id, "FINISHED")]
    expected = sorted((key, event.step, value) for event in run.events() for key, value in event.values.items())
    assert mlflow_metrics(run) == expected


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_a_server_that_is_not_there(lab: Lab, whole: RunDirectory) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert_it_trained_on(
        lab, whole, lab.start("nowhere", added={"MLFLOW_TRACKING_URI": nowhere}), "nowhere", "Connection refused"
    )
    assert sync(lab, "nowhere", MLFLOW_TRACKING_URI=nowhere) == EXIT_FAILED
    assert_synced(lab, "nowhere")


@pytest.mark.slow
def test_a_store_that_can_only_be_read(lab: Lab, whole: RunDirectory) -> None:
    read_only = f"sqlite:///file:{lab.runs}/mlflow.db?mode=ro&uri=true"
    process = lab.start("read-only", added={"MLFLOW_TRACKING_URI": read_only})
    assert_it_trained_on(lab, whole, process, "read-only", "readonly database")
    assert_synced(lab, "read-only")


@pytest.mark.slow
def test_a_store_that_another_program_locks_for_a_minute(lab: Lab, whole: RunDirectory) -> None:
    run = lab.run("locked")
    process = lab.start("locked")
    wait_until(lambda: (run.path / "run.json").exists(), process)
    lock = sqlite3.connect(lab.runs / "mlflow.db", check_same_thread=False, timeout=30)
    lock.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(60.0, lock.close)
    release.start()
    assert_it_trained_on(lab, whole, process, "locked", "locked|not done")
    release.join()
    assert_synced(lab, "locked")


@contextlib.contextmanager
def server(lab: Lab, port: int) -> Iterator[None]:
    """MLflow's own server on the lab's store; it is killed at the end, with its workers."""
    store = [
        "--backend-store-uri",
        f"sqlite:///{lab.runs}/mlflow.db",
        "--artifacts-destination",
        str(lab.folder / "served"),
    ]
    with open(lab.folder / "server.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *store],
            env=lab.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + SECONDS
        while not _answers(port):
            assert process.poll() is None, (lab.folder / "server.log").read_text(encoding="utf-8")
            assert time.monotonic() < end
            time.sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle(lab: Lab, whole: RunDirectory) -> None:
    port, run = free_port(), lab.run("orphaned")
    address = f"http://127.0.0.1:{port}"
    with server(lab, port):
        process = lab.start("orphaned", added={"MLFLOW_TRACKING_URI": address})
        wait_until(lambda: steps_done(run) > 0 and run.record.mlflow_run_id is not None, process)
    assert_it_trained_on(lab, whole, process, "orphaned", "Connection|closed|reset|not done")
    with server(lab, port):
        assert_synced(lab, "orphaned", MLFLOW_TRACKING_URI=address)
