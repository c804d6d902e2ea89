"""The switches of ``[paper]`` that change training, against what the authors' code does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtscale.model.encoder import load_encoder
from mtscale.model.heads import Head
from mtscale.model.multitask import MultiTaskModel, head_name
from mtscale.model.packing import Layout
from mtscale.tasks import TASKS, Kind
from mtscale.training.optimizer import LinearSchedule, TaskAdamax, activate, build_optimizer
from tests.lab import launch

NER, STS = TASKS["cdr-disease"], TASKS["cdr-similarity"]
RATE, DECAY = 0.02, 0.1


# The learning rate


def authors_rates(steps: int, warmup: float) -> Iterator[float]:
    """``warmup_linear`` of pytorch_pretrained_bert 0.6.0 as its optimizer calls it: ``state["step"] / t_total``."""
    for state_step in range(steps):
        x = state_step / steps
        yield x / warmup if x < warmup else 1.0 - x


@given(steps=st.integers(1, 400), warmup=st.floats(0, 0.9))
def test_the_rate_jumps_as_that_of_the_authors(steps: int, warmup: float) -> None:
    schedule = LinearSchedule(peak=3e-4, steps=steps, warmup=warmup, jumps=True)
    found = [schedule.at(step) for step in range(steps)]
    assert found == pytest.approx([3e-4 * rate for rate in authors_rates(steps, warmup)])


def test_the_first_rate_is_zero_and_the_peak_is_never_reached() -> None:
    rates = [LinearSchedule(1.0, 100, 0.1, jumps=True).at(step) for step in range(100)]
    assert rates[0] == 0
    assert rates[8:12] == pytest.approx([0.8, 0.9, 0.9, 0.89])


# Idle heads

TASK_NAMES = ("cdr-disease", "cdr-similarity", "evidence-inference")


def make_model(encoder_folder: Path) -> MultiTaskModel:
    encoder, _ = load_encoder(str(encoder_folder), 0.0, 64)
    return MultiTaskModel(encoder, [TASKS[name] for name in TASK_NAMES], 0.0, seed=1, mean_scores={})


class AuthorsSteps:
    """torch 1.1: ``zero_grad`` leaves zeros where a gradient was, and the optimizer steps wherever there is one."""

    def __init__(self, model: MultiTaskModel) -> None:
        self.weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        self._state: dict[str, tuple[torch.Tensor, torch.Tensor, int]] = {}

    def step(self, gradients: dict[str, torch.Tensor]) -> None:
        for name, weight in self.weights.items():
            if name not in gradients and name not in self._state:
                continue
            gradient = gradients.get(name, torch.zeros_like(weight))
            moment, largest, count = self._state.get(name, (torch.zeros_like(weight), torch.zeros_like(weight), 0))
            moment = 0.9 * moment + 0.1 * gradient
            largest = torch.maximum(0.999 * largest, gradient.abs() + 1e-8)
            if weight.ndim > 1:
                weight *= 1 - RATE * DECAY
            weight -= RATE / (1 - 0.9 ** (count + 1)) * moment / largest
            self._state[name] = moment, largest, count + 1


def is_of_step(name: str, task: str) -> bool:
    if name.startswith("heads."):
        return name.startswith(f"heads.{head_name(task)}.")
    return not name.startswith("pooler.") or TASKS[task].kind is not Kind.TAGGING


def take_step(
    model: MultiTaskModel, optimizer: TaskAdamax, task: str, seed: int, idle: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """A step with random gradients; idle parameters have none, or what DeepSpeed makes of that: zeros."""
    generator = torch.Generator().manual_seed(seed)
    gradients = {}
    for name, parameter in model.named_parameters():
        parameter.grad = None if idle is None else torch.zeros_like(parameter)
        if is_of_step(name, task):
            gradients[name] = torch.randn(parameter.shape, generator=generator)
            parameter.grad = gradients[name].clone()
    activate(optimizer, model, [task], carry_idle=True)
    optimizer.step()
    return gradients


SEQUENCE = ("cdr-disease", "evidence-inference", "cdr-disease", "cdr-similarity", "cdr-disease", "evidence-inference")


@pytest.mark.parametrize("idle", [None, torch.zeros(())], ids=["no gradient", "zeros"])
def test_idle_heads_are_carried_on_as_by_the_authors(tiny_encoder: Path, idle: torch.Tensor | None) -> None:
    model = make_model(tiny_encoder)
    optimizer = build_optimizer(model, RATE, DECAY)
    authors = AuthorsSteps(model)
    for step, task in enumerate(SEQUENCE):
        authors.step(take_step(model, optimizer, task, step, idle))
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter, authors.weights[name], rtol=1e-5, atol=1e-6, msg=f"{step} {name}")


def test_carried_heads_go_on_exactly_after_a_resume(tiny_encoder: Path) -> None:
    model = make_model(tiny_encoder)
    optimizer = build_optimizer(model, RATE, DECAY)
    for step, task in enumerate(SEQUENCE[:3]):  # one head is not trained before the state is saved
        take_step(model, optimizer, task, step, None)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    resumed = make_model(tiny_encoder)
    resumed.load_state_dict(saved[0])
    other = build_optimizer(resumed, RATE, DECAY)
    other.load_state_dict(saved[1])
    for step, task in enumerate(SEQUENCE[3:]):
        take_step(model, optimizer, task, step, None)
        take_step(resumed, other, task, step, None)
    weights = resumed.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_engines_carry_heads_from_their_first_step_on(ranks: int, tiny_encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "moved.json"
    launch(Path(__file__).with_name("carried_worker.py"), ranks, [str(tiny_encoder), str(output)], tmp_path / "cache")
    records = json.loads(output.read_text(encoding="utf-8"))
    assert [record["zero"] for record in records] == [0] * 10 + [1] * 10
    for stage in (records[:10], records[10:]):
        trained: set[str] = set()
        for record in stage:
            trained |= {"encoder", record["task"]}
            trained |= {"pooler"} if TASKS[record["task"]].kind is not Kind.TAGGING else set()
            assert set(record["moved"]) == trained, record
            assert len(set(record["digests"])) == 1, record


# Dropout


def test_a_mask_is_one_of_its_example() -> None:
    head = Head(NER, 400, 0.25, seed=1, piece_classes=True)
    head.output = torch.nn.Identity()  # type: ignore[assignment]
    example = torch.tensor([0, 0, 0, 2, 2, 1])
    torch.manual_seed(3)
    dropped = head(torch.ones(6, 400), example, 3)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert torch.equal(dropped[0], dropped[1])
    assert torch.equal(dropped[3], dropped[4])
    differ = [(dropped[one] != dropped[other]).float().mean().item() for one, other in ((0, 3), (3, 5), (0, 5))]
    assert all(0.25 < share < 0.5 for share in differ)  # 2 * 0.25 * 0.75 for independent masks
    assert 0.17 < (dropped[[0, 3, 5]] == 0).float().mean().item() < 0.33
    head.eval()
    assert torch.equal(head(torch.ones(6, 400), example, 3), torch.ones(6, 400))


def test_only_tagging_heads_share_masks(tiny_encoder: Path) -> None:
    encoder, _ = load_encoder(str(tiny_encoder), 0.0, 64)
    tasks = [NER, STS]
    model = MultiTaskModel(encoder, tasks, 0.5, 1, {}, dropout_per_example=True).train()
    seen: list[torch.Tensor | None] = []
    for task in tasks:
        model.head(task.name).register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    layout = Layout.of(np.array([4, 3]))
    ids = torch.arange(5, 12)
    for task, read in ((NER, [1, 2, 5]), (STS, [0, 4])):
        model(task.name, ids, torch.zeros_like(ids), layout, torch.tensor(read))
    assert seen[0] is not None
    assert seen[0].tolist() == [0, 0, 1]
    assert seen[1] is None
