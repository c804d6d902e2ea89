"""The processor time of an action in a unit that a slow or busy machine stretches as well."""

from __future__ import annotations

import time
from collections.abc import Callable

TURNS = 300_000


def cost(action: Callable[[], object]) -> float:
    """How many times as long as a short Python loop an action takes; the loop is timed before and after it."""
    before = _seconds(_loop)
    seconds = _seconds(action)
    return seconds / max(before, _seconds(_loop))


def _loop() -> None:
    found: dict[int, str] = {}
    for number in range(TURNS):
        found[number % 1000] = str(number)


def _seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start
