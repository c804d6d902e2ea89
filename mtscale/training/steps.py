"""The steps of a run, whatever it trains: recorded, stopped on request, given up when too many are not finite."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch

from mtscale import names
from mtscale.errors import MtscaleError
from mtscale.inputs.batches import Batch
from mtscale.training.checkpoint import Position
from mtscale.training.distributed import Ranks
from mtscale.training.engine import Engine, StepResult
from mtscale.training.journal import Journal, SilentJournal
from mtscale.training.records import TrainingRecords, window
from mtscale.training.stop import StopRequest

logger = logging.getLogger(__name__)

MAX_NONFINITE_IN_A_ROW = 10


class StepLoop(ABC):
    """What the loops of all stages do at a step."""

    state: Position
    engine: Engine
    steps: int
    steps_per_epoch: int

    def __init__(
        self, folder: Path, journal: Journal | SilentJournal, ranks: Ranks, steps: int, *, by_task: bool = True
    ) -> None:
        """``folder`` is the run directory, ``steps`` how many the run has; ``by_task``: record each task's loss too."""
        self.folder = folder
        self.journal = journal
        self.steps = steps
        self._ranks = ranks
        self._records = TrainingRecords(window(steps), ranks, by_task=by_task)

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.folder / "checkpoints"

    @abstractmethod
    def _save_state(self) -> None:
        """Save all that an exact resume needs. Every rank calls it."""

    def _learned(self) -> Mapping[str, float]:
        """Further values to record with the losses."""
        return {}

    def _is_asked_to_stop(self, stop: StopRequest, device: torch.device, epoch: int) -> bool:
        """Whether a stop was agreed on; what was not recorded yet then is."""
        if not stop.agreed(self.folder / "stop", device):
            return False
        self._record(epoch, self._records.flush())
        return True

    def _train_step(
        self, task: str, slices: Sequence[Batch], terms: int, epoch: int, examples: int, pieces: int, started: float
    ) -> None:
        """A step on this rank's slices of a global mini-batch of ``examples`` rows; it began at ``started``."""
        result = self.engine.step(task, slices, terms, self.state.step)
        self.state.step += 1
        self._check_finite(task, result)
        self._records.add(task, result, examples, pieces, time.perf_counter() - started)
        if self._records.is_full(self.state.step):
            self._record(epoch, self._records.flush())
        self.journal.progress(self.state.step, epoch, f"epoch {epoch}, {self._records.rate:.0f} examples/s")

    def _check_finite(self, task: str, result: StepResult) -> None:
        if result.applied:
            self.state.nonfinite_in_a_row = 0
            return
        self.state.nonfinite_steps += 1
        self.state.nonfinite_in_a_row += 1
        logger.warning("step %d (%s): loss or gradient not finite, update skipped", self.state.step, task)
        if self.state.nonfinite_in_a_row >= MAX_NONFINITE_IN_A_ROW:
            self._give_up(task)

    def _give_up(self, task: str) -> NoReturn:
        """End the run, with a checkpoint of where it stood before the steps that failed: they have moved nothing."""
        this_epoch = self.state.step - self.state.epochs_done * self.steps_per_epoch
        taken_back = min(self.state.nonfinite_in_a_row, this_epoch)
        self.state.step -= taken_back
        self.state.nonfinite_steps -= taken_back
        self.state.nonfinite_in_a_row = 0
        self._save_state()
        raise MtscaleError(
            f"{MAX_NONFINITE_IN_A_ROW} steps in a row had a loss or gradient that was not finite, the last of task "
            f"{task}. Step {self.state.step} is saved, and `mtscale runs resume` tries again from there; if that ends "
            "the same way, start a new run with a lower learning_rate, or in fp32"
        )

    def _record(self, epoch: int, values: Mapping[str, float]) -> None:
        if values:
            extra = {names.NONFINITE_STEPS: float(self.state.nonfinite_steps)} if self.state.nonfinite_steps else {}
            self.journal.log("train", self.state.step, epoch, {**values, **extra, **self._learned()})
