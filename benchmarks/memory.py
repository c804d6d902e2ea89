"""Private resident memory of a process: what is its own and not the page cache of a mapped file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS_BETWEEN = 0.01


def rss_anon(process: int | str = "self") -> float:
    """RssAnon of this process, or of the one with that pid, in MiB."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no RssAnon in /proc/{process}/status")


@contextmanager
def peak_memory(process: int | str = "self", seconds_between: float = _SECONDS_BETWEEN) -> Iterator[list[float]]:
    """The peak of RssAnon in MiB so far, as the one member of a list; the process outlives the block."""
    peak, ended = [0.0], threading.Event()

    def sample() -> None:
        while not ended.wait(seconds_between):
            peak[0] = max(peak[0], rss_anon(process))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
