"""Training a study: what is done once, what goes on after a failure, and what a kill leaves."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mtscale.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_REFUSED, EXIT_STOPPED, ConfigError
from mtscale.run_summary import summarize
from mtscale.runs import RunDirectory, State, Status
from mtscale.study import plan as planning
from mtscale.study import spec
from mtscale.study.execute import Execution, Slot
from mtscale.study.plan import Plan, Unit
from mtscale.study.store import Outcome, StudyFolder
from tests.lab import SECONDS, Lab
from tests.terminal import make_run

STUDY = "trial"


def write_study(lab: Lab, encoder: Path, epochs: int = 2) -> Path:
    """Two tasks alone and together, with fine-tuning, and their pair."""
    lab.write(encoder)
    recipe_tables = tomllib.loads((lab.folder / "recipe.toml").read_text(encoding="utf-8"))["tasks"]
    tables = [table for table in recipe_tables if table["name"] in {"diseases", "likeness"}]
    rows = [
        {"label": label, "model": model, "encoder": "tiny"}
        for label, model in (("alone", "single"), ("refined", "refined"), ("tuned", "finetuned"))
    ]
    content = {
        "name": STUDY,
        "seeds": [1],
        "one_seed": True,
        "settings": {
            "encoder": {"max_pieces": 64},
            "refine": {"epochs": epochs, "batch_size": 6, "learning_rate": 2e-3},
            "finetune": {"epochs": 1, "learning_rate": 1e-3},
        },
        "tasks": tables,
        "encoders": {"tiny": str(encoder)},
        "tables": {"table2": {"title": "Both", "baseline": "alone", "rows": rows}},
        "figure": {"encoders": {"all": "tiny"}},
    }
    path = lab.folder / f"{STUDY}.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path


def command(lab: Lab, *words: str) -> list[str]:
    where = [str(lab.folder / f"{STUDY}.toml"), "--runs", str(lab.runs)]
    return [sys.executable, "-m", "mtscale.cli", "study", words[0], *where, *words[1:]]


def study(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    environment = lab.environment()
    return subprocess.run(command(lab, *words), env=environment, capture_output=True, text=True, timeout=SECONDS)


def status(lab: Lab) -> dict[str, Any]:
    done = study(lab, "status", "--json")
    assert done.returncode == EXIT_FINISHED, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def scores(lab: Lab) -> dict[str, float]:
    """The test scores of every run of the study."""
    found = {}
    for unit in status(lab)["units"]:
        for path in unit["runs"]:
            for task, score in summarize(RunDirectory(Path(path)))["scores"].items():
                assert score["test"] is not None
                found[f"{Path(path).name}/{task}"] = score["test"]
    return found


def without_hashes(found: dict[str, float]) -> dict[str, float]:
    """By names without their hash, which is also one of the folder that the corpora lie in."""
    return {re.sub("-[0-9a-f]{8}-", "-", name): score for name, score in found.items()}


def test_a_study_is_trained_reported_and_not_trained_again(tmp_path: Path, tiny_encoder: Path) -> None:
    lab = Lab(tmp_path)
    write_study(lab, tiny_encoder)
    done = study(lab, "run", "--ds_config", "cpu-fp32", "--workers", "1")
    assert done.returncode == EXIT_FINISHED, done.stderr
    assert "[3/3]" in done.stderr
    units = status(lab)["units"]
    assert [unit["state"] for unit in units] == ["finished"] * 3
    assert sorted(len(unit["runs"]) for unit in units) == [1, 1, 3]
    trained_by = {RunDirectory(Path(path)).record.pid for unit in units for path in unit["runs"]}
    assert len(trained_by) == 1, "a worker pays for its imports once"
    assert not list(lab.runs.glob("*/checkpoints/step-*")), "a finished run needs no state to go on from"
    before = {path: path.stat().st_mtime_ns for path in lab.runs.glob("*/status.json")}
    again = study(lab, "run")
    assert (again.returncode, "0 of 3 units to train, 3 finished" in again.stderr) == (EXIT_FINISHED, True)
    assert before == {path: path.stat().st_mtime_ns for path in lab.runs.glob("*/status.json")}

    report = study(lab, "report")
    assert report.returncode == EXIT_FINISHED, report.stderr
    text = (lab.runs / "studies" / STUDY / "report" / "report.md").read_text(encoding="utf-8")
    found = scores(lab)
    (alone,) = [unit for unit in units if unit["tasks"] == ["diseases"]]
    assert f"{found[Path(alone['runs'][0]).name + '/diseases']:.4f}" in text


class Place(Slot):
    """A slot that trains nothing and gives the answers it is told to."""

    def __init__(self, answers: dict[str, int], folder: StudyFolder) -> None:
        self.answers, self.folder, self.trained = answers, folder, []
        self.lock = threading.Lock()

    def train(self, words: Sequence[str]) -> tuple[int, str]:
        name = words[words.index("--run") + 1]
        with self.lock:
            self.trained.append(name)
        return self.answers.get(name, EXIT_FINISHED), "said why" if name in self.answers else ""

    def stop(self, number: signal.Signals) -> None: ...

    def close(self) -> None: ...


def planned(tmp_path: Path) -> tuple[Plan, StudyFolder]:
    _, study = spec.find("table3")
    folder = StudyFolder(tmp_path, "table3")
    plan = planning.make(study.model_copy(update={"seeds": (1,)}), tmp_path, tmp_path)
    folder.save(plan, tmp_path, {unit.name: 60.0 for unit in plan.units})
    return plan, folder


def test_a_failure_ends_its_unit_alone(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    broken = plan.units[1].name
    places = [Place({broken: EXIT_FAILED}, folder) for _ in range(2)]
    told: list[tuple[Unit, Outcome]] = []
    execution = Execution(folder, plan, plan.units, places, [], lambda unit, outcome: told.append((unit, outcome)))
    assert execution.run() == EXIT_FAILED
    trained = [name for place in places for name in place.trained]
    assert sorted(trained) == sorted(unit.name for unit in plan.units), "each once"
    assert {unit.name for unit, outcome in told if outcome.code} == {broken}
    assert folder.outcomes()[broken].message == "said why"
    assert folder.state_of(plan.units[1]) == "failed"


def test_what_a_killed_study_left_behind_may_come_to_its_end(tmp_path: Path) -> None:
    """A worker that outlived its study and finished its unit meanwhile: the unit is not trained again."""
    plan, folder = planned(tmp_path)
    unit = plan.units[0]
    left = make_run(tmp_path, unit.name, state=State.RUNNING, tasks=unit.tasks)
    ends = threading.Timer(0.3, left.write_status, [Status(state=State.FINISHED, step=30, steps=30)])
    ends.start()
    place = Place({unit.name: EXIT_REFUSED}, folder)
    assert len(unit.runs) == 1
    assert Execution(folder, plan, [unit], [place], [], lambda unit, outcome: None).run() == EXIT_FINISHED
    ends.join()
    assert place.trained == []
    assert folder.outcomes()[unit.name].code == EXIT_FINISHED


def test_what_needs_a_failed_unit_is_not_started(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    first = plan.units[0]
    rest = tuple(replace(unit, needs=(first.name,)) for unit in plan.units[1:])
    plan = Plan(plan.study, plan.size, (first, *rest))
    place = Place({first.name: EXIT_REFUSED}, folder)
    assert Execution(folder, plan, plan.units, [place], [], lambda unit, outcome: None).run() == EXIT_FAILED
    assert place.trained == [first.name]
    assert all(first.name in folder.outcomes()[unit.name].message for unit in rest)


def test_a_unit_asked_for_before_its_encoder_is_made_is_refused_and_says_what_is_missing(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    first, unit = plan.units[0], replace(plan.units[1], needs=(plan.units[0].name,))
    plan = Plan(plan.study, plan.size, (first, unit))
    place = Place({}, folder)
    told: list[str] = []
    execution = Execution(folder, plan, [unit], [place], [], lambda _, outcome: told.append(outcome.message))
    assert execution.run() == EXIT_FAILED
    assert place.trained == []
    assert told == [f"not started: it needs {first.name}, which is not finished: train it first"]
    assert folder.outcomes()[unit.name].code == EXIT_REFUSED
    make_run(tmp_path, first.name, tasks=first.tasks)
    assert Execution(folder, plan, [unit], [place], [], lambda unit, outcome: None).run() == EXIT_FINISHED
    assert place.trained == [unit.name]


def test_a_plan_stays_what_it_was_when_the_study_changes(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    folder.require_same(plan.study)
    read, _ = folder.load()
    assert read == plan
    with pytest.raises(ConfigError, match="the study table3 has changed since it was planned"):
        folder.require_same(plan.study.model_copy(update={"seeds": (7,)}))


def test_a_plan_is_not_given_a_size_that_it_was_not_made_with(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    seconds = {unit.name: 60.0 for unit in plan.units}
    folder.save(plan, tmp_path, seconds, command=["table3", "--seeds", "1,2", "--budget", "60"])
    folder.require_sizes({})
    folder.require_sizes({"--budget": "60"})
    with pytest.raises(ConfigError, match=r"planned with --budget 60, not with --budget 90; .*plan --again"):
        folder.require_sizes({"--budget": "90"})
    with pytest.raises(ConfigError, match="planned without --epochs, not with --epochs 2"):
        folder.require_sizes({"--budget": "60", "--epochs": "2"})


# When a new file of this kind is there, and who is killed then: the study alone, or its worker with it.
MOMENTS = (
    ("studies/*/plan.json", False),
    ("*/run.json", False),
    ("*/checkpoints/*", True),
    ("*/predictions/*", True),
    ("*-finetune-*/run.json", False),
    ("*-finetune-*/checkpoints/*", True),
)


@pytest.mark.slow
def test_a_study_killed_anywhere_repeats_nothing_that_is_finished_and_gives_the_same_tables(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    whole, cut = Lab(tmp_path / "whole"), Lab(tmp_path / "cut")
    for lab in (whole, cut):
        lab.folder.mkdir()
        write_study(lab, tiny_encoder, epochs=6)
    options = ("run", "--ds_config", "cpu-fp32", "--workers", "1")
    assert study(whole, *options).returncode == EXIT_FINISHED
    finished: dict[Path, tuple[int, int]] = {}
    killed = 0
    for pattern, with_worker in MOMENTS:
        killed += kill_at(cut, options, pattern, with_worker=with_worker)
        assert {path: _stamp(path) for path in finished} == finished
        finished |= {path: _stamp(path) for path in cut.runs.glob("*/status.json") if '"finished"' in path.read_text()}
    assert killed >= len(MOMENTS) - 1, "too fast to be killed"
    assert study(cut, *options).returncode == EXIT_FINISHED
    assert {path: _stamp(path) for path in finished} == finished
    assert without_hashes(scores(cut)) == without_hashes(scores(whole))
    assert tables(cut) == tables(whole)
    assert not _living(cut)


def kill_at(lab: Lab, options: Sequence[str], pattern: str, *, with_worker: bool) -> bool:
    """Start the study and kill it when there is one more file of a kind; whether it did not come to its end before."""
    before = len(list(lab.runs.glob(pattern)))
    process = subprocess.Popen(command(lab, *options), env=lab.environment(), stderr=subprocess.DEVNULL)
    end = time.monotonic() + SECONDS
    while len(list(lab.runs.glob(pattern))) <= before and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    cut_off = process.wait() == -signal.SIGKILL
    for worker in _living(lab) if with_worker else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    return cut_off


def tables(lab: Lab) -> str:
    """All tables of the report."""
    done = study(lab, "report")
    assert done.returncode == EXIT_FINISHED, done.stderr
    return (lab.runs / "studies" / STUDY / "report" / "tables.tex").read_text(encoding="utf-8")


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


@pytest.mark.slow
def test_a_dead_worker_fails_its_unit_alone_and_the_next_run_trains_it(tmp_path: Path, tiny_encoder: Path) -> None:
    lab = Lab(tmp_path)
    write_study(lab, tiny_encoder, epochs=4)
    options = ("run", "--ds_config", "cpu-fp32", "--workers", "1")
    process = subprocess.Popen(command(lab, *options), env=lab.environment(), stderr=subprocess.DEVNULL)
    end = time.monotonic() + SECONDS
    while not list(lab.runs.glob("*/events.jsonl")) and time.monotonic() < end:
        time.sleep(0.01)
    (worker,) = set(_living(lab)) - {process.pid}
    os.kill(worker, signal.SIGKILL)
    assert process.wait(SECONDS) == EXIT_FAILED
    units = status(lab)["units"]
    assert sorted(unit["state"] for unit in units) == ["failed", "finished", "finished"]
    (broken,) = [unit for unit in units if unit["state"] == "failed"]
    assert "its worker died with exit code -9" in broken["message"]
    assert study(lab, *options).returncode == EXIT_FINISHED
    assert [unit["state"] for unit in status(lab)["units"]] == ["finished"] * 3


@pytest.mark.slow
def test_ctrl_c_ends_workers_with_a_checkpoint(tmp_path: Path, tiny_encoder: Path) -> None:
    lab = Lab(tmp_path)
    write_study(lab, tiny_encoder, epochs=40)
    process = subprocess.Popen(
        command(lab, "run", "--ds_config", "cpu-fp32", "--workers", "1"),
        env=lab.environment(),
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + SECONDS
    while not list(lab.runs.glob("*/events.jsonl")) and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == EXIT_STOPPED
    states = [unit["state"] for unit in status(lab)["units"]]
    assert states.count("stopped") == 1
    assert not _living(lab)


def _living(lab: Lab) -> list[int]:
    """The processes that still work in the lab: they have its cache in their environment."""
    mark = f"MTSCALE_CACHE={lab.environment()['MTSCALE_CACHE']}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
