"""Runs that wait for their command: what stands in the folder before anything trains, and what is left of it."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import pytest

from mtscale.errors import ConfigError
from mtscale.processes import COMMAND, is_queued_for_this_process, mark_of
from mtscale.runs import OUTPUT, RunDirectory, State
from mtscale.training import job as jobs
from mtscale.training import queued
from mtscale.training.job import Job
from mtscale.training.queued import Queue


def job(runs: Path, *words: str) -> Job:
    parser = argparse.ArgumentParser()
    jobs.add_options(parser)
    return jobs.check(parser.parse_args(["--runs", str(runs), "--run", "family", *words]))


def queue(runs: Path, *words: str) -> Queue:
    return Queue(job(runs, *words), ["train.py", *words], 1)


def test_all_runs_of_a_command_wait_and_leave_nothing_if_they_never_start(tmp_path: Path) -> None:
    with queue(tmp_path, "--seed", "1,2"):
        runs = [RunDirectory(tmp_path / f"family-seed{seed}") for seed in (1, 2)]
        assert [run.state() for run in runs] == [State.QUEUED, State.QUEUED]
        record = runs[1].record
        assert (record.family, record.seed, record.started) == ("family", 2, False)
        assert record.command == ("train.py", "--seed", "1,2")
        assert [(process.role, process.pid) for process in record.processes] == [(COMMAND, os.getpid())]
        assert (runs[0].path / "recipe.toml").read_text(encoding="utf-8").startswith('name = "sample"')
        with pytest.raises(ConfigError, match="family-seed1 is queued: choose another --run name"):
            job(tmp_path, "--seed", "1,2")
    assert list(tmp_path.iterdir()) == []


def test_the_ranks_of_the_command_take_up_what_waits_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with queue(tmp_path):
        record = RunDirectory(tmp_path / "family").record
        assert not is_queued_for_this_process(record)
        monkeypatch.setenv("MTSCALE_STARTER", mark_of(record.processes[0]))
        assert is_queued_for_this_process(record)
        assert job(tmp_path).family == "family"
        RunDirectory(tmp_path / "family").update_record(pid=1, pid_start=1)  # claimed: no longer this process's
    assert (tmp_path / "family").exists()


def test_a_run_that_holds_what_its_command_said_is_kept_with_the_reason(tmp_path: Path) -> None:
    with queue(tmp_path):
        (tmp_path / "family" / OUTPUT).write_text("loading\nno such encoder\n\n")
    run = RunDirectory(tmp_path / "family")
    assert (run.state(), run.status.message) == (State.FAILED, "not started: no such encoder")
    # It was never started, so that it may become another run of that name.
    with queue(tmp_path, "--set", "refine.epochs=7"):
        assert run.state() is State.QUEUED
        assert run.record.recipe_hash == job_hash(tmp_path, "--set", "refine.epochs=7")


def job_hash(runs: Path, *words: str) -> str:
    parser = argparse.ArgumentParser()
    jobs.add_options(parser)
    return jobs.check(parser.parse_args(["--runs", str(runs), "--run", "another", *words])).recipe.hash()


def test_a_run_taken_up_again_is_what_it_was_if_it_does_not_start(tmp_path: Path) -> None:
    with queue(tmp_path):
        run = RunDirectory(tmp_path / "family")
        run.update_record(data_hashes={"a": "b"})
        stopped = run.status.model_copy(update={"state": State.STOPPED, "step": 7, "message": "why"})
        run.write_status(stopped)
    assert run.state() is State.STOPPED
    run.stop_file.touch()
    with queue(tmp_path):
        assert (run.state(), run.status.step) == (State.QUEUED, 7)
        assert not run.stop_file.exists()
    assert run.status == stopped


def test_two_commands_of_one_name(tmp_path: Path) -> None:
    late = queue(tmp_path, "--seed", "1,2")
    second = queue(tmp_path, "--seed", "2,3")
    with second, pytest.raises(ConfigError, match="family-seed2 is queued: choose another --run name"):
        late.__enter__()
    assert list(tmp_path.iterdir()) == []


def test_who_waits_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queued, "HEARTBEAT_SECONDS", 0.01)
    with queue(tmp_path):
        status = tmp_path / "family" / "status.json"
        before = status.read_bytes()
        os.utime(status, (1, 1))
        end = time.monotonic() + 30
        while status.stat().st_mtime == 1:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert status.read_bytes() == before
