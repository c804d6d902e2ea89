"""Steps whose loss or gradient is not finite: skipped on all ranks without a trace, counted, and not for ever."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mtscale import names
from mtscale.errors import EXIT_FAILED
from mtscale.runs import State
from tests.lab import SECONDS, Lab, launch, losses
from tests.nonfinite_worker import CASES, FAULTS

WORKER = Path(__file__).with_name("nonfinite_worker.py")
FAULTY_TRAIN = Path(__file__).with_name("nonfinite_train.py")
NO_DROPOUT = ("--set", "encoder.dropout=0.0", "--set", "refine.head_dropout=0.0")
TOLERANCE = 1e-6
BAD_STEPS = 10
Record = Mapping[str, Any]


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)])
def steps(
    request: pytest.FixtureRequest, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[list[Record]]:
    folder = tmp_path_factory.mktemp("steps")
    launch(WORKER, request.param, [str(tiny_encoder), str(folder / "records.json")], folder / "cache")
    records: list[list[Record]] = json.loads((folder / "records.json").read_text(encoding="utf-8"))
    assert len(records) == len(CASES)
    assert all(len(record["ranks"]) == request.param for record in records[0])
    return records


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{precision}-zero{stage}" for precision, stage in CASES])
def test_a_faulty_step_leaves_every_bit_on_every_rank_and_training_goes_on(
    steps: list[list[Record]], case: int
) -> None:
    assert [record["fault"] for record in steps[case]] == list(FAULTS)
    for record in steps[case]:
        for rank in record["ranks"]:
            assert not rank["applied"], record
            assert rank["changed"] == rank["new"] == [], record
            assert rank["went on"], record
            assert rank["moved"], record
            assert rank["finite"], record
        assert len({rank["digest"] for rank in record["ranks"]}) == 1, record


# Whole runs


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("lab"))
    made.write(tiny_encoder)
    return made


@pytest.fixture(scope="module")
def undisturbed(lab: Lab) -> list[float]:
    lab.finish("undisturbed", *NO_DROPOUT)
    return losses(lab.run("undisturbed"))


def train_badly(lab: Lab, name: str, first: int, count: int, ranks: int) -> subprocess.CompletedProcess[str]:
    """Train with so many steps from ``first`` on whose gradient is NaN on the last rank."""
    bad = {"BAD_STEPS": f"{first}:{first + count}"}
    process = lab.start(name, *NO_DROPOUT, ranks=ranks, script=FAULTY_TRAIN, added=bad)
    printed, errors = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)


def test_a_few_bad_steps_are_skipped_and_counted(lab: Lab) -> None:
    done = train_badly(lab, "few", first=3, count=BAD_STEPS - 1, ranks=1)
    run = lab.run("few")
    assert done.returncode == 0, done.stderr
    assert run.state() is State.FINISHED
    counts = [event.values[names.NONFINITE_STEPS] for event in run.events() if names.NONFINITE_STEPS in event.values]
    assert counts[: BAD_STEPS - 1] == list(range(1, BAD_STEPS))
    assert counts[-1] == BAD_STEPS - 1
    log = (run.path / "train.log").read_text(encoding="utf-8")
    assert log.count("loss or gradient not finite, update skipped") == BAD_STEPS - 1


@pytest.mark.slow
@pytest.mark.parametrize(("where", "ranks"), [("first epoch", 1), ("first epoch", 2), ("across epochs", 1)])
def test_too_many_in_a_row_end_the_run_with_the_state_before_them(
    lab: Lab, undisturbed: list[float], where: str, ranks: int
) -> None:
    per_epoch = len(undisturbed) // 2
    first = 3 if where == "first epoch" else per_epoch - 4
    name = f"bad-{ranks}-{where.replace(' ', '-')}"
    done = train_badly(lab, name, first, BAD_STEPS, ranks)
    run = lab.run(name)
    assert done.returncode == EXIT_FAILED, done.stderr
    assert run.state() is State.FAILED
    assert f"{BAD_STEPS} steps in a row had a loss or gradient that was not finite" in run.status.message
    assert run.status.message in done.stderr
    kept = max(first, per_epoch) if where == "across epochs" else first
    assert (run.path / "checkpoints" / f"step-{kept}").is_dir()
    assert f"Step {kept} is saved" in run.status.message

    lab.end(lab.start(name, *NO_DROPOUT, ranks=ranks), name)
    found = losses(run)
    if where == "first epoch":
        # Nothing of the bad steps is left: the run is the one that never had them.
        assert max(abs(one - other) for one, other in zip(found, undisturbed, strict=True)) < TOLERANCE
    else:
        assert len(found) == len(undisturbed)
