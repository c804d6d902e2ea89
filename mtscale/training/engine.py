"""DeepSpeed behind what the loop needs: one optimizer step on a global mini-batch, forward passes, saving, loading.

The loss of a step is a sum over the global mini-batch divided by its global number of terms (examples; for tagging,
labelled words), whatever the ranks and the accumulation: 1 rank, N ranks and any micro-batch give the same update.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import deepspeed
import torch
from torch import Tensor

from mtscale.ds_config import ResolvedDsConfig
from mtscale.inputs.batches import Batch
from mtscale.model.trainable import TrainableModel
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.training.distributed import Ranks
from mtscale.training.optimizer import LinearSchedule, activate, build_optimizer
from mtscale.training.saved_states import read_state


@dataclass(frozen=True)
class StepResult:
    """One optimizer step. ``loss``: this rank's share of the global mean; ``applied``: False if it was skipped."""

    loss: Tensor
    grad_norm: Tensor
    learning_rate: float
    applied: bool


class StepSettings(Protocol):
    """What a step takes from the settings of its stage."""

    @property
    def learning_rate(self) -> float:
        """The peak of the learning rate."""

    @property
    def warmup(self) -> float:
        """The share of the steps over which it rises."""

    @property
    def weight_decay(self) -> float:
        """The decoupled decay of weights."""

    @property
    def clip(self) -> float:
        """The largest global gradient norm."""


class Engine:
    """A model under DeepSpeed."""

    def __init__(
        self,
        model: TrainableModel,
        settings: StepSettings,
        resolved: ResolvedDsConfig,
        steps: int,
        ranks: Ranks,
        device: torch.device,
        procedure: PaperSettings = CLEAN_PROCEDURE,
    ) -> None:
        self.model = model
        self.resolved = resolved
        self.ranks = ranks
        self.device = device
        self._clip = settings.clip
        jumps = procedure.after_warmup == "jump"
        self._schedule = LinearSchedule(settings.learning_rate, steps, settings.warmup, jumps)
        self._carry_idle = procedure.idle_heads == "zero_grad"
        # Stage 0 in fp32 or autocast uses the client optimizer itself and reports no norm; the loop wants the norm,
        # so it is computed and clipped here once. ZeRO and the 16-bit wrappers do both on their own.
        self._clips_here = resolved.zero_stage == 0
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        optimizer = build_optimizer(model, settings.learning_rate, settings.weight_decay)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=model, optimizer=optimizer, config=_config(resolved, settings.clip, clips_here=self._clips_here)
        )
        self._engine.checkpoint_engine.load = read_state
        if resolved.precision == "fp16":
            # The loop ends a run after too many skipped steps in a row. DeepSpeed would end it, without advice, at any
            # skipped step once the scale is at its minimum, as it is after a few batches that are NaN at every scale.
            self._optimizer.loss_scaler.raise_error_at_min_scale = False
        if ranks.world_size == 1 and resolved.zero_stage == 0:
            # Nothing to reduce; DeepSpeed would still copy every gradient and fill the missing ones with zeros.
            self._engine.enable_backward_allreduce = False

    def step(self, task: str, slices: Sequence[Batch], terms: int, step: int) -> StepResult:
        """One optimizer step on this rank's slices of a global mini-batch of one task.

        ``terms`` is the global number of loss terms; a slice whose labels are None stands for an empty one and
        contributes zero. The gradients are those of the head's ``objective``; the loss returned is without weight.
        """
        activate(self._optimizer, self.model, (task,), carry_idle=self._carry_idle)
        learning_rate = self._schedule.at(step)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        share = 1 / (len(slices) * self.ranks.world_size)
        total = torch.zeros((), device=self.device)
        norm = torch.zeros((), device=self.device)
        for batch in slices:
            logits = self._forward(task, batch)
            if batch.labels is None:
                loss = logits.float().sum() * 0.0
            else:
                loss = self.model.loss_sum(task, logits, batch.labels) / terms
            total += loss.detach()
            # A loss that is not finite makes every gradient NaN and, by their reduction, those of all ranks: the check
            # of the reduced gradients then skips the step on all ranks together.
            finite = torch.where(loss.detach().isfinite(), 1.0, torch.nan)
            # DeepSpeed averages gradients over the ranks; the loss is a share of a sum, so that is undone here.
            objective = self.model.objective(task, loss, share) * finite * self.ranks.world_size
            self._engine.backward(objective, scale_wrt_gas=False)
            applied = True
            if self._engine.is_gradient_accumulation_boundary():
                if self._clips_here:
                    norm, applied = self._clip_gradients()
                self._engine.step()
                if not self._clips_here:
                    norm = torch.as_tensor(self._engine.get_global_grad_norm(), device=self.device)
                    applied = bool(self._engine.was_step_applied())
            else:
                self._engine.step()
        return StepResult(total, norm, learning_rate, applied)

    def _clip_gradients(self) -> tuple[Tensor, bool]:
        """The global norm, and whether it is finite; else the coming optimizer step is made a no-op for every group."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(parameter.grad for parameter in parameters)  # type: ignore[misc]
        applied = bool(torch.isfinite(norm))
        if not applied:
            for group in self._optimizer.param_groups:
                group["active"] = group["carried"] = False
        elif norm > self._clip:  # torch would pass over all gradients to multiply by 1
            torch.nn.utils.clip_grads_with_norm_(parameters, self._clip, norm)
        return norm, applied

    def _forward(self, task: str, batch: Batch) -> Tensor:
        logits: Tensor = self._engine(task, batch.input_ids, batch.token_type_ids, batch.layout, batch.read)
        return logits

    def train(self) -> None:
        """Dropout on."""
        self._engine.train()

    @torch.inference_mode()
    def predict(self, task: str, batch: Batch) -> Tensor:
        """Logits in float32, dropout off."""
        self._engine.eval()
        return self._forward(task, batch).float()

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights in float32 on the CPU, as they are used in the forward pass."""
        return {name: tensor.detach().float().cpu().clone() for name, tensor in self.model.state_dict().items()}

    @torch.no_grad()
    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights into the model for evaluation; the optimizer's own copies stay as they are."""
        self.model.load_state_dict(dict(weights))

    def save(self, folder: Path, tag: str) -> None:
        """Write DeepSpeed's own checkpoint (weights, optimizer state). Every rank must call it."""
        self._engine.save_checkpoint(str(folder), tag=tag, save_latest=False)

    def load(self, folder: Path, tag: str, *, weights_only: bool = False) -> None:
        """Read what ``save`` wrote, or its weights without the optimizer's state. Every rank must call it."""
        loaded, _ = self._engine.load_checkpoint(str(folder), tag=tag, load_module_only=weights_only)
        if loaded is None:
            raise OSError(f"DeepSpeed found no checkpoint {tag} in {folder}")

    def close(self) -> None:
        """Free what DeepSpeed holds, so that the next run of the process starts afresh."""
        self._engine.destroy()


def _config(resolved: ResolvedDsConfig, clip: float, *, clips_here: bool) -> dict[str, object]:
    """The DeepSpeed JSON as handed over. The clip is 0 where the step clips by itself."""
    return {**resolved.config, "gradient_clipping": 0.0 if clips_here else clip}
