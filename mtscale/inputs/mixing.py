"""How many mini-batches of each task an epoch has.

An epoch always has as many mini-batches as all tasks have together, so that all ways of mixing cost the same. Shares
become whole numbers by largest remainder: nothing is drawn, and the counts of an epoch depend on its number alone.

* ``proportional``: every mini-batch of every task once (Algorithm 1 of the paper).
* ``temperature``: shares as n ** (1 / temperature) for n mini-batches; 1 is proportional, large values near uniform.
* ``annealed``: shares as n ** a, a falling from 1 in the first epoch to 0.2 in the last (Stickland and Murray 2019,
  "BERT and PALs", arXiv:1902.02671, section 3.3).
* ``uniform``: equal shares. ``round_robin``: equal shares, the tasks in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice

from mtscale.recipe_sections import Mixing

ANNEALED_TO = 0.2


@dataclass(frozen=True)
class Mixture:
    """A way of mixing; ``temperature`` is for the way of that name, ``epochs`` (of the run) for ``annealed``."""

    mixing: Mixing = "proportional"
    temperature: float = 1.0
    epochs: int = 1

    def counts(self, available: Mapping[str, int], epoch: int) -> dict[str, int]:
        """The mini-batches of each task in an epoch (from 1), of which ``available`` are different ones."""
        if self.mixing == "proportional":
            return dict(available)
        if self.mixing == "round_robin":
            turns = Counter(self.turns(available, epoch))
            return {task: turns[task] for task in available}
        weights = {task: count ** self._exponent(epoch) for task, count in available.items()}
        return _whole(weights, sum(available.values()))

    def turns(self, available: Mapping[str, int], epoch: int) -> list[str]:
        """The tasks of an epoch in turn; each epoch goes on where the one before ended."""
        steps = sum(available.values())
        first = (epoch - 1) * steps % len(available)
        return list(islice(cycle(available), first, first + steps))

    def _exponent(self, epoch: int) -> float:
        if self.mixing == "uniform":
            return 0.0
        if self.mixing == "temperature":
            return 1 / self.temperature
        return 1 - (1 - ANNEALED_TO) * (epoch - 1) / max(1, self.epochs - 1)


def _whole(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers in proportion to weights that add up to ``total``."""
    unit = total / sum(weights.values())
    exact = {task: weight * unit for task, weight in weights.items()}
    counts = {task: int(share) for task, share in exact.items()}
    by_remainder = sorted(exact, key=lambda task: counts[task] - exact[task])
    for task in by_remainder[: total - sum(counts.values())]:
        counts[task] += 1
    return counts
