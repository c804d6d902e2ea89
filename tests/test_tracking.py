"""Tracking: the run directory has every number, whatever MLflow does."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name

from mtscale import names
from mtscale.errors import ConfigError
from mtscale.runs import Event, RunDirectory, RunRecord, State
from mtscale.tracking import mlflow_tracker
from mtscale.tracking.figures import confusion_figure
from mtscale.tracking.mlflow_tracker import MlflowMirror, tracking_uri
from mtscale.tracking.tracker import Param, RunTracker
from tests.lab import make_run

# The tests' own clients import MLflow as it is; that ours silences this is seen in a subprocess below.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

PARAMS: Mapping[str, Param] = {"optim.lr": 5e-5, "seed": 1, "tasks.set": "x" * 7000}
TAGS = {"mtscale.group": "g"}


def mirror_for(run: RunDirectory) -> MlflowMirror:
    return MlflowMirror(run.path.parent, lambda run_id, uri: run.update_record(mlflow_run_id=run_id, mlflow_uri=uri))


def client_for(run: RunDirectory) -> MlflowClient:
    return MlflowClient(f"sqlite:///{run.path.parent}/mlflow.db")


def history(run: RunDirectory, name: str) -> list[tuple[int, float]]:
    run_id = run.record.mlflow_run_id
    assert run_id is not None
    return [(point.step, point.value) for point in client_for(run).get_metric_history(run_id, name)]


def wait_for_run_id(run: RunDirectory) -> str:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if (run_id := run.record.mlflow_run_id) is not None:
            return run_id
        time.sleep(0.02)
    raise AssertionError("MLflow created no run")


def wait_for_status(run: RunDirectory, status: str) -> None:
    run_id, client = wait_for_run_id(run), client_for(run)
    end = time.monotonic() + 20
    while client.get_run(run_id).info.status != status:
        assert time.monotonic() < end, f"the MLflow run is not {status}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creating MLflow's tables takes more than a second: done once, then copied."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def run(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    runs = tmp_path / "runs"
    runs.mkdir()
    shutil.copy(empty_store, runs / "mlflow.db")
    return make_run(runs)


def test_events_and_mlflow_hold_the_same_numbers(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With this, MLflow refuses a value that is too long where it would cut it by itself.
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    tracker = RunTracker(run, mirror_for(run))
    tracker.start(PARAMS, TAGS)
    score = names.metric("dev", "cdr-disease", names.SCORE)
    tracker.log("dev", 10, 1, {score: 0.5, names.macro("dev"): 0.25})
    tracker.log("dev", 20, 2, {score: 0.75, names.macro("dev"): 0.5})
    report = tmp_path / "cdr-disease.json"
    report.write_text('{"f1": 0.75}')
    tracker.artifact(report, "reports/dev")
    tracker.close(State.FINISHED)

    assert [(event.step, event.epoch, event.values[score]) for event in run.events()] == [(10, 1, 0.5), (20, 2, 0.75)]
    assert history(run, score) == [(10, 0.5), (20, 0.75)]
    record = run.record
    assert record.mlflow_run_id is not None
    assert record.mlflow_uri == f"sqlite:///{run.path.parent}/mlflow.db"
    client = client_for(run)
    mirrored = client.get_run(record.mlflow_run_id)
    assert mirrored.info.status == "FINISHED"
    assert mirrored.info.run_name == "run"
    assert mirrored.info.start_time == round(record.created * 1000)
    assert mirrored.data.params == {"optim.lr": "5e-05", "seed": "1", "tasks.set": "x" * 6000}
    assert mirrored.data.tags["mtscale.group"] == "g"
    experiment = client.get_experiment(mirrored.info.experiment_id)
    assert experiment.name == "mtscale"
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "dev/macro/score"
    copied = run.path.parent / "mlflow-artifacts" / record.mlflow_run_id / "artifacts/reports/dev/cdr-disease.json"
    assert copied.read_text() == '{"f1": 0.75}'


@pytest.mark.parametrize(
    ("state", "status"),
    [(State.FINISHED, "FINISHED"), (State.FAILED, "FAILED"), (State.STOPPED, "KILLED"), (State.LOST, "FAILED")],
)
def test_final_status(run: RunDirectory, state: State, status: str) -> None:
    tracker = RunTracker(run, mirror_for(run))
    tracker.start({}, {})
    wait_for_status(run, "RUNNING")
    tracker.log("train", 7, 1, {names.TRAIN_LOSS: 1.0})
    tracker.close(state)
    wait_for_status(run, status)
    info = client_for(run).get_run(wait_for_run_id(run)).info
    assert info.end_time == round(next(run.events()).time * 1000)


def test_nonfinite_values_are_left_out_and_counted(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    tracker = RunTracker(run, None)
    tracker.log("train", 1, 1, {names.TRAIN_LOSS: math.nan, names.LEARNING_RATE: 0.1})
    tracker.log("train", 2, 1, {names.TRAIN_LOSS: math.inf, names.GRAD_NORM: -math.inf})
    assert [dict(event.values) for event in run.events()] == [{names.LEARNING_RATE: 0.1}, {}]
    assert tracker.nonfinite == 3
    assert [message for message in caplog.messages if "train/loss" in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_resumed_run_goes_on_in_the_same_mlflow_run(run: RunDirectory) -> None:
    first = RunTracker(run, mirror_for(run))
    first.start(PARAMS, TAGS)
    for step in (1, 2, 3):
        first.log("train", step, 1, {names.TRAIN_LOSS: float(step)})
    first.close(State.STOPPED)
    run_id = wait_for_run_id(run)

    # Steps 4 and 5 were recorded but never reached MLflow, then the run was taken back to step 2.
    run.append_event("train", 4, 1, {names.TRAIN_LOSS: 4.0, names.GRAD_NORM: 4.0})
    run.append_event("rewind", 2, 1, {})
    second = RunTracker(run, mirror_for(run))
    second.start({**PARAMS, "seed": 2, "world_size": 2}, TAGS)
    wait_for_status(run, "RUNNING")
    for step in (3, 4):
        second.log("train", step, 1, {names.TRAIN_LOSS: float(step), names.GRAD_NORM: float(step)})
    second.close(State.FINISHED)

    assert wait_for_run_id(run) == run_id
    assert history(run, names.TRAIN_LOSS) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert history(run, names.GRAD_NORM) == [(3, 3.0), (4, 4.0)]
    mirrored = client_for(run).get_run(run_id)
    assert mirrored.info.status == "FINISHED"
    assert (mirrored.data.params["seed"], mirrored.data.params["world_size"]) == ("1", "2")


def test_replay_after_the_store_was_deleted(run: RunDirectory, empty_store: Path) -> None:
    first = RunTracker(run, mirror_for(run))
    first.start({}, {})
    first.log("train", 1, 1, {names.TRAIN_LOSS: 1.0})
    first.close(State.FINISHED)
    old = wait_for_run_id(run)
    shutil.copy(empty_store, run.path.parent / "mlflow.db")

    again = RunTracker(run, mirror_for(run))
    again.start({}, {})
    again.close(State.FINISHED)
    assert run.record.mlflow_run_id != old
    assert history(run, names.TRAIN_LOSS) == [(1, 1.0)]


def test_a_client_that_always_fails_costs_nothing(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(uri: str) -> MlflowClient:
        raise OSError("no such host\nsecond line")

    monkeypatch.setattr(mlflow, "MlflowClient", refuse)
    monkeypatch.setattr(mlflow_tracker, "CLOSE_SECONDS", 0.2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@tracking.invalid")
    tracker = RunTracker(run, mirror_for(run))
    began = time.monotonic()
    tracker.start({}, {})
    for step in range(100):
        tracker.log("train", step, 1, {names.TRAIN_LOSS: 1.0})
    assert time.monotonic() - began < 5.0  # a wait for each of the hundred would take longer
    tracker.close(State.FINISHED)
    assert len(list(run.events())) == 100
    assert len(caplog.messages) == 1
    assert "http://someone@tracking.invalid" in caplog.text
    assert "no such host" in caplog.text
    assert "run directory" in caplog.text
    assert "secret" not in caplog.text
    assert "second line" not in caplog.text


def test_a_failed_batch_is_sent_again(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MlflowClient.log_batch
    failures = [OSError("gone"), OSError("gone")]

    def flaky(self: MlflowClient, *args: object, **kwargs: object) -> object:
        if failures:
            raise failures.pop()
        return real(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(MlflowClient, "log_batch", flaky)
    tracker = RunTracker(run, mirror_for(run))
    tracker.start({"seed": 1}, {})
    tracker.log("train", 1, 1, {names.TRAIN_LOSS: 1.0})
    tracker.close(State.FINISHED)
    assert history(run, names.TRAIN_LOSS) == [(1, 1.0)]
    runs = client_for(run).search_runs(["1"])
    assert [(found.data.params, found.info.status) for found in runs] == [({"seed": "1"}, "FINISHED")]


def test_a_locked_store_does_not_hold_up_training(run: RunDirectory) -> None:
    tracker = RunTracker(run, mirror_for(run))
    tracker.start({}, {})
    wait_for_run_id(run)
    lock = sqlite3.connect(run.path.parent / "mlflow.db", check_same_thread=False)
    lock.execute("BEGIN EXCLUSIVE")
    threading.Timer(3.0, lock.close).start()
    slowest = 0.0
    for step in range(250):
        began = time.monotonic()
        tracker.log("train", step, 1, {names.TRAIN_LOSS: float(step)})
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    tracker.close(State.FINISHED)
    assert slowest < 2.0  # the store is locked for longer
    assert history(run, names.TRAIN_LOSS) == [(step, float(step)) for step in range(250)]


def test_more_points_than_one_batch_holds(run: RunDirectory) -> None:
    mirror = mirror_for(run)
    mirror.start(run.record, {}, {})
    for step in range(1205):
        mirror.log(Event(time.time(), step, 1, "train", {names.TRAIN_LOSS: float(step)}))
    mirror.close(State.FINISHED)
    assert [step for step, _ in history(run, names.TRAIN_LOSS)] == list(range(1205))


def test_a_mirror_that_raises_is_reported_once(run: RunDirectory, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def start(self, record: RunRecord, params: Mapping[str, Param], tags: Mapping[str, str]) -> None:
            raise RuntimeError("start")

        def log(self, event: Event) -> None:
            raise RuntimeError("log")

        def artifact(self, path: Path, folder: str) -> None:
            raise RuntimeError("artifact")

        def close(self, state: State) -> None:
            raise RuntimeError("close")

    tracker = RunTracker(run, Broken())
    tracker.start({}, {})
    tracker.log("train", 1, 1, {names.TRAIN_LOSS: 1.0})
    tracker.artifact(run.path / "recipe.toml", "")
    tracker.close(State.FAILED)
    assert [event.values for event in run.events()] == [{names.TRAIN_LOSS: 1.0}]
    assert len(caplog.messages) == 1
    assert str(run.path) in caplog.text


def test_too_many_params_are_refused(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="at most 40 params, found 41"):
        mirror_for(run).start(run.record, {f"p{number}": number for number in range(41)}, {})


@pytest.mark.parametrize("uri", ["file:./mlruns", "file:///data/mlruns", "./mlruns", "mlruns"])
def test_folder_stores_are_refused_with_a_hint(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI.*sqlite:////"):
        tracking_uri(tmp_path)


def test_environment_chooses_store_and_experiment(
    run: RunDirectory, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    shutil.copy(empty_store, elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ward")
    tracker = RunTracker(run, mirror_for(run))
    tracker.start({}, {})
    tracker.close(State.FINISHED)
    client = MlflowClient(f"sqlite:///{elsewhere}")
    experiment = client.get_experiment_by_name("ward")
    assert experiment is not None
    assert [found.info.run_id for found in client.search_runs([experiment.experiment_id])] == [wait_for_run_id(run)]


def test_mlflow_accepts_every_fixed_name() -> None:
    fixed = [value for key, value in vars(names).items() if key.isupper() and isinstance(value, str) and "/" in value]
    assert names.TRAIN_LOSS in fixed
    for name in (*fixed, names.macro("dev"), names.macro("test")):
        _validate_metric_name(name)


@settings(deadline=None, max_examples=50)
@given(st.from_regex(names.TASK_NAME, fullmatch=True))
def test_mlflow_accepts_the_names_of_every_task(task: str) -> None:
    for name in (
        names.train_loss(task),
        names.metric("test", task, "partial_f1"),
        *map(names.best, (task, task), ("dev", "test")),
    ):
        _validate_metric_name(name)


FIRST_RUN = """
import sys, threading
from pathlib import Path
from mtscale.runs import RunDirectory, State
from mtscale.tracking.mlflow_tracker import MlflowMirror
from mtscale.tracking.tracker import RunTracker

run = RunDirectory(Path(sys.argv[1]))
tracker = RunTracker(run, MlflowMirror(run.path.parent, lambda *_: None))
assert "mlflow" not in sys.modules
tracker.start({"seed": 1}, {})
tracker.log("train", 1, 1, {"train/loss": 1.0})
tracker.close(State.FINISHED)
assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
"""


def test_two_first_runs_at_once_create_the_store_quietly(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "runs", name) for name in ("one", "two")]
    root = Path(__file__).parent.parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", FIRST_RUN, str(run.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "PYTHONPATH": str(root)},
            cwd=tmp_path,
        )
        for run in runs
    ]
    assert [(process.communicate(timeout=120)[0], process.returncode) for process in started] == [("", 0)] * 2
    with contextlib.closing(sqlite3.connect(tmp_path / "runs" / "mlflow.db")) as store:
        assert store.execute("select key, value, step from metrics").fetchall() == [("train/loss", 1.0, 1)] * 2
        assert store.execute("select status from runs").fetchall() == [("FINISHED",)] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_confusion_figure(tmp_path: Path) -> None:
    path = tmp_path / "c.png"
    confusion_figure(["no $relation$", "induces"], [[0, 40], [5, 5]], "cdr-relation, dev", path)
    picture = imread(path)[:, :, :3]
    assert min(picture.shape[:2]) > 400

    def area(colour: tuple[int, int, int]) -> float:
        return float((abs(picture * 255 - colour).max(axis=2) < 2).mean())

    # ColorBrewer's nine-class "Blues": its darkest fills the cell that has its whole row, a middle one each half.
    assert area((8, 48, 107)) > 0.05
    assert area((106, 174, 214)) > 0.1
    with pytest.raises(ValueError, match="2 x 2"):
        confusion_figure(["a", "b"], [[1, 2], [3]], "t", path)
