from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.model.encoder import load_encoder
from mtscale.model.multitask import MultiTaskModel, head_name
from mtscale.model.trainable import ENCODER, POOLER
from mtscale.tasks import TASKS
from mtscale.training import optimizer as optimizer_module
from mtscale.training.optimizer import LinearSchedule, TaskAdamax, activate, build_optimizer

RATE, DECAY = 0.02, 0.1
TASK_NAMES = ("cdr-disease", "cdr-similarity", "evidence-inference")


@pytest.fixture
def model(tiny_encoder: Path) -> MultiTaskModel:
    encoder, _ = load_encoder(str(tiny_encoder), 0.0, 64)
    return MultiTaskModel(encoder, [TASKS[name] for name in TASK_NAMES], 0.0, seed=1, mean_scores={})


def give_gradients(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def owner_of(name: str) -> str:
    """Whose a parameter of the model is, told from its name."""
    if name.startswith("heads."):
        return name.split(".")[1].removesuffix("_head")
    return name.split(".")[0]


def test_active_groups_move_as_torch_adamax_with_decoupled_decay(model: MultiTaskModel) -> None:
    by_hand = copy.deepcopy(model)
    plain = torch.optim.Adamax(by_hand.parameters(), lr=RATE)
    optimizer = build_optimizer(model, RATE, DECAY)
    activate(optimizer, model, TASK_NAMES)
    for step in range(4):
        give_gradients(model, step)
        give_gradients(by_hand, step)
        optimizer.step()
        with torch.no_grad():
            for name, parameter in by_hand.named_parameters():
                if not (name.endswith("bias") or "LayerNorm" in name):
                    parameter.mul_(1 - RATE * DECAY)
        plain.step()
    expected = dict(by_hand.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-6, atol=1e-7, msg=name)


def test_adamax_is_the_published_rule() -> None:
    """Kingma and Ba 2015, algorithm 2, with the weight decayed first; three steps of one weight in plain numbers."""
    weight = torch.nn.Parameter(torch.tensor([[2.0]]))
    optimizer = TaskAdamax([{"params": [weight], "decay": DECAY, "active": True}], lr=RATE)
    value, moment, largest = 2.0, 0.0, 0.0
    for step, gradient in enumerate([0.5, -2.0, 0.25], start=1):
        weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        value *= 1 - RATE * DECAY
        moment = 0.9 * moment + 0.1 * gradient
        largest = max(0.999 * largest, abs(gradient))
        value -= RATE / (1 - 0.9**step) * moment / largest
        assert weight.item() == pytest.approx(value, rel=1e-6)


def test_large_weights_are_updated_in_chunks_as_torch_updates_them_whole() -> None:
    start = torch.randn(3, optimizer_module.CHUNK // 2, generator=torch.Generator().manual_seed(1))
    weight, plain_weight = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizer = TaskAdamax([{"params": [weight], "decay": 0.0, "active": True}], lr=RATE)
    plain = torch.optim.Adamax([plain_weight], lr=RATE)
    for step in range(3):
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
        plain_weight.grad = weight.grad.clone()
        optimizer.step()
        plain.step()
    assert torch.equal(weight, plain_weight)
    assert optimizer.state[weight]["step"].item() == 3
    assert torch.equal(optimizer.state[weight]["exp_avg"], plain.state[plain_weight]["exp_avg"])


@pytest.mark.parametrize("zero", [True, False])
def test_idle_heads_stay_bit_identical(model: MultiTaskModel, zero: bool) -> None:
    optimizer = build_optimizer(model, RATE, DECAY)
    activate(optimizer, model, TASK_NAMES)
    give_gradients(model, 1)
    optimizer.step()
    before = copy.deepcopy(model.state_dict())
    state_before = copy.deepcopy(optimizer.state_dict()["state"])

    activate(optimizer, model, ["evidence-inference"])
    give_gradients(model, 2)
    for task in ("cdr-disease", "cdr-similarity"):
        for parameter in model.heads[head_name(task)].parameters():
            parameter.grad = torch.zeros_like(parameter) if zero else torch.ones_like(parameter)
    optimizer.step()

    for name, tensor in model.state_dict().items():
        idle = owner_of(name) in {"cdr-disease", "cdr-similarity"}
        assert torch.equal(tensor, before[name]) is idle, name
    saved = optimizer.state_dict()
    resting = [number for group in saved["param_groups"] if not group["active"] for number in group["params"]]
    assert len(resting) == 4
    for number, state in saved["state"].items():
        assert state["step"] == (1 if number in resting else 2)
    assert all(torch.equal(saved["state"][number]["exp_avg"], state_before[number]["exp_avg"]) for number in resting)


def test_the_pooler_rests_while_only_tagging_is_trained(model: MultiTaskModel) -> None:
    optimizer = build_optimizer(model, RATE, DECAY)

    def active(*tasks: str) -> set[str]:
        activate(optimizer, model, tasks)
        return {group["owner"] for group in optimizer.param_groups if group["active"]}

    assert active("cdr-disease") == {ENCODER, "cdr-disease"}
    assert active("cdr-similarity") == {ENCODER, POOLER, "cdr-similarity"}
    assert active("cdr-disease", "evidence-inference") == {ENCODER, POOLER, "cdr-disease", "evidence-inference"}


def test_every_parameter_is_in_one_group_of_its_owner(model: MultiTaskModel) -> None:
    optimizer = build_optimizer(model, RATE, DECAY)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    grouped = [
        (names.pop(id(parameter)), group["owner"], group["decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert names == {}
    for name, owner, decay in grouped:
        assert owner == owner_of(name)
        assert decay == (0.0 if name.endswith("bias") or "LayerNorm" in name else DECAY), name
    assert all(group["params"] for group in optimizer.param_groups)


def test_a_step_without_an_active_group_changes_nothing(model: MultiTaskModel) -> None:
    optimizer = build_optimizer(model, RATE, DECAY)
    groups = optimizer.param_groups
    for group in groups:
        group["active"] = False
    give_gradients(model, 1)
    before = copy.deepcopy(model.state_dict())
    assert optimizer.step() is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert optimizer.param_groups is groups


def test_the_groups_are_all_there_again_after_a_failed_step(model: MultiTaskModel) -> None:
    optimizer = build_optimizer(model, RATE, DECAY)
    groups = optimizer.param_groups
    give_gradients(model, 1)

    def fail() -> float:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        optimizer.step(fail)
    assert optimizer.param_groups is groups


def test_learning_rates_of_known_steps() -> None:
    schedule = LinearSchedule(peak=1.0, steps=10, warmup=0.3)
    expected = [1 / 4, 2 / 4, 3 / 4, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]
    assert [schedule.at(step) for step in range(10)] == pytest.approx(expected)


def test_without_warmup_the_first_step_has_the_peak() -> None:
    schedule = LinearSchedule(peak=0.5, steps=5, warmup=0.0)
    assert [schedule.at(step) for step in range(5)] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


@settings(deadline=None, max_examples=200)
@given(steps=st.integers(1, 5000), warmup=st.floats(0, 0.99))
def test_rates_rise_to_the_peak_then_fall_and_every_step_moves(steps: int, warmup: float) -> None:
    schedule = LinearSchedule(peak=3e-4, steps=steps, warmup=warmup)
    rates = [schedule.at(step) for step in range(steps)]
    top = rates.index(max(rates))
    assert all(one < two for one, two in pairwise(rates[: top + 1]))
    assert all(one > two for one, two in pairwise(rates[top:]))
    assert min(rates) > 0
    assert max(rates) <= 3e-4 * (1 + 1e-12)
    if round(steps * warmup) < steps:
        assert top == round(steps * warmup)
        assert rates[top] == pytest.approx(3e-4)
