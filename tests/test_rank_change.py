"""A run begun by some ranks and ended by another number of them: exact under ZeRO 0, else weights alone, said so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mtscale.ds_config import SHIPPED
from mtscale.runs import RunDirectory, State
from tests.lab import SECONDS, Lab, losses, steps_done, wait_until

OPTIONS = ("--set", "encoder.dropout=0.0", "--set", "refine.head_dropout=0.0", "--set", "refine.epochs=3")
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("lab"))
    made.write(tiny_encoder)
    for stage in (0, 1):
        config = json.loads((SHIPPED / "cpu-fp32.json").read_text(encoding="utf-8"))
        config["zero_optimization"] = {"stage": stage}
        (made.folder / f"zero{stage}.json").write_text(json.dumps(config), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def whole(lab: Lab) -> list[float]:
    lab.finish("whole", *OPTIONS)
    return losses(lab.run("whole"))


def change_ranks(lab: Lab, name: str, before: int, after: int, zero_stage: int) -> RunDirectory:
    """Begin a run with ``before`` ranks, stop it, and end it with ``after``."""
    options = (*OPTIONS, "--ds_config", str(lab.folder / f"zero{zero_stage}.json"))
    run = lab.run(name)
    process = lab.start(name, *options, ranks=before)
    wait_until(lambda: steps_done(run) >= 2, process)
    run.stop_file.touch()
    process.communicate(timeout=SECONDS)
    assert run.state() is State.STOPPED
    assert 0 < run.status.step < run.status.steps
    lab.end(lab.start(name, *options, ranks=after), name)
    assert run.record.world_size == after
    return run


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_without_zero_any_number_of_ranks_goes_on_exactly(
    lab: Lab, whole: list[float], before: int, after: int
) -> None:
    run = change_ranks(lab, f"from-{before}", before, after, zero_stage=0)
    assert max(abs(one - other) for one, other in zip(losses(run), whole, strict=True)) < TOLERANCE
    assert "take from it everything but dropout" in (run.path / "train.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_with_zero_the_weights_are_taken_and_it_is_said(lab: Lab, whole: list[float]) -> None:
    run = change_ranks(lab, "zero", 2, 1, zero_stage=1)
    log = (run.path / "train.log").read_text(encoding="utf-8")
    assert "was saved by 2 ranks with ZeRO 1; now 1 ranks with ZeRO 1 take from it weights and position" in log
    stopped = int(log.partition("going on after step ")[2].split()[0])
    found = losses(run)
    # The step after the stop has the loss of the weights saved; moments from zero show in the steps behind it.
    assert max(abs(one - other) for one, other in zip(found[: stopped + 1], whole, strict=False)) < TOLERANCE
    assert (
        max(abs(one - other) for one, other in zip(found[stopped + 1 :], whole[stopped + 1 :], strict=True)) > TOLERANCE
    )
