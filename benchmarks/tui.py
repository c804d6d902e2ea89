"""The terminal app with a thousand runs: its start, refresh, opening a run, memory, and how long a key waits.

Each run has 20 metrics of 1,000 values. Everything is measured in processes of their own, on made run directories.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.processes import run
from benchmarks.results import Report, interval, once
from benchmarks.tui_worker import GROWING, make_runs

RUNS, POINTS = 1000, 1000
STARTS = 20


def measure(_data_root: Path | None, runs: int = RUNS, points: int = POINTS, starts: int = STARTS) -> Report:
    """Starts in fresh processes, then one session, over the same made runs."""
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), runs, points)
        first = [_start(folder) for _ in range(starts)]
        session = run("benchmarks.tui_worker", folder)
    what = f"{runs} runs with 20 metrics of {points} values"
    keys = session["keys"]
    return Report(
        {
            "tui_first_frame_seconds": interval(
                [frame for frame, _ in first], "s", f"from a fresh process to its first frame, {what}"
            ),
            "tui_first_rows_seconds": interval(
                [rows for _, rows in first], "s", f"from a fresh process to the first runs in its table, {what}"
            ),
            "tui_first_scores_seconds": once(session["scores"], "s", f"until all scores stand in the table, {what}"),
            "tui_refresh_seconds": interval(
                session["refresh"], "s", f"from reading to the table shown, {GROWING} runs growing, {what}"
            ),
            "tui_open_seconds": interval(
                session["open"], "s", f"from the key to the charts of a run not yet read, {what}"
            ),
            "tui_memory_mib": once(session["memory"], "MiB", f"largest RssAnon of the session, {what}"),
            "tui_key_wait_seconds": once(
                max(keys), "s", f"worst of {len(keys)} keys while it reads and refreshes, {what}"
            ),
        }
    )


def _start(folder: str) -> tuple[float, float]:
    began = time.time()
    frame, rows = run("benchmarks.tui_first", folder)
    return frame - began, rows - began
