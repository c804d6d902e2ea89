"""Affinities of tasks against gradients, steps and losses of Hugging Face's own model, with plain torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mtscale import names, recipe
from mtscale.ds_config import ResolvedDsConfig
from mtscale.inputs.cache import EncodedSplit, open_split
from mtscale.inputs.encode import PieceVocabulary
from mtscale.inputs.schedule import Schedule
from mtscale.model.encoder import load_encoder
from mtscale.model.multitask import MultiTaskModel
from mtscale.recipe_sections import StageSettings
from mtscale.tasks import Kind, Task
from mtscale.training.affinity import AffinityProbe
from mtscale.training.distributed import Ranks
from tests.lab import Lab
from tests.test_training_equality import SEED, PlainModel

SETTINGS = StageSettings(batch_size=6, learning_rate=0.05, clip=0.5, affinity_every=4)
STEP = 8


@dataclass(frozen=True)
class Bench:
    """A small mixture, mtscale's model with dropout, and the plain one with the same weights and none."""

    tasks: tuple[Task, ...]
    splits: Mapping[str, EncodedSplit]
    schedule: Schedule
    model: MultiTaskModel
    plain: PlainModel

    def probe(self, accumulation: int = 1, tasks: int = 4) -> AffinityProbe:
        resolved = ResolvedDsConfig({}, "fp32", 0, 6, accumulation)
        train = dict(list(self.splits.items())[:tasks])
        alone, device = Ranks(0, 0, 1, 1), torch.device("cpu")
        return AffinityProbe(self.model, train, self.schedule, SETTINGS, resolved, alone, device)

    def gradient(self, task: Task) -> tuple[Tensor, float]:
        """The clipped gradient on the encoder, without its pooler, and the loss."""
        self.plain.zero_grad()
        loss = self.plain.loss(self.splits[task.name], self.schedule.sample(task.name, STEP).tolist())
        (task.loss_weight * loss).sum().backward()
        whole = torch.cat([weight.grad.flatten() for weight in shared(self.plain) if weight.grad is not None])
        return whole * min(1.0, SETTINGS.clip / float(whole.norm())), float(loss.detach())


def shared(plain: PlainModel) -> list[Tensor]:
    return [weight for name, weight in plain.bert.named_parameters() if not name.startswith("pooler")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, tiny_vocabulary: PieceVocabulary) -> Bench:
    lab = Lab(tmp_path_factory.mktemp("affinity"))
    lab.write(tiny_encoder)
    loaded = recipe.load(lab.folder / "recipe.toml")
    weights = (1.0, 2.0, 0.25, 1.0)
    tasks = tuple(
        replace(table.resolve(None, lab.folder), loss_weight=weight)
        for table, weight in zip(loaded.tasks, weights, strict=True)
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MTSCALE_CACHE", str(lab.folder / "cache"))
        splits = {task.name: open_split(task, "train", None, tiny_vocabulary, 64) for task in tasks}
    schedule = Schedule({name: split.lengths for name, split in splits.items()}, SETTINGS.batch_size, SEED)
    encoder, _ = load_encoder(str(tiny_encoder), 0.3, 64)
    means = {
        task.name: float(np.mean(splits[task.name].rows["score"])) for task in tasks if task.kind is Kind.SIMILARITY
    }
    model = MultiTaskModel(encoder, tasks, 0.3, SEED, means).train()
    return Bench(tasks, splits, schedule, model, PlainModel(tiny_encoder, splits, learned_weights=False))


def test_cosines_are_those_of_gradients_by_hand(bench: Bench) -> None:
    found = bench.probe().measure(STEP)
    gradients = {task.name: bench.gradient(task)[0] for task in bench.tasks}
    for one, first in gradients.items():
        for other, second in gradients.items():
            if one != other:
                expected = torch.nn.functional.cosine_similarity(first, second, dim=0).item()
                assert found[names.cosine(one, other)] == pytest.approx(expected, abs=1e-5)
            else:
                assert names.cosine(one, other) not in found
    assert len(found) == 2 * 12 + 2
    assert max(abs(found[names.cosine(one, other)]) for one in gradients for other in gradients if one != other) > 0.05


@pytest.mark.parametrize("accumulation", [1, 4])
def test_lookahead_is_the_loss_after_a_step_by_hand(bench: Bench, accumulation: int) -> None:
    found = bench.probe(accumulation).measure(STEP)
    known = {task.name: bench.gradient(task) for task in bench.tasks}
    shown = []
    for source, (gradient, _) in known.items():
        moved = copy.deepcopy(bench.plain)
        with torch.no_grad():
            for weight, part in zip(
                shared(moved), gradient.split([weight.numel() for weight in shared(moved)]), strict=True
            ):
                weight -= SETTINGS.learning_rate * part.view_as(weight)
            for target, (_, before) in known.items():
                if target != source:
                    rows = bench.schedule.sample(target, STEP).tolist()
                    after = float(moved.loss(bench.splits[target], rows))
                    shown.append(1 - after / before)
                    assert found[names.lookahead(source, target)] == pytest.approx(shown[-1], abs=1e-5)
    assert max(map(abs, shown)) > 1e-3


def test_training_sees_nothing_of_a_sample(bench: Bench) -> None:
    for number, weight in enumerate(bench.model.parameters()):
        weight.grad = torch.full_like(weight, 0.5) if number % 2 else None
    before = copy.deepcopy(bench.model.state_dict())
    epoch = [(batch.task, batch.rows.tolist()) for batch in bench.schedule.epoch(1)]
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    bench.probe().measure(STEP)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.get_state()[1].tolist() == numpy_state
    assert all(torch.equal(tensor, before[name]) for name, tensor in bench.model.state_dict().items())
    for number, weight in enumerate(bench.model.parameters()):
        assert weight.requires_grad
        assert (weight.grad is None) if number % 2 == 0 else bool((weight.grad == 0.5).all())
    assert bench.model.training
    assert bench.model.encoder.training
    assert [(batch.task, batch.rows.tolist()) for batch in bench.schedule.epoch(1)] == epoch


def test_samples_differ_by_step_and_repeat(bench: Bench) -> None:
    (task, *_) = bench.splits
    one, again, other = (bench.schedule.sample(task, step).tolist() for step in (4, 4, 8))
    assert one == again != other
    assert len(set(one)) == len(one) == SETTINGS.batch_size


def test_every_so_many_steps_and_never_for_one_task(bench: Bench) -> None:
    assert [step for step in range(1, 13) if bench.probe().is_due(step)] == [4, 8, 12]
    assert not any(bench.probe(tasks=1).is_due(step) for step in range(1, 13))


def test_a_sample_says_what_it_took(bench: Bench) -> None:
    found = bench.probe().measure(STEP)
    assert found[names.AFFINITY_SECONDS] > 0
    assert 0 < found[names.AFFINITY_SHARE] <= 1


def test_finetuning_does_not_inherit_it() -> None:
    text = {"name": "m", "tasks": [{"name": "cdr-disease"}], "refine": {"affinity_every": 5}}
    read = recipe.Recipe.model_validate(text)
    assert read.settings("refine").affinity_every == 5
    assert read.settings("finetune").affinity_every is None


def test_names_of_two_tasks_are_taken_apart() -> None:
    assert names.parse(names.lookahead("a", "b")) == names.MetricName("affinity", "a", "lookahead", "b")
