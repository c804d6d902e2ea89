"""What tasks do to each other while they are trained together, sampled every so many steps.

For tasks i and j with losses L and gradients g on the shared encoder, each on a mini-batch of its training rows:

    cosine     g_i . g_j / (|g_i| |g_j|)
    lookahead  1 - L_j(encoder - rate x g_i) / L_j(encoder)

The second is the affinity of Fifty et al. 2021 ("Efficiently Identifying Task Groupings for Multi-Task Learning",
arXiv:2109.04617): above 0, a step on i lowers the loss of j. ``rate`` is the recipe's peak learning rate, so that
values of different times compare, and the step that of plain gradient descent, g_i being the gradient of the objective
(``loss_weight`` included), clipped.

Training sees nothing of it: dropout is off, rows are drawn by a generator of their own, gradients are of tensors that
share the weights' memory or copy it. All is computed in float32, since a step changes a loss by less than 16 bits show.
With T tasks a sample costs T passes forward and backward and T (T - 1) forward, on a mini-batch each. In memory are T
gradients and one more tensor of the encoder's size in float32, and another where weights have 16 bits.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from mtscale import names
from mtscale.ds_config import ResolvedDsConfig
from mtscale.inputs.batches import Batch, collate, slice_rows
from mtscale.inputs.cache import EncodedSplit
from mtscale.inputs.schedule import Schedule
from mtscale.model.heads import loss_sum
from mtscale.model.multitask import MultiTaskModel
from mtscale.recipe_sections import StageSettings
from mtscale.training.distributed import Ranks, sum_over_ranks

_ENCODER = "encoder."

Weights = Mapping[str, Tensor]


class AffinityProbe:
    """Measures the affinities of a run's tasks; ``train`` holds their training rows. Every rank works on its slices."""

    def __init__(
        self,
        model: MultiTaskModel,
        train: Mapping[str, EncodedSplit],
        schedule: Schedule,
        settings: StageSettings,
        resolved: ResolvedDsConfig,
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self._model = model
        self._train = train
        self._schedule = schedule
        self._every = settings.affinity_every
        self._rate, self._clip = settings.learning_rate, settings.clip
        self._accumulation = resolved.accumulation
        self._ranks = ranks
        self._device = device
        self._began = time.perf_counter()
        self._seconds = 0.0

    def is_due(self, step: int) -> bool:
        """Whether to measure after a step (from 1). Never for a single task."""
        return self._every is not None and len(self._train) > 1 and step % self._every == 0

    def measure(self, step: int) -> dict[str, float]:
        """The affinities of all pairs of tasks by name, and what they took. Every rank must call it at the same step.

        A value that is not finite is left out.
        """
        started = time.perf_counter()
        slices = {task: self._slices(task, step) for task in self._train}
        with self._apart() as weights:
            steps, before = self._gradients(weights, slices)
            after = self._losses_after(weights, steps, slices)
        values = self._by_pair(steps, before, sum_over_ranks(after, self._ranks))
        self._seconds += (took := time.perf_counter() - started)
        share = self._seconds / (time.perf_counter() - self._began)
        return values | {names.AFFINITY_SECONDS: took, names.AFFINITY_SHARE: share}

    def _slices(self, task: str, step: int) -> tuple[int, list[Batch]]:
        """The global number of loss terms of a task's sample, and this rank's slices of it that are not empty."""
        split = self._train[task]
        rows = self._schedule.sample(task, step)
        own = slice_rows(rows, self._ranks.world_size, self._accumulation, self._ranks.rank)
        batches = [collate(split.rows, part, split.task.kind).to(self._device) for part in own if len(part)]
        return int(split.terms[rows].sum()), batches

    @contextlib.contextmanager
    def _apart(self) -> Iterator[Weights]:
        """All weights in float32, the encoder's as leaves of a graph of their own; within, dropout is off."""
        training = self._model.training
        weights = {name: parameter.detach().float() for name, parameter in self._model.named_parameters()}
        for name, tensor in weights.items():
            tensor.requires_grad_(name.startswith(_ENCODER))
        self._model.train(False)
        try:
            with torch.autocast(self._device.type, enabled=False):
                yield weights
        finally:
            self._model.train(training)

    def _loss(self, task: str, weights: Weights, batch: Batch, terms: int) -> Tensor:
        """A slice's share of the mean loss of a task's sample."""
        inputs = task, batch.input_ids, batch.token_type_ids, batch.layout, batch.read
        logits = functional_call(self._model, dict(weights), inputs)
        assert batch.labels is not None
        return loss_sum(self._model.tasks[task].kind, logits, batch.labels) / terms

    def _gradients(self, weights: Weights, slices: Mapping[str, tuple[int, Sequence[Batch]]]) -> tuple[Tensor, Tensor]:
        """(T, encoder weights): the clipped gradients of the tasks' objectives; and (T) their losses."""
        encoder = [tensor for name, tensor in weights.items() if name.startswith(_ENCODER)]
        sizes = [tensor.numel() for tensor in encoder]
        gradients = torch.zeros(len(slices), sum(sizes), device=self._device)
        losses = torch.zeros(len(slices), device=self._device)
        for place, (task, (terms, batches)) in enumerate(slices.items()):
            for batch in batches:
                loss = self._loss(task, weights, batch, terms)
                objective = self._model.head(task).objective(loss, 0.0)
                parts = torch.autograd.grad(objective, encoder, materialize_grads=True)
                for sums, part in zip(torch.split(gradients[place], sizes), parts, strict=True):
                    sums += part.flatten()
                losses[place] += loss.detach()
            sum_over_ranks(gradients[place], self._ranks)
            gradients[place] *= torch.clamp(self._clip / gradients[place].norm(), max=1.0)
        return gradients, sum_over_ranks(losses, self._ranks)

    @torch.no_grad()
    def _losses_after(
        self, weights: Weights, steps: Tensor, slices: Mapping[str, tuple[int, Sequence[Batch]]]
    ) -> Tensor:
        """(T, T): this rank's share of each task's loss (column) after a step on each other task (row)."""
        after = torch.zeros(len(slices), len(slices), device=self._device)
        encoder = {name: tensor for name, tensor in weights.items() if name.startswith(_ENCODER)}
        sizes = [tensor.numel() for tensor in encoder.values()]
        for source, step in enumerate(steps):
            parts = zip(encoder.items(), torch.split(step, sizes), strict=True)
            moved = {name: tensor - self._rate * part.view_as(tensor) for (name, tensor), part in parts}
            for target, (task, (terms, batches)) in enumerate(slices.items()):
                if target != source:
                    for batch in batches:
                        after[source, target] += self._loss(task, {**weights, **moved}, batch, terms)
        return after

    def _by_pair(self, steps: Tensor, before: Tensor, after: Tensor) -> dict[str, float]:
        lengths = steps.norm(dim=1)
        cosines = (steps @ steps.T / torch.outer(lengths, lengths)).tolist()
        gains = (1 - after / before).tolist()
        values = {}
        for source, one in enumerate(self._train):
            for target, other in enumerate(self._train):
                if target != source:
                    values[names.cosine(one, other)] = cosines[source][target]
                    values[names.lookahead(one, other)] = gains[source][target]
        return {name: value for name, value in values.items() if math.isfinite(value)}
