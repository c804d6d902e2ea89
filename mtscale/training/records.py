"""What training records: the means over a window of steps, at most so many a run."""

from __future__ import annotations

from collections import defaultdict

import psutil
import torch

from mtscale import names
from mtscale.training.distributed import Ranks, sum_over_ranks
from mtscale.training.engine import StepResult

MAX_RECORDS = 2000


def window(steps: int) -> int:
    """The steps that a record of a run of ``steps`` is the mean of."""
    return max(1, steps // MAX_RECORDS)


class TrainingRecords:
    """The means of a window of steps; losses stay on the device until the window is full."""

    def __init__(self, window: int, ranks: Ranks, *, by_task: bool = True) -> None:
        self._window = window
        self._by_task = by_task
        self._ranks = ranks
        self._steps: list[tuple[str, StepResult]] = []
        self._examples = 0
        self._pieces = 0
        self._seconds = 0.0
        self.rate = 0.0

    def add(self, task: str, result: StepResult, examples: int, pieces: int, seconds: float) -> None:
        """Take in a step: its task and result, the examples and word pieces in it, and how long it took."""
        self._steps.append((task, result))
        self._examples += examples
        self._pieces += pieces
        self._seconds += seconds
        rate = examples / seconds
        self.rate = rate if self.rate == 0 else 0.9 * self.rate + 0.1 * rate

    def is_full(self, step: int) -> bool:
        """Whether the window ends with this step."""
        return step % self._window == 0

    def flush(self) -> dict[str, float]:
        """The window's values by name; nothing if it holds no step. Every rank must call it at the same step."""
        if not self._steps:
            return {}
        shares = torch.stack([result.loss for _, result in self._steps])
        losses = sum_over_ranks(shares, self._ranks).tolist()
        by_task: dict[str, list[float]] = defaultdict(list)
        for (task, _), loss in zip(self._steps, losses, strict=True):
            by_task[task].append(loss)
        last = self._steps[-1][1]
        values = {
            names.TRAIN_LOSS: sum(losses) / len(losses),
            names.LEARNING_RATE: last.learning_rate,
            names.GRAD_NORM: float(last.grad_norm),
            names.EXAMPLES_PER_SECOND: self._examples / self._seconds,
            names.PIECES_PER_SECOND: self._pieces / self._seconds,
            names.RESIDENT_GIB: psutil.Process().memory_info().rss / 2**30,
        }
        if self._by_task:
            values |= {names.train_loss(task): sum(found) / len(found) for task, found in by_task.items()}
        self._steps, self._examples, self._pieces, self._seconds = [], 0, 0, 0.0
        return values
