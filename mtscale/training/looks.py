"""Looks at test sets: written down before the gold is opened, counted for reports (``test_looks.jsonl``)."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

TEST_LOOKS = "test_looks.jsonl"


@dataclass(frozen=True)
class Look:
    """What makes a look at a test set: which run scores which epoch's predictions against which gold.

    ``run`` is the run's name and ``id`` its id, which a later run of the same name does not share.
    """

    run: str
    id: str
    task: str
    epoch: int
    gold_hash: str
    protocol: str


def record(runs: Path, look: Look) -> None:
    """Write a look down (``test_looks.jsonl`` beside the runs), before the gold is opened."""
    line = json.dumps({"time": round(time.time(), 3), **asdict(look)})
    with open(runs / TEST_LOOKS, "a+b") as stream:
        if stream.tell() and not _ends_a_line(stream.fileno()):
            stream.write(b"\n")  # a crash left half a line, whose look never came to be
        stream.write(line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(runs: Path) -> list[Look]:
    """The looks at test sets from this runs folder, each once, in the order in which they were first made.

    A run that was cut off in its evaluation writes its look down again when it is resumed. It scores the same epoch
    against the same gold and learns nothing new, so that is the same look.
    """
    try:
        lines = (runs / TEST_LOOKS).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return list(dict.fromkeys(look for line in lines if (look := _read(line)) is not None))


def count_test_looks(runs: Path) -> dict[str, int]:
    """How often each task's test set was looked at from this runs folder."""
    return dict(Counter(look.task for look in read(runs)))


def _ends_a_line(handle: int) -> bool:
    return os.pread(handle, 1, os.fstat(handle).st_size - 1) == b"\n"


def _read(line: bytes) -> Look | None:
    """The look of a line; None if a crash left the line half written."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    del content["time"]
    return Look(**content)
