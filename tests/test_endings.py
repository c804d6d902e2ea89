"""Each way in which a run can end: the state shown, the processes left, and what MLflow says."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mtscale import cli, processes
from mtscale.errors import EXIT_REFUSED
from mtscale.runs import OUTPUT, RunDirectory, State, process_start
from tests.lab import SECONDS, Lab, mlflow_status, steps_done

TOKEN = "ENDINGS_TOKEN"
ENDLESS = ("--set", "refine.epochs=2000")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("lab"))
    made.write(tiny_encoder)
    return made


def mtscale(lab: Lab, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mtscale.cli", *words],
        env=lab.environment(**{TOKEN: name}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def detach(lab: Lab, name: str, *options: str) -> RunDirectory:
    done = mtscale(lab, name, "train", *lab.options(name), *options, "--detach", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0] == str(lab.run(name).path)
    return lab.run(name)


def until(condition: Callable[[], bool], run: RunDirectory) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        said = (run.path / OUTPUT).read_text() if (run.path / OUTPUT).exists() else ""
        assert time.monotonic() < end, f"{run.state()}\n{said}"
        time.sleep(0.05)


def marked(name: str) -> set[int]:
    """The living processes that came of a command, whoever their parents are."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{TOKEN}={name}".encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
        except OSError:
            continue
    return {pid for pid in found if process_start(pid) is not None}


def pid_of(run: RunDirectory, role: str) -> int:
    return next(process.pid for process in processes.living(run) if process.role == role)


def is_over(run: RunDirectory, name: str, state: State, mlflow: str) -> Callable[[], bool]:
    return lambda: run.state() is state and not marked(name) and mlflow_status(run) == mlflow


def send(role: str, number: signal.Signals) -> Callable[[Lab, RunDirectory], None]:
    return lambda lab, run: os.kill(pid_of(run, role), number)


def command(*words: str) -> Callable[[Lab, RunDirectory], None]:
    def give(lab: Lab, run: RunDirectory) -> None:
        done = mtscale(lab, "another", "runs", *words, str(run.path))
        assert done.returncode == 0, done.stderr

    return give


ENDS = {
    "rank-killed": (send("rank 0", signal.SIGKILL), State.FAILED, "FAILED", 1),
    "kill": (command("stop", "--kill"), State.STOPPED, "KILLED", 1),
    "stop": (command("stop"), State.STOPPED, "KILLED", 1),
    "terminate": (command("stop", "--terminate"), State.STOPPED, "KILLED", 1),
    "interrupted": (send("command", signal.SIGINT), State.STOPPED, "KILLED", 1),
    "terminated": (send("command", signal.SIGTERM), State.STOPPED, "KILLED", 1),
    "command-killed": (send("command", signal.SIGKILL), State.STOPPED, "KILLED", 1),
    "rank-1-killed": (send("rank 1", signal.SIGKILL), State.FAILED, "FAILED", 2),
    "launcher-killed": (send("launcher", signal.SIGKILL), State.STOPPED, "KILLED", 2),
    "two-terminated": (command("stop", "--terminate"), State.STOPPED, "KILLED", 2),
    "two-killed": (command("stop", "--kill"), State.STOPPED, "KILLED", 2),
}
QUICK = {"kill"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ENDS])
def test_a_run_that_is_ended(lab: Lab, name: str) -> None:
    end, state, mlflow, ranks = ENDS[name]
    run = detach(lab, name, *ENDLESS, "--num_gpus", str(ranks))
    assert run.state() in {State.QUEUED, State.RUNNING}
    # The MLflow run has to be there, or there is nothing that could disagree.
    until(lambda: steps_done(run) >= 1 and run.record.mlflow_run_id is not None, run)
    assert run.state() is State.RUNNING
    roles = [process.role for process in processes.living(run)]
    assert [role for role in roles if role.startswith("rank")] == [f"rank {number}" for number in range(ranks)]
    assert {process.pid for process in processes.living(run)} == marked(name)
    end(lab, run)
    until(is_over(run, name, state, mlflow), run)
    assert processes.living(run) == []


@pytest.mark.slow
def test_a_run_that_finishes_and_one_that_raises(lab: Lab) -> None:
    finished = detach(lab, "finishing")
    until(is_over(finished, "finishing", State.FINISHED, "FINISHED"), finished)
    assert "test" in (finished.path / OUTPUT).read_text()
    failed = detach(lab, "raising", "--set", "refine.learning_rate=1e30", *ENDLESS)
    until(is_over(failed, "raising", State.FAILED, "FAILED"), failed)
    assert "not finite" in failed.status.message


@pytest.mark.slow
def test_power_loss_and_repair(lab: Lab) -> None:
    """What a machine that goes down leaves: a directory that says running, and an MLflow run that says so."""
    run = detach(lab, "dark", *ENDLESS)
    until(lambda: steps_done(run) >= 1 and run.record.mlflow_run_id is not None, run)
    # All at once, so that nobody is left who could write anything down.
    for pid in marked("dark"):
        os.kill(pid, signal.SIGSTOP)
    for pid in marked("dark"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: run.state() is State.LOST and not marked("dark"), run)
    assert mlflow_status(run) == "RUNNING"
    done = mtscale(lab, "another", "runs", "repair", str(run.path))
    assert done.returncode == 0, done.stderr
    assert (run.state(), mlflow_status(run)) == (State.FAILED, "FAILED")
    # It goes on where its last checkpoint is, as any other.
    resumed = mtscale(lab, "dark", "runs", "resume", "--detach", str(run.path))
    assert resumed.returncode == 0, resumed.stderr
    until(lambda: run.state() is State.RUNNING, run)
    command("stop", "--kill")(lab, run)
    until(is_over(run, "dark", State.STOPPED, "KILLED"), run)


@pytest.mark.slow
def test_seeds_wait_in_the_queue_and_leave_it_with_their_command(lab: Lab) -> None:
    done = mtscale(lab, "family", "train", *lab.options("family"), *ENDLESS, "--seed", "1,2", "--detach", "--json")
    assert done.returncode == 0, done.stderr
    runs = [RunDirectory(Path(folder)) for folder in json.loads(done.stdout)["runs"]]
    assert [run.path.name for run in runs] == ["family-seed1", "family-seed2"]
    until(lambda: steps_done(runs[0]) >= 1, runs[0])
    assert [run.state() for run in runs] == [State.RUNNING, State.QUEUED]
    refused = mtscale(lab, "another", "runs", "stop", "--kill", str(runs[1].path))
    assert refused.returncode == EXIT_REFUSED
    assert "waits for family-seed1" in refused.stderr
    command("stop")(lab, runs[0])
    until(lambda: runs[0].state() is State.STOPPED and not marked("family"), runs[0])
    assert not runs[1].path.exists(), "never started, and nothing in it"


def test_what_is_refused_is_told_at_once(lab: Lab) -> None:
    done = mtscale(lab, "refused", "train", *lab.options("refused"), "--set", "refine.epochs=0", "--detach")
    assert done.returncode == EXIT_REFUSED
    assert "--set refine.epochs: Input should be greater than or equal to 1, found 0" in done.stderr
    assert not lab.run("refused").path.exists()


def test_without_the_packages_for_training_a_start_says_so(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in {"torch", "deepspeed"} else find(name)
    )
    for option in ("--detach", "--dry-run"):
        assert cli.main(["train", *lab.options("bare"), option]) == EXIT_REFUSED
        said = capsys.readouterr().err
        assert "training needs more packages (torch, deepspeed): pip install 'mtscale[train]'" in said
    assert not lab.run("bare").path.exists()
