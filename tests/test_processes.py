"""Which processes are a run's, and that none but those are ended. Sleeping processes stand for the ones that train."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mtscale import cli, processes
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED, ConfigError
from mtscale.processes import STARTER
from mtscale.runs import RunDirectory, RunProcess, State, Status, process_start
from mtscale.tracking import repair as repairing
from mtscale.tracking.repair import repair
from tests.lab import make_run

SLEEP = "import time; time.sleep(600)"
# A command whose child outlives it where it is killed.
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    begun: list[subprocess.Popen[bytes]] = []

    def begin(script: str = SLEEP, *words: str, mark: str | None = None) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != STARTER}
        process = subprocess.Popen(
            [sys.executable, "-c", script, *words],
            env=environment | ({} if mark is None else {STARTER: mark}),
            start_new_session=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def named(process: subprocess.Popen[bytes], role: str) -> RunProcess:
    started = process_start(process.pid)
    assert started is not None
    return RunProcess(role=role, pid=process.pid, start=started)


def run_of(runs: Path, *found: RunProcess, name: str = "run", state: State = State.RUNNING) -> RunDirectory:
    run = make_run(runs, name)
    rank = found[-1] if found else None
    run.update_record(
        processes=found, pid=rank.pid if rank else 1, pid_start=rank.start if rank else 1, data_hashes={"a": "b"}
    )
    run.write_status(Status(state=state, step=3, steps=10))
    return run


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def roles(run: RunDirectory) -> list[str]:
    return [process.role for process in processes.living(run)]


def test_the_named_the_marked_and_their_children_are_a_runs_processes(tmp_path: Path, start: Start) -> None:
    command, rank = start(), start(SLEEP, "--local_rank=0")
    of_command = named(command, processes.COMMAND)
    run = run_of(tmp_path, of_command, named(rank, "rank 0"))
    other = run_of(tmp_path, named(start(), processes.COMMAND), name="other")
    start(SLEEP, "--local_rank=1", mark=processes.mark_of(of_command))
    start(SLEEP, mark="1:1")
    assert roles(run) == ["command", "rank 0", "rank 1"]
    assert [process.role for process in processes.ranks(processes.living(run))] == ["rank 0", "rank 1"]
    start(PARENT, mark=processes.mark_of(of_command))
    until(lambda: roles(run) == ["command", "helper", "helper", "rank 0", "rank 1"])
    assert roles(other) == ["command"]


def test_a_process_that_was_given_the_id_of_another_is_left_alone(tmp_path: Path, start: Start) -> None:
    stranger = start()
    real = named(stranger, "rank 0")
    run = run_of(tmp_path, real.model_copy(update={"start": real.start - 1}))
    assert run.state() is State.LOST
    assert processes.living(run) == []
    assert processes.kill(run) == []
    processes.terminate(run)
    assert stranger.poll() is None


def test_kill_ends_all_of_a_run_and_nothing_else(tmp_path: Path, start: Start) -> None:
    command = start(PARENT)
    of_command = named(command, processes.COMMAND)
    rank = start(SLEEP, "--local_rank=0", mark=processes.mark_of(of_command))
    bystander = start()
    run = run_of(tmp_path, of_command, named(rank, "rank 0"))
    until(lambda: len(processes.living(run)) == 3)
    assert cli.main(["runs", "stop", "--kill", str(run.path)]) == EXIT_FINISHED
    assert (command.wait(), rank.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
    assert processes.living(run) == []
    assert bystander.poll() is None
    assert (run.state(), run.status.message, run.status.step) == (State.STOPPED, "killed on request", 3)


def test_terminate_reaches_every_process(tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    command = start()
    of_command = named(command, processes.COMMAND)
    rank = start(SLEEP, "--local_rank=0", mark=processes.mark_of(of_command))
    run = run_of(tmp_path, of_command, named(rank, "rank 0"))
    assert cli.main(["runs", "stop", "--terminate", str(run.path)]) == EXIT_FINISHED
    assert f"rank 0 ({rank.pid})" in capsys.readouterr().out
    assert (command.wait(), rank.wait()) == (-signal.SIGTERM, -signal.SIGTERM)


def test_a_run_of_another_host_is_only_watched(
    tmp_path: Path, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    rank = start()
    here = named(rank, "rank 0")
    run = run_of(tmp_path, here.model_copy(update={"host": "elsewhere"}))
    run.update_record(host="elsewhere")
    assert processes.living(run) == []
    for option in ("--terminate", "--kill"):
        assert cli.main(["runs", "stop", option, str(run.path)]) == EXIT_REFUSED
        assert "belongs to the host elsewhere" in capsys.readouterr().err
    assert rank.poll() is None
    assert cli.main(["runs", "stop", str(run.path)]) == EXIT_FINISHED
    assert run.state() is State.STOPPING
    run.write_status(Status(state=State.RUNNING, time=time.time() - 31))
    assert run.state() is State.LOST
    with pytest.raises(ConfigError, match="elsewhere"):
        repair(run)


def test_a_queued_run_does_not_take_the_one_before_it_along(tmp_path: Path, start: Start) -> None:
    command = named(start(), processes.COMMAND)
    run_of(tmp_path, command, name="first")
    waiting = run_of(tmp_path, command, name="second", state=State.QUEUED)
    for ending in (processes.terminate, processes.kill):
        with pytest.raises(ConfigError, match=r"waits for first, of the same command"):
            ending(waiting)
    assert roles(waiting) == ["command"]


def test_a_queued_run_is_not_stalled_and_is_lost_with_its_command(tmp_path: Path, start: Start) -> None:
    command = start()
    run = run_of(tmp_path, named(command, processes.COMMAND), state=State.QUEUED)
    long_ago = time.time() - 1000
    run.write_status(Status(state=State.QUEUED, time=long_ago))
    os.utime(run.path / "status.json", (long_ago, long_ago))
    assert run.state() is State.QUEUED
    run.update_record(host="elsewhere")
    assert run.state() is State.LOST
    os.utime(run.path / "status.json")  # how a waiting command tells that it is there
    assert run.state() is State.QUEUED
    run.update_record(host=os.uname().nodename)
    command.kill()
    command.wait()
    assert run.state() is State.LOST


def test_a_run_that_died_without_a_word_is_repaired_once(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[State] = []
    monkeypatch.setattr(repairing, "replay", lambda run: shown.append(run.state()) or True)
    rank, sibling = start(), start()
    run = run_of(tmp_path, named(sibling, "rank 1"), named(rank, "rank 0"))
    command = ["runs", "repair", str(run.path)]
    assert cli.main(command) == EXIT_REFUSED
    assert "is running: only a lost run can be repaired" in capsys.readouterr().err
    rank.kill()
    rank.wait()
    assert run.state() is State.LOST
    assert cli.main(command) == EXIT_REFUSED
    assert f"rank 1 ({sibling.pid}) still alive" in capsys.readouterr().err
    sibling.kill()
    sibling.wait()
    assert cli.main(command) == EXIT_FINISHED
    assert shown == [State.FAILED]
    assert (run.state(), run.status.step) == (State.FAILED, 3)
    assert run.status.message == repairing.DIED
    assert cli.main(command) == EXIT_REFUSED
