"""How far a long pass is: one line that is rewritten on a terminal, a plain line now and then in a file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

TERMINAL_SECONDS = 0.2
FILE_SECONDS = 30.0

logger = logging.getLogger("mtscale")


def with_progress(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """The same items; on the way their number, rate and, if ``total`` is known, the time left go to standard error."""
    on_terminal = sys.stderr.isatty()
    every = TERMINAL_SECONDS if on_terminal else FILE_SECONDS
    start = last = time.monotonic()
    try:
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - last >= every:
                last = now
                _show(_line(title, done, total, now - start), on_terminal=on_terminal)
            yield item
    finally:
        if on_terminal and last > start:
            sys.stderr.write("\r\x1b[K")


def _line(title: str, done: int, total: int | None, seconds: float) -> str:
    rate = done / seconds
    if total is None or not done:
        return f"{title}: {done}, {rate:.0f}/s"
    return f"{title}: {done}/{total}, {rate:.0f}/s, {(total - done) / rate:.0f} s left"


def _show(line: str, *, on_terminal: bool) -> None:
    if on_terminal:
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
    else:
        logger.info("%s", line)
