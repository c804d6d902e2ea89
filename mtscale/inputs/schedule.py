"""Algorithm 1 of the paper as a deterministic function: (seed, epoch) -> the sequence of (task, rows).

Every rank computes the same schedule, so that no rank has to tell another which task comes next.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IntColumn = NDArray[np.int32]
Rows = NDArray[np.int64]

# Mini-batches in a window within which rows are sorted by length: long enough that lengths in a mini-batch are nearly
# equal, short enough that a small task is not sorted as a whole, which would give it the same mini-batches every epoch.
WINDOW = 10


@dataclass(frozen=True)
class ScheduledBatch:
    """One global mini-batch: rows of one task."""

    task: str
    rows: Rows


@dataclass(frozen=True)
class Schedule:
    """The mini-batches of every epoch.

    ``lengths``: the word pieces of each row, by task. ``batches``: ``fixed`` composes the mini-batches once and
    shuffles their order each epoch, as Algorithm 1 prints it; ``recomposed`` composes them anew. ``order``: rows of
    similar length together within shuffled windows, or at random.
    """

    lengths: Mapping[str, IntColumn]
    batch_size: int
    seed: int
    batches: Literal["recomposed", "fixed"] = "recomposed"
    order: Literal["by_length", "random"] = "by_length"

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch: the mini-batches of all tasks, the last short ones included."""
        return sum(-(-len(lengths) // self.batch_size) for lengths in self.lengths.values())

    def epoch(self, epoch: int) -> list[ScheduledBatch]:
        """The mini-batches of an epoch (from 1) in their order: every row of every task exactly once."""
        merged = [
            ScheduledBatch(task, rows)
            for task in self.lengths
            for rows in self._compose(task, 0 if self.batches == "fixed" else epoch)
        ]
        order = self._random(epoch, "<order of mini-batches>").permutation(len(merged))
        return [merged[index] for index in order]

    def _compose(self, task: str, epoch: int) -> Sequence[Rows]:
        """Cut a permutation of a task's rows into mini-batches; the short one is drawn before any sorting."""
        lengths = self.lengths[task]
        rows: Rows = self._random(epoch, task).permutation(len(lengths))
        whole = len(rows) - len(rows) % self.batch_size
        if self.order == "by_length":
            window = WINDOW * self.batch_size
            for start in range(0, whole, window):
                part = rows[start : min(start + window, whole)]
                part[:] = part[np.argsort(lengths[part], kind="stable")]
        return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]

    def _random(self, epoch: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, zlib.crc32(purpose.encode())])
