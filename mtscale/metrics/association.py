"""Do two properties of pairs of tasks rise together? A rank correlation, and its p-value by permuting the tasks.

The pairs that share a task are not independent, so whole tasks are exchanged, rows and columns together, never single
pairs (the quadratic assignment procedure: Krackhardt 1988, "Predicting with networks", Social Networks 10:359-381).
Few tasks have few orders: p cannot be below one over their number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
# Of more orders than this, so many are drawn.
MAX_ORDERS = 10_000
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Association:
    """Spearman's rho over directed pairs; None, as its p, where one side does not vary.

    ``orders``: in how many ways the tasks can be exchanged, the one observed included.
    """

    rho: float | None
    p: float | None
    pairs: int
    orders: int

    @property
    def least_p(self) -> float:
        """Below which no p can be."""
        return 1 / self.orders


def associate(groups: Sequence[tuple[Array, Array]], *, seed: int = 0) -> Association:
    """Correlate groups of tasks, each with two values for every directed pair, (T, T) and (T, T); diagonals are unused.

    Values are ranked within their group, and tasks are exchanged within it. Two-sided.

    Raises:
        ValueError: a group's values are not two square matrices of one size, or it has fewer than two tasks.
    """
    for one, two in groups:
        if one.shape != two.shape or one.ndim != 2 or len(one) != one.shape[1] or len(one) < 2:
            raise ValueError(f"expected two square matrices of at least two tasks, found {one.shape} and {two.shape}")
    ranked = [(_ranks(one), _ranks(two)) for one, two in groups]
    sizes = [len(one) for one, _ in groups]
    pairs, orders = sum(size * (size - 1) for size in sizes), math.prod(map(math.factorial, sizes))
    scale = math.sqrt(math.prod(sum(float((side**2).sum()) for side in sides) for sides in zip(*ranked, strict=True)))
    if scale <= _ROUNDING:
        return Association(None, None, pairs, orders)
    observed = _sum([(one, two) for one, two in ranked])
    reached, drawn = 0, 0
    for order in _orders(sizes, orders, seed):
        moved = [(one[np.ix_(own, own)], two) for (one, two), own in zip(ranked, order, strict=True)]
        reached += abs(_sum(moved)) >= abs(observed) - _ROUNDING * scale
        drawn += 1
    if orders > MAX_ORDERS:
        reached, drawn = reached + 1, drawn + 1  # what was observed is a draw itself
    return Association(observed / scale, reached / drawn, pairs, orders)


def _ranks(values: Array) -> Array:
    """Ranks of the directed pairs less their mean; 0 on the diagonal."""
    off = ~np.eye(len(values), dtype=bool)
    ranks = np.zeros_like(values)
    ranks[off] = stats.rankdata(values[off])
    ranks[off] -= ranks[off].mean()
    return ranks


def _sum(groups: Sequence[tuple[Array, Array]]) -> float:
    return sum(float((one * two).sum()) for one, two in groups)


def _orders(sizes: Sequence[int], count: int, seed: int) -> Iterator[tuple[Sequence[int], ...]]:
    """All orders of the tasks of each group, or as many at random as ``MAX_ORDERS``."""
    if count <= MAX_ORDERS:
        yield from product(*(permutations(range(size)) for size in sizes))
        return
    generator = np.random.default_rng(seed)
    for _ in range(MAX_ORDERS):
        yield tuple(generator.permutation(size).tolist() for size in sizes)
