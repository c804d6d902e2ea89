"""Looks at test sets: written down before the gold is opened, counted for reports (``test_looks.jsonl``)."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

TEST_LOOKS = "test_looks.jsonl"


def record_test_look(runs: Path, run: str, task: str, gold_hash: str, protocol: str) -> None:
    """Write down, before the gold is opened, that a run looks at a test set (``test_looks.jsonl`` beside the runs)."""
    look: Mapping[str, object] = {
        "time": round(time.time(), 3),
        "run": run,
        "task": task,
        "gold_hash": gold_hash,
        "protocol": protocol,
    }
    with open(runs / TEST_LOOKS, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(look) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def count_test_looks(runs: Path) -> dict[str, int]:
    """How often each task's test set was looked at from this runs folder."""
    counts: dict[str, int] = defaultdict(int)
    try:
        lines = (runs / TEST_LOOKS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        counts[json.loads(line)["task"]] += 1
    return dict(counts)
