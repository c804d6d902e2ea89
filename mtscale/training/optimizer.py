"""Adamax with a parameter group per head, of which only those of a step's own tasks are moved.

DeepSpeed hands the optimizer zero gradients for parameters that a step did not touch, and Adamax moves a weight on a
zero gradient (its momentum runs on). The paper's algorithm updates the shared layers and the heads of the step's own
tasks, so the groups of idle heads are skipped and stay bit-identical. The authors' code moves them so: on request they
are carried on, from the first step that trained them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mtscale.model.trainable import ENCODER, TrainableModel

# Elements that the optimizer's passes over a weight, a gradient and two moments leave in a CPU's cache.
CHUNK = 2**19


class TaskAdamax(torch.optim.Adamax):
    """``torch.optim.Adamax`` with decoupled weight decay, skipping groups whose ``active`` is False.

    A ``carried`` group that has been moved before is moved as by a gradient of zero. Under ZeRO, DeepSpeed calls
    ``step`` once per group with ``param_groups`` set to that group alone.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of the active groups, and of the carried ones."""
        groups = self.param_groups
        active = [group for group in groups if group["active"] or self._carry(group)]
        for group in active:
            touched = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["decay"] and touched:
                torch._foreach_mul_(touched, 1.0 - group["lr"] * group["decay"])
        self.param_groups = active
        try:
            return super().step(closure) if active else None
        finally:
            self.param_groups = groups

    def _carry(self, group: dict[str, Any]) -> bool:
        """Whether a group is to be carried on; its gradients are then zero.

        What has been moved has moments, and they are saved with it: nothing else must be remembered for a resume.
        """
        if not group["carried"] or not any(self.state.get(parameter) for parameter in group["params"]):
            return False
        for parameter in group["params"]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return True

    def _init_group(self, group: dict[str, Any], *columns: list[Tensor]) -> bool:
        """Fill the columns weight, gradient, first moment, norm and step: on a CPU in chunks of large weights."""
        whole: tuple[list[Tensor], ...] = ([], [], [], [], [])
        has_complex: bool = super()._init_group(group, *whole)  # type: ignore[no-untyped-call]
        for weight, gradient, moment, norm, step in zip(*whole, strict=True):
            parts = [(weight, gradient, moment, norm)]
            if weight.device.type == "cpu" and weight.numel() > CHUNK and weight.is_contiguous():
                flat = (tensor.reshape(-1).split(CHUNK) for tensor in (weight, gradient, moment, norm))
                parts = list(zip(*flat, strict=True))
            # torch counts the step of each part on; the first part holds the count that stays.
            for part, count in zip(parts, [step, *(step.clone() for _ in parts[1:])], strict=True):
                for column, tensor in zip(columns, (*part, count), strict=True):
                    column.append(tensor)
        return has_complex


def build_optimizer(model: TrainableModel, learning_rate: float, weight_decay: float) -> TaskAdamax:
    """The optimizer with a decay and a no-decay group for each owner of weights: the encoder, the pooler, each head.

    Biases and layer norms are not decayed, as in the authors' code. No group is empty: DeepSpeed removes empty ones.
    """
    groups: list[dict[str, Any]] = []
    for owner, owned in model.owners():
        parameters = [parameter for parameter in owned if parameter.requires_grad]
        for decay, members in (
            (weight_decay, [parameter for parameter in parameters if parameter.ndim > 1]),
            (0.0, [parameter for parameter in parameters if parameter.ndim <= 1]),
        ):
            if members:
                flags = {"active": owner == ENCODER, "carried": False}
                groups.append({"params": members, "owner": owner, "decay": decay, **flags})
    return TaskAdamax(groups, lr=learning_rate)


def activate(
    optimizer: torch.optim.Optimizer, model: TrainableModel, tasks: Collection[str], *, carry_idle: bool = False
) -> None:
    """Mark the groups that a step on these tasks moves: the encoder, their heads, and the pooler if one reads it.

    With ``carry_idle`` the others are marked to be carried on.
    """
    owners = {ENCODER}.union(*(model.moved_by(task) for task in tasks))
    for group in optimizer.param_groups:
        group["active"] = group["owner"] in owners
        group["carried"] = carry_idle and not group["active"]


@dataclass(frozen=True)
class LinearSchedule:
    """Linear warm-up from 0 over a share of the steps, then linear decay to 0 (section 4.2 of the paper).

    With ``jumps`` as the authors' code has it: the decay is that from the first step on, to which the rate jumps when
    the warm-up has reached the peak.
    """

    peak: float
    steps: int
    warmup: float
    jumps: bool = False

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0. Unless the rate jumps, the first step moves already."""
        if self.jumps:
            done = step / self.steps
            return self.peak * (done / self.warmup if done < self.warmup else 1 - done)
        warmup_steps = round(self.steps * self.warmup)
        if step < warmup_steps:
            return self.peak * (step + 1) / (warmup_steps + 1)
        return self.peak * (self.steps - step) / max(1, self.steps - warmup_steps)
