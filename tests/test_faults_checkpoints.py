"""Checkpoints damaged on disk: it is said which, the one before is used, and the run ends as if nothing had been."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtscale.errors import EXIT_FAILED, EXIT_REFUSED
from mtscale.runs import RunDirectory, State
from mtscale.sealed import seal
from tests.lab import SECONDS, Lab, files, held_at, recorded, wait_until
from tests.test_saved_states import craft


def flip_a_byte(state: Path) -> None:
    path = state / "deepspeed" / "mp_rank_00_model_states.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(state: Path) -> None:
    path = state / "random-0.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def lose_the_manifest(state: Path) -> None:
    (state / "manifest.json").unlink()


@dataclass(frozen=True)
class Cut:
    """A run killed before its last evaluation, with two states, and one that nothing disturbed."""

    lab: Lab
    run: RunDirectory
    whole: RunDirectory

    def copy(self, name: str) -> RunDirectory:
        copied = self.lab.run(name)
        shutil.copytree(self.run.path, copied.path)
        copied.update_record(id=f"copy-{name}", name=name, mlflow_run_id=None)
        return copied

    def states(self, run: RunDirectory) -> list[Path]:
        return sorted(run.path.glob("checkpoints/step-*"))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Cut:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.write(tiny_encoder)
    whole = lab.start("whole")
    mark = lab.folder / "held"
    process = lab.start("cut", added=held_at(mark, "open", r"/test_looks\.jsonl$"))
    wait_until(mark.exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    lab.end(whole, "whole")
    made = Cut(lab, lab.run("cut"), lab.run("whole"))
    assert len(made.states(made.run)) == 2
    return made


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip_a_byte, "deepspeed/mp_rank_00_model_states.pt is not what was saved"),
        pytest.param(cut_short, "random-0.safetensors is not what was saved", marks=pytest.mark.slow),
        pytest.param(lose_the_manifest, "manifest.json: No such file or directory", marks=pytest.mark.slow),
    ],
)
def test_the_state_before_a_damaged_one_is_used(cut: Cut, damage: Callable[[Path], None], said: str) -> None:
    run = cut.copy(damage.__name__)
    first, last = cut.states(run)
    damage(last)
    cut.lab.finish(run.path.name)
    log = (run.path / "train.log").read_text(encoding="utf-8")
    assert f"{last} is damaged ({said}): looking for the checkpoint before it" in log
    assert f"going on after step {first.name.removeprefix('step-')}\n" in log
    assert recorded(run) == recorded(cut.whole)
    assert files(run) == files(cut.whole)


@pytest.mark.slow
def test_a_state_from_elsewhere_runs_nothing_though_its_manifest_agrees(cut: Cut, tmp_path: Path) -> None:
    run, ran = cut.copy("foreign"), tmp_path / "ran"
    state = cut.states(run)[-1]
    craft(state / "deepspeed" / "mp_rank_00_model_states.pt", ran)
    (state / "manifest.json").unlink()
    seal(state)
    process = cut.lab.start("foreign")
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_REFUSED, errors
    assert not ran.exists()
    assert "nothing of it was run" in run.status.message
    assert run.state() is State.FAILED


@pytest.mark.slow
def test_a_run_without_a_whole_state_begins_anew(cut: Cut) -> None:
    run = cut.copy("none-whole")
    for state in cut.states(run):
        flip_a_byte(state)
    cut.lab.finish("none-whole")
    log = (run.path / "train.log").read_text(encoding="utf-8")
    assert f"{run.path / 'checkpoints'} holds no whole checkpoint: the run begins anew" in log
    assert recorded(run) == recorded(cut.whole)
    assert files(run) == files(cut.whole)
    steps = [event.step for event in run.events() if event.kind == "train"]
    assert steps == list(range(1, run.status.steps + 1))


@pytest.mark.slow
def test_damaged_weights_of_the_kept_epoch_are_never_scored(cut: Cut) -> None:
    run = cut.copy("best-damaged")
    weights = run.path / "checkpoints" / "best" / "encoder" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    process = cut.lab.start("best-damaged")
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_FAILED, errors
    assert run.state() is State.FAILED
    assert f"{weights.parent.parent}: encoder/model.safetensors is not what was saved" in run.status.message
    assert run.status.message in errors
    assert "Traceback" not in errors
    assert not list((run.path / "predictions").glob("test.*"))
