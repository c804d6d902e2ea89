"""What a benchmark gives."""

from __future__ import annotations

from typing import TypedDict


class Result(TypedDict):
    """One benchmark: the median and the interval of its repetitions, equal where there is one."""

    value: float
    low: float
    high: float
    unit: str
    how: str
