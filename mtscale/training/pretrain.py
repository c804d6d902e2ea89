"""One pretraining run: masked language modelling, and looks at the held-out text (stage 1, section 3.5.1 of the paper).

The encoder that is kept is that of the lowest held-out loss. Beside its perplexity stands that of the unigram model:
what one who knows nothing but the frequencies of the training pieces reaches on the same masked places.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mtscale import names
from mtscale.ds_config import ResolvedDsConfig
from mtscale.inputs.batches import Batch
from mtscale.model.masked import MASKED, MaskedModel
from mtscale.pretraining.batches import MaskedRow, TextRow, TextSchedule, collate, heldout_batches, mask_rows
from mtscale.pretraining.masking import HELDOUT
from mtscale.pretraining.text import PretrainText
from mtscale.recipe_sections import PretrainSettings
from mtscale.training import checkpoint
from mtscale.training.checkpoint import Position
from mtscale.training.distributed import Ranks, barrier, sum_over_ranks
from mtscale.training.engine import Engine
from mtscale.training.journal import Journal, SilentJournal
from mtscale.training.loop import TaskResult
from mtscale.training.steps import StepLoop
from mtscale.training.stop import StopRequest

logger = logging.getLogger(__name__)


@dataclass
class PretrainState(Position):
    """The position of a pretraining run; its first and lowest held-out loss and where that was; the unigram model's."""

    first_loss: float = math.inf
    best_loss: float = math.inf
    best_step: int = 0
    unigram_loss: float = math.inf


@dataclass(frozen=True)
class PretrainPlan:
    """One pretraining run: its settings, seed and text; ``access`` marks the encoder it makes."""

    seed: int
    settings: PretrainSettings
    text: PretrainText
    resolved: ResolvedDsConfig
    access: str

    @property
    def schedule(self) -> TextSchedule:
        """The mini-batches of every epoch."""
        return TextSchedule(self.text.corpus, self.settings.batch_size, self.seed)

    @property
    def steps(self) -> int:
        """The optimizer steps of the run."""
        return self.settings.steps or self.schedule.steps_per_epoch * (self.settings.epochs or 1)


class PretrainLoop(StepLoop):
    """Pretrains one encoder inside its run directory."""

    state: PretrainState

    def __init__(
        self,
        plan: PretrainPlan,
        model: MaskedModel,
        folder: Path,
        journal: Journal | SilentJournal,
        ranks: Ranks,
        device: torch.device,
        stop: StopRequest,
    ) -> None:
        super().__init__(folder, journal, ranks, plan.steps, by_task=False)
        self.plan = plan
        self.model = model
        self.schedule = plan.schedule
        self.steps_per_epoch = self.schedule.steps_per_epoch
        self.engine = Engine(model, plan.settings, plan.resolved, self.steps, ranks, device)
        self.state = PretrainState()
        self._device = device
        self._stop = stop
        self._unigram_losses = _unigram_losses(plan.text)

    def resume(self) -> None:
        """Go on from the newest whole state of the run directory, if there is one."""
        self.state = checkpoint.load_state(self.checkpoints, self.engine, self._ranks, PretrainState) or self.state

    def run(self) -> list[TaskResult] | None:
        """Train to the end; the held-out perplexities, or None if the run was stopped before (its state is saved)."""
        if self.state.step == 0:
            self._evaluate(epoch=0)
        while self.state.step < self.steps:
            if not self._train_epoch(self.state.step // self.steps_per_epoch + 1):
                self.journal.stopping()
                self._save_state()
                return None
        state = self.state
        losses = {"at start": state.first_loss, "kept": state.best_loss, "unigram": state.unigram_loss}
        return [TaskResult("held-out text", "perplexity", {head: perplexity(loss) for head, loss in losses.items()})]

    def _train_epoch(self, epoch: int) -> bool:
        """Whether the epoch, or the run, was trained to its end; False if a stop was agreed on before."""
        self.engine.train()
        done = self.state.step - (epoch - 1) * self.steps_per_epoch
        for number, rows in enumerate(self.schedule.epoch(epoch, skip=done), start=done + 1):
            if self._is_asked_to_stop(self._stop, self._device, epoch):
                return False
            self._step(rows, epoch)
            if number == self.steps_per_epoch:
                self.state.epochs_done = epoch
            if self._is_due(number):
                self._evaluate(epoch)
                self._save_state()
                self.engine.train()
            if self.state.step == self.steps:
                break
        return True

    def _is_due(self, number: int) -> bool:
        """Whether the held-out text is looked at after the step that is ``number`` in its epoch."""
        every = self.plan.settings.evaluate_every
        regular = number == self.steps_per_epoch if every is None else self.state.step % every == 0
        return regular or self.state.step == self.steps

    def _step(self, rows: Sequence[TextRow], epoch: int) -> None:
        started = time.perf_counter()
        # Every rank draws the masks of all rows, so that it knows how many pieces the mini-batch predicts.
        masked = mask_rows(rows, self.plan.text.masking, self.plan.seed, epoch)
        terms = max(1, sum(len(row.chosen) for row in masked))
        pieces = sum(len(row.seen) + 2 for row in masked)
        self._train_step(MASKED, self._slices(masked), terms, epoch, len(rows), pieces, started)

    def _slices(self, rows: Sequence[MaskedRow]) -> list[Batch]:
        """This rank's slices as tensors; an empty one becomes a row without labels, which adds zero to the loss."""
        ranks, vocabulary = self._ranks, self.plan.text.vocabulary
        parts = np.array_split(np.arange(len(rows)), ranks.world_size * self.plan.resolved.accumulation)
        slices = []
        for part in parts[ranks.rank :: ranks.world_size]:
            batch = collate([rows[row] for row in part] or rows[:1], vocabulary)
            slices.append((batch if len(part) else batch.without_labels()).to(self._device))
        return slices

    def _evaluate(self, epoch: int) -> None:
        """Look at the held-out text, and keep the encoder if its loss is the lowest so far."""
        loss, unigram = self._heldout_losses()
        self.state.unigram_loss = unigram
        step = self.state.step
        values = {names.HELDOUT_LOSS: loss, names.HELDOUT_PERPLEXITY: perplexity(loss)}
        values[names.UNIGRAM_PERPLEXITY] = perplexity(unigram)
        self.journal.log("heldout", step, epoch, values)
        logger.info("step %d: held-out perplexity %.2f (unigram %.2f)", step, perplexity(loss), perplexity(unigram))
        if step == 0:
            self.state.first_loss = loss
        if loss < self.state.best_loss and step:
            self._keep(loss, epoch)

    def _keep(self, loss: float, epoch: int) -> None:
        self.state.best_loss, self.state.best_step = loss, self.state.step
        if self._ranks.is_main:
            checkpoint.replace_best(self.checkpoints, self._write_encoder)
        barrier(self._ranks)
        kept = {names.BEST_PERPLEXITY: perplexity(loss), names.BEST_STEP: self.state.step, names.BEST_EPOCH: epoch}
        self.journal.log("best", self.state.step, epoch, kept)

    def _write_encoder(self, folder: Path) -> None:
        self.model.save(folder / "encoder", self.engine.weights(), self.plan.access)
        self.plan.text.tokenizer.save_pretrained(folder / "encoder")

    def _heldout_losses(self) -> tuple[float, float]:
        """The mean losses at the masked places of the held-out text, of the model and of the unigram model.

        The masks are the same at every look and in every run. Each rank takes every n-th batch.
        """
        ranks, text = self._ranks, self.plan.text
        sums = torch.zeros(3, dtype=torch.float64, device=self._device)
        batches = heldout_batches(text.corpus, 2 * self.plan.resolved.micro_batch)
        for number, rows in enumerate(batches):
            if number % ranks.world_size == ranks.rank:
                batch = collate(mask_rows(rows, text.masking, *HELDOUT), text.vocabulary)
                if batch.labels is not None:
                    sums += self._loss_sums(batch, batch.labels)
        model, unigram, terms = sum_over_ranks(sums, ranks).tolist()
        return model / max(1.0, terms), unigram / max(1.0, terms)

    def _loss_sums(self, batch: Batch, labels: Tensor) -> Tensor:
        logits = self.engine.predict(MASKED, batch.to(self._device))
        loss = float(self.model.loss_sum(MASKED, logits, labels.to(self._device)))
        sums = [loss, float(self._unigram_losses[labels].sum()), float(len(labels))]
        return torch.tensor(sums, dtype=torch.float64, device=self._device)

    def _save_state(self) -> None:
        checkpoint.save_state(self.checkpoints, self.engine, self.state, self._ranks)


def perplexity(loss: float) -> float:
    """That of a mean loss in nats."""
    return math.exp(loss)


def _unigram_losses(text: PretrainText) -> Tensor:
    """By piece, the loss of the unigram model: add-one smoothed frequencies of the training pieces."""
    counts = text.corpus.unigrams() + 1.0
    return torch.from_numpy(-np.log(counts / counts.sum()))
