"""What a benchmark gives: named results with their intervals, and tables for the reader."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

_DRAWS = 2000


class Result(TypedDict):
    """One benchmark: the value and the interval of its repetitions, equal where there is one."""

    value: float
    low: float
    high: float
    unit: str
    how: str


@dataclass(frozen=True)
class Report:
    """The results of a benchmark by name, and its tables as text under their titles."""

    results: dict[str, Result]
    tables: dict[str, str] = field(default_factory=dict)


def once(value: float, unit: str, how: str) -> Result:
    """What was measured a single time."""
    return Result(value=value, low=value, high=value, unit=unit, how=how)


def interval(values: Sequence[float], unit: str, how: str) -> Result:
    """The median, and the range of the middle 90 % of the values."""
    ordered = sorted(values)
    edge = len(ordered) // 20
    return Result(value=statistics.median(ordered), low=ordered[edge], high=ordered[-1 - edge], unit=unit, how=how)


def ratio(above: Sequence[float], below: Sequence[float], unit: str, how: str) -> Result:
    """The ratio of two sums over the same blocks, and its 90 % bootstrap interval over the blocks."""
    pairs = np.array([above, below], dtype=np.float64)
    drawn = np.random.default_rng(1).integers(0, pairs.shape[1], size=(_DRAWS, pairs.shape[1]))
    sums = pairs[:, drawn].sum(axis=2)
    low, high = np.quantile(sums[0] / sums[1], [0.05, 0.95])
    return Result(value=sum(above) / sum(below), low=float(low), high=float(high), unit=unit, how=how)
