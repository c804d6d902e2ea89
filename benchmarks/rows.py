"""Rows of a corpus: what a step, a start and private memory cost with 10^4 and with 10^7 of them.

The corpus is made, encoded already, and written as the Arrow file that the cache would hold.

    python -m benchmarks.rows FILE     prints the seconds and the memory of a start and a few steps
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch

from benchmarks import workload
from benchmarks.memory import peak_memory, rss_anon
from benchmarks.processes import run
from benchmarks.results import Report, once
from benchmarks.workload import SEED, Workload
from mtscale import recipe
from mtscale.inputs.cache import EncodedSplit
from mtscale.inputs.encode import EncodingCounts
from mtscale.model.encoder import load_tokenizer
from mtscale.tasks import TASKS
from mtscale.training import distributed
from mtscale.training.stop import StopRequest
from mtscale.training.tables import table

ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
STEPS = 6
TASK = TASKS["evidence-inference"]
# The same for all, so that steps differ by nothing but the number of rows behind them.
_PIECES = 24
# The rows of a record batch in the cache's files.
_RECORD_BATCH = 5000
_AT_ONCE = 1_000_000


def measure(_data_root: Path | None, rows: tuple[int, ...] = ROWS) -> Report:
    """One process for each number of rows."""
    found: dict[int, dict[str, float]] = {}
    for count in rows:
        with tempfile.TemporaryDirectory() as folder:
            found[count] = run("benchmarks.rows", str(make_corpus(count, Path(folder))))
    few, many = found[rows[0]], found[rows[-1]]
    how = f"{rows[-1]:,} rows against {rows[0]:,}; made inference pairs of {_PIECES} pieces"
    growth = many["peak"] / few["peak"]
    results = {
        "memory_growth": once(
            growth,
            "ratio",
            f"peak RssAnon of {STEPS} steps, {many['peak']:.0f} / {few['peak']:.0f} MiB; {how}",
        ),
        "rows_step_growth": once(many["step"] / few["step"], "ratio", f"median time of a step; {how}"),
        "rows_start_seconds_more": once(
            many["opening"] + many["start"] - few["opening"] - few["start"], "s", f"to the first step; {how}"
        ),
    }
    columns = {
        "opening": "open s",
        "start": "to 1st step s",
        "step": "step s",
        "opened": "opened MiB",
        "ready": "loop MiB",
        "scheduled": "1st step MiB",
        "peak": "peak MiB",
    }
    lines = [[f"{count:,}", *(f"{facts[name]:.2f}" for name in columns)] for count, facts in found.items()]
    return Report(results, {f"Rows: seconds and RssAnon, {how}": table(["rows", *columns.values()], lines)})


def make_corpus(rows: int, folder: Path) -> Path:
    """The file of so many encoded training rows of an inference task, pieces drawn from one seed."""
    path = folder / "made.arrow"
    integers = pa.list_(pa.int32())
    fields = {"id": pa.string(), "document": pa.string(), "pieces": integers, "second": pa.int32()}
    schema = pa.schema(fields | {"length": pa.int32(), "terms": pa.int32(), "label": pa.int32()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for first in range(0, rows, _AT_ONCE):
            made = _made(first, min(_AT_ONCE, rows - first), schema)
            writer.write_table(made, max_chunksize=_RECORD_BATCH)
    return path


def _made(first: int, count: int, schema: Any) -> Any:
    generator = np.random.default_rng([SEED, first])
    lengths = np.full(count, _PIECES, dtype=np.int32)
    bounds = np.arange(count + 1, dtype=np.int32) * _PIECES
    pieces = generator.integers(1000, 30_000, size=int(bounds[-1]), dtype=np.int32)
    names = pa.array(np.arange(first, first + count)).cast(pa.string())
    columns = {
        "id": names,
        "document": names,
        "pieces": pa.ListArray.from_arrays(pa.array(bounds), pa.array(pieces)),
        "second": pa.array(lengths // 2),
        "length": pa.array(lengths),
        "terms": pa.array(np.ones(count, dtype=np.int32)),
        "label": pa.array(generator.integers(0, len(TASK.labels), size=count, dtype=np.int32)),
    }
    return pa.table(columns, schema=schema)


class _EnoughError(Exception):
    """The steps that were wanted are done."""


class _Few(StopRequest):
    """Ends training after a few steps, and keeps the time and the memory at which each began."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self.memory: list[float] = []

    def agreed(self, stop_file: Path, device: torch.device) -> bool:
        """Asked by the loop before each step."""
        self.times.append(time.perf_counter())
        self.memory.append(rss_anon())
        if len(self.times) > STEPS:
            raise _EnoughError
        return super().agreed(stop_file, device)


def start_and_step(path: Path) -> dict[str, float]:
    """Seconds and MiB of opening the corpus, of a start to the first step, and of the steps."""
    workload.as_in_training()
    tokenizer = load_tokenizer("sample")
    loaded = recipe.load(recipe.find("sample"), list(workload.SETTINGS))
    stop = _Few()
    with tempfile.TemporaryDirectory() as folder, peak_memory() as peak:
        began = time.perf_counter()
        split = EncodedSplit(TASK, "train", datasets.Dataset.from_file(str(path)), EncodingCounts(), "made")
        opening, opened = time.perf_counter() - began, rss_anon()
        work = Workload(loaded, (TASK,), None, {TASK.name: {"train": split}}, tokenizer)
        began = time.perf_counter()
        loop = workload.mtscale_loop(work, SEED, Path(folder), stop)
        ready = rss_anon()
        with contextlib.suppress(_EnoughError):
            loop.run()
    distributed.finish()
    steps = [end - start for start, end in pairwise(stop.times)]
    return {
        "opening": opening,
        "start": stop.times[0] - began,
        "step": statistics.median(steps),
        "opened": opened,
        "ready": ready,
        "scheduled": stop.memory[0],
        "peak": peak[0],
    }


if __name__ == "__main__":
    print(json.dumps(start_and_step(Path(sys.argv[1]))))
