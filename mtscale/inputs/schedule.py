"""Algorithm 1 of the paper as a deterministic function: (seed, epoch) -> the sequence of (task, rows).

Every rank computes the same schedule, so that no rank has to tell another which task comes next.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, overload

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
class _Pass:
    """All rows of a task, permuted and cut into mini-batches, which come in ``order`` (None: as they are cut)."""

    rows: IntColumn
    batch_size: int
    order: Rows | None

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def batch(self, index: int) -> Rows:
        start = (index if self.order is None else int(self.order[index])) * self.batch_size
        return self.rows[start : start + self.batch_size].astype(np.int64)


@dataclass(frozen=True)
class _Stretch:
    """The ``count`` mini-batches from ``first`` on of a task's pass."""

    task: str
    source: _Pass
    first: int
    count: int


class Epoch(Sequence[ScheduledBatch]):
    """The mini-batches of an epoch in their order, each made when it is asked for: millions of rows fit into memory."""

    def __init__(self, stretches: Sequence[_Stretch], order: Rows) -> None:
        self._stretches = stretches
        self._ends = np.cumsum([stretch.count for stretch in stretches])
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> ScheduledBatch: ...
    @overload
    def __getitem__(self, index: slice) -> list[ScheduledBatch]: ...
    def __getitem__(self, index: int | slice) -> ScheduledBatch | list[ScheduledBatch]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = self._order[index]
        place = int(np.searchsorted(self._ends, number, side="right"))
        stretch = self._stretches[place]
        within = int(number - (self._ends[place] - stretch.count))
        return ScheduledBatch(stretch.task, stretch.source.batch(stretch.first + within))


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

    def epoch(self, epoch: int) -> Epoch:
        """The mini-batches of an epoch (from 1) in their order."""
        counts = self.counts(epoch)
        stretches = [stretch for task, count in counts.items() for stretch in self._next(task, epoch, count)]
        if self.mixture.mixing == "round_robin":
            firsts = np.cumsum([0, *counts.values()])
            of_task = {task: itertools.count(first) for task, first in zip(counts, firsts.tolist(), strict=False)}
            turns = self.mixture.turns(self._available(), epoch)
            return Epoch(stretches, np.array([next(of_task[task]) for task in turns], dtype=np.int64))
        return Epoch(stretches, self._random(epoch, "<order of mini-batches>").permutation(sum(counts.values())))

    def sample(self, task: str, number: int) -> Rows:
        """A mini-batch of a task beside the epochs, by its number: other draws are what they are without it."""
        size = len(self.lengths[task])
        draws = self._random(number, f"<sample of {task}>")
        return draws.choice(size, min(size, self.batch_size), replace=False).astype(np.int64)

    def _available(self) -> dict[str, int]:
        """The mini-batches of each task that count in an epoch."""
        sizes = {task: len(lengths) for task, lengths in self.lengths.items()}
        return {task: -(-min(size, self.caps.get(task, size)) // self.batch_size) for task, size in sizes.items()}

    def _next(self, task: str, epoch: int, count: int) -> Iterator[_Stretch]:
        """The ``count`` mini-batches of a task's stream that belong to an epoch."""
        a_pass = -(-len(self.lengths[task]) // self.batch_size)
        first = sum(self.counts(before)[task] for before in range(1, epoch))
        while count:
            number, start = divmod(first, a_pass)
            stretch = _Stretch(task, self._pass(task, number + 1), start, min(count, a_pass - start))
            yield stretch
            first, count = first + stretch.count, count - stretch.count

    def _pass(self, task: str, number: int) -> _Pass:
        """All rows of a task as mini-batches, in an order in which any first part of them is a random draw."""
        composed = _Pass(self._compose(task, 0 if self.batches == "fixed" else number), self.batch_size, None)
        if self.mixture.mixing == "proportional" and task not in self.caps:
            return composed  # all of a pass is in one epoch, which is shuffled as a whole
        order = self._random(number, f"<order of {task}>").permutation(len(composed))
        return replace(composed, order=order)

    def _compose(self, task: str, number: int) -> IntColumn:
        """A permutation of a task's rows to be cut into mini-batches; the short one is drawn before any sorting."""
        lengths = self.lengths[task]
        # Four bytes a row: nothing else in memory grows with the corpus.
        rows = np.arange(len(lengths), dtype=np.int32)
        self._random(number, task).shuffle(rows)
        whole = len(rows) - len(rows) % self.batch_size
        if self.order == "by_length":
            window = WINDOW * self.batch_size
            for start in range(0, whole, window):
                part = rows[start : min(start + window, whole)]
                part[:] = part[np.argsort(lengths[part], kind="stable")]
        return rows

    def _random(self, number: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, zlib.crc32(purpose.encode())])
