"""Private resident memory of this process: what is its own and not the page cache of a mapped file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_BETWEEN = 0.01


def rss_anon() -> float:
    """RssAnon of this process in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("no RssAnon in /proc/self/status")


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """The peak of RssAnon in MiB so far, as the one member of a list."""
    peak, ended = [0.0], threading.Event()

    def sample() -> None:
        while not ended.wait(_SECONDS_BETWEEN):
            peak[0] = max(peak[0], rss_anon())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
