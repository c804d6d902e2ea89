"""The facts of the installed DeepSpeed on which the refusals of ``ds_rules`` and the engine's ways rest.

A test that fails here after an upgrade says that DeepSpeed has changed: look whether its rule is still needed.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.lab import SECONDS, launch

WORKER = Path(__file__).with_name("claims_worker.py")
ALONE = (
    "loss_scale",
    "first_step",
    "idle_heads",
    "norms",
    "overflow_check",
    "dynamic_scale",
    "wrappers",
    "refusals",
    "shm_operator",
    "universal",
    "half_autocast",  # the last, because DeepSpeed's autocast stays on in the process
)
TOGETHER = ("tasks_apart", "reductions")
ROUNDING = 1e-6
Facts = Mapping[str, Any]


def measure(ranks: int, claims: tuple[str, ...], folder: Path) -> Facts:
    launch(WORKER, ranks, [str(folder / "facts.json"), *claims], folder / "cache")
    facts: Facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    return facts


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return measure(1, ALONE, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return measure(2, TOGETHER, tmp_path_factory.mktemp("together"))


# Precision


def test_fp16_without_zero_divides_by_a_scale_it_has_not_multiplied_by(alone: Facts) -> None:
    assert alone["loss_scale"]["0"] == pytest.approx(1 / 2**4, rel=0.05)
    assert alone["loss_scale"]["1"] == pytest.approx(1, rel=0.05)


def test_fp16_is_refused_by_processors_without_it_after_the_model_has_loaded(alone: Facts) -> None:
    if alone["fp16 supported"]:
        pytest.skip("this processor multiplies fp16")
    assert "fp16 is not supported" in alone["fp16 here"]


def test_bf16_without_zero_takes_a_step_before_the_first_batch(alone: Facts) -> None:
    steps, moved = alone["first_step"]["0"]
    assert steps == 1
    assert moved > 1e-3
    assert alone["first_step"]["1"] == [0, 0]


def test_half_autocast_under_zero_clips_scaled_gradients_and_never_lowers_the_scale(alone: Facts) -> None:
    clipped, scales = alone["half_autocast"]["clipped"], alone["half_autocast"]["scales"]
    assert clipped["0"] == pytest.approx(1, rel=0.01)
    assert clipped["1"] < 1e-3
    assert len(set(scales)) == 1


def test_a_dynamic_scale_is_halved_at_an_overflow_and_ends_the_run_at_its_minimum(alone: Facts) -> None:
    found = alone["dynamic_scale"]
    assert found["seen"] == [[16, True], [8, False], [4, False], [4, True], [2, False], [1, False]]
    assert "already at minimum" in found["end"]


def test_without_its_check_bf16_lets_a_gradient_that_is_not_finite_through(alone: Facts) -> None:
    assert alone["overflow_check"] == {"True": True, "False": False}


def test_torch_counts_emulation_as_bf16_support() -> None:
    import torch

    assert inspect.signature(torch.cuda.is_bf16_supported).parameters["including_emulation"].default is True


def test_deepspeed_chooses_its_optimizer_by_precision_and_stage(alone: Facts) -> None:
    assert alone["wrappers"] == {
        "fp32 0": "SGD",
        "fp32 1": "DeepSpeedZeroOptimizer",
        "bf16 0": "FP16_UnfusedOptimizer",
        "bf16 1": "DeepSpeedZeroOptimizer",
        "bf16 1 fp32 sum": "BF16_Optimizer",
        "bf16 2 fp32 sum": "DeepSpeedZeroOptimizer",
    }


# Heads and gradients


def test_plain_adamax_moves_idle_heads_in_every_stage_that_reduces(alone: Facts) -> None:
    moved = alone["idle_heads"]
    assert moved.pop("0 False") == 0
    assert moved.keys() == {"0 True", "1 True", "2 True"}
    assert all(distance > 1e-3 for distance in moved.values())


def test_no_norm_is_reported_without_zero(alone: Facts) -> None:
    assert alone["norms"]["0"] is None
    assert alone["norms"]["1"] > 0
    assert "requires gradient_clipping=0" in alone["norms"]["refused"]


@pytest.mark.slow
def test_different_tasks_on_ranks_mix_heads_of_one_size_without_an_error(together: Facts) -> None:
    assert together["tasks_apart"]["0"] < ROUNDING
    assert together["tasks_apart"]["1"] > 0.1


@pytest.mark.slow
def test_different_tasks_on_ranks_fail_with_heads_of_two_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSPEED_TIMEOUT", "1")  # minutes: one rank may wait for ever for the other
    with pytest.raises(AssertionError):
        launch(WORKER, 2, [str(tmp_path / "facts.json"), "tasks_apart_uneven"], tmp_path)


@pytest.mark.slow
def test_overlapping_leaves_heads_of_earlier_micro_batches_unreduced_in_stage_1(together: Facts) -> None:
    errors = dict(together["reductions"])
    assert errors.pop("overlap 1") > 0.1
    assert errors.keys() == {"plain 1", "plain 2", "overlap 2", "apart 1", "apart 2"}
    assert all(error < ROUNDING for error in errors.values())


@pytest.mark.slow
def test_bf16_gradients_of_four_ranks_are_summed_more_exactly_in_float32(tmp_path: Path) -> None:
    errors = measure(4, ("communication",), tmp_path)["communication"]
    # Both are rounded to bf16 at the end, by 2^-9 at most.
    assert errors["bf16 fp32"] < 2**-9 < errors["bf16 bf16"]
    assert errors["fp16 fp32"] < errors["fp16 fp16"] < 2**-9


# What DeepSpeed itself refuses, and what it lets pass


def test_some_configs_meet_an_error_only_when_the_model_has_loaded(alone: Facts) -> None:
    refused = alone["refusals"]
    assert refused["untested optimizer"].startswith("AssertionError")
    assert refused["offload"].startswith("ZeRORuntimeException")
    assert refused["elasticity"].startswith("DeepSpeedConfigError")
    assert refused["misspelt in a block"].startswith("ValidationError")
    assert refused["fp16 masters"]


def test_keys_that_are_misspelt_at_the_top_or_in_checkpoint_are_ignored(alone: Facts) -> None:
    assert alone["refusals"]["misspelt at the top"] == ""
    assert alone["refusals"]["misspelt in checkpoint"] == ""


def test_the_universal_converter_does_not_know_adamax(alone: Facts) -> None:
    assert "exp_inf" in alone["universal"]["moments"]
    assert "exp_avg_sq" in alone["universal"]["problem"]


def test_no_compiler_is_asked_for_the_operator_that_training_does_not_use(alone: Facts) -> None:
    assert alone["shm_operator"] == [0, 1]


def test_the_defaults_that_are_overridden() -> None:
    script = (
        "from deepspeed.runtime.config import DeepSpeedConfig;"
        "read = DeepSpeedConfig({'train_micro_batch_size_per_gpu': 1});"
        "print(read.gradient_clipping, read.timers_config.enabled, read.timers_config.synchronized,"
        " read.zero_config.reduce_bucket_size, read.zero_config.overlap_comm)"
    )
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout.split()[-5:] == ["1.0", "True", "True", "500000000", "False"]
