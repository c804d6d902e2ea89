"""Algorithm 1 of the paper as a deterministic function: (seed, epoch) -> the sequence of (task, rows).

Every rank computes the same schedule, so that no rank has to tell another which task comes next.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtscale.inputs.mixing import Mixture

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
    similar length together within shuffled windows, or at random. ``mixture``: how many mini-batches of each task are
    in an epoch. ``caps``: the most examples of a task that count there.

    A task's mini-batches are a stream of *passes* over its rows; an epoch goes on in it where the one before ended, so
    that no row is seen a second time before all others of its task have been seen.
    """

    lengths: Mapping[str, IntColumn]
    batch_size: int
    seed: int
    batches: Literal["recomposed", "fixed"] = "recomposed"
    order: Literal["by_length", "random"] = "by_length"
    mixture: Mixture = field(default_factory=Mixture)
    caps: Mapping[str, int] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch: the mini-batches of all tasks, the last short ones included."""
        return sum(self._available().values())

    def counts(self, epoch: int) -> dict[str, int]:
        """The mini-batches of each task in an epoch."""
        return self.mixture.counts(self._available(), epoch)

    def epoch(self, epoch: int) -> list[ScheduledBatch]:
        """The mini-batches of an epoch (from 1) in their order."""
        merged = [
            ScheduledBatch(task, rows)
            for task, count in self.counts(epoch).items()
            for rows in self._next(task, epoch, count)
        ]
        if self.mixture.mixing == "round_robin":
            of_task = {task: iter([batch for batch in merged if batch.task == task]) for task in self.lengths}
            return [next(of_task[task]) for task in self.mixture.turns(self._available(), epoch)]
        order = self._random(epoch, "<order of mini-batches>").permutation(len(merged))
        return [merged[index] for index in order]

    def _available(self) -> dict[str, int]:
        """The mini-batches of each task that count in an epoch."""
        sizes = {task: len(lengths) for task, lengths in self.lengths.items()}
        return {task: -(-min(size, self.caps.get(task, size)) // self.batch_size) for task, size in sizes.items()}

    def _next(self, task: str, epoch: int, count: int) -> Iterator[Rows]:
        """The ``count`` mini-batches of a task's stream that belong to an epoch."""
        a_pass = -(-len(self.lengths[task]) // self.batch_size)
        first = sum(self.counts(before)[task] for before in range(1, epoch))
        while count:
            number, start = divmod(first, a_pass)
            taken = self._pass(task, number + 1)[start : start + count]
            yield from taken
            first, count = first + len(taken), count - len(taken)

    def _pass(self, task: str, number: int) -> Sequence[Rows]:
        """All rows of a task as mini-batches, in an order in which any first part of them is a random draw."""
        composed = self._compose(task, 0 if self.batches == "fixed" else number)
        if self.mixture.mixing == "proportional" and task not in self.caps:
            return composed  # all of a pass is in one epoch, which is shuffled as a whole
        order = self._random(number, f"<order of {task}>").permutation(len(composed))
        return [composed[index] for index in order]

    def _compose(self, task: str, number: int) -> Sequence[Rows]:
        """Cut a permutation of a task's rows into mini-batches; the short one is drawn before any sorting."""
        lengths = self.lengths[task]
        rows: Rows = self._random(number, task).permutation(len(lengths))
        whole = len(rows) - len(rows) % self.batch_size
        if self.order == "by_length":
            window = WINDOW * self.batch_size
            for start in range(0, whole, window):
                part = rows[start : min(start + window, whole)]
                part[:] = part[np.argsort(lengths[part], kind="stable")]
        return [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]

    def _random(self, number: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, zlib.crc32(purpose.encode())])
