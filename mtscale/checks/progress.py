"""How far a long pass is: one line that is rewritten on a terminal, a plain line now and then in a file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

TERMINAL_SECONDS = 0.2
FILE_SECONDS = 30.0

logger = logging.getLogger("mtscale")


def with_progress(
    items: Iterable[Item], title: str, total: int | None = None, size: Callable[[Item], int] | None = None
) -> Iterator[Item]:
    """The same items; on the way their number, rate and, if ``total`` is known, the time left go to standard error.

    With ``size`` the total is the sum of the items' sizes, and their number is not known before.
    """
    on_terminal = sys.stderr.isatty()
    every = TERMINAL_SECONDS if on_terminal else FILE_SECONDS
    start = last = time.monotonic()
    passed = 0
    try:
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - last >= every:
                last = now
                line = _line(title, done, total, now - start)
                if size is not None:
                    line = _line_by_size(title, done, passed / max(1, total or 0), now - start)
                _show(line, on_terminal=on_terminal)
            yield item
            passed += 0 if size is None else size(item)
    finally:
        if on_terminal and last > start:
            sys.stderr.write("\r\x1b[K")


def _line(title: str, done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds
    if total is None or not done:
        return f"{title}: {done}, {rate:.0f}/s"
    return f"{title}: {done}/{total}, {rate:.0f}/s, {(total - done) / rate:.0f} s left"


def _line_by_size(title: str, done: int, share: float, seconds: float) -> str:
    left = f", {seconds * (1 - share) / share:.0f} s left" if share else ""
    return f"{title}: {done}, {done / seconds:.0f}/s, {share:.0%}{left}"


def _show(line: str, *, on_terminal: bool) -> None:
    if on_terminal:
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
    else:
        logger.info("%s", line)
