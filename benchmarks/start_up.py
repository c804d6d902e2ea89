"""The second start of a recipe, caches warm: from the command to the first optimizer step, and where the time goes.

python -m benchmarks.start_up     prints the seconds of each part of a start, in a process that does nothing else
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.processes import run
from benchmarks.results import Report, interval
from mtscale.training.tables import table

STARTS = 3
SECONDS_AT_MOST = 120.0
_SHOWN_PACKAGES = 12
# How far a start has come is seen in what is in the run's folder.
MARKS = {
    "imports, tokenizer, caches": "environment.txt",
    "encoder, engine, first step": "events.jsonl",
}


def measure(_data_root: Path | None, starts: int = STARTS) -> Report:
    """Starts of ``mtscale train``, seen from outside; then the same parts and the imports in processes of their own."""
    first_step(Path(tempfile.gettempdir()))  # fills the caches
    found = [first_step(Path(tempfile.gettempdir())) for _ in range(starts)]
    whole = [sum(parts.values()) for parts in found]
    how = f"mtscale train --recipe sample to its first optimizer step, {starts} starts with warm caches"
    seen = [[part, "", f"{sum(parts[part] for parts in found) / starts:.2f}"] for part in MARKS]
    inside = [[part, "", f"{seconds:.2f}"] for part, seconds in run("benchmarks.start_up").items()]
    imported = [[package, "", f"{seconds:.2f}"] for package, seconds in imports("mtscale.training.stages").items()]
    return Report(
        {"second_start_seconds": interval(whole, "s", how)},
        {
            "Second start, seen from outside": table(["until", "", "seconds"], seen),
            "Second start, its parts in a process of their own": table(["part", "", "seconds"], inside),
            "Imports of training, each package's own time": table(["package", "", "seconds"], imported),
        },
    )


def first_step(place: Path) -> dict[str, float]:
    """Seconds from the command to each mark of a start; the run is ended after its first step."""
    with tempfile.TemporaryDirectory(dir=place) as runs, tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "mtscale.cli", "train", "--recipe", "sample", "--runs", runs, "--run", "start"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            parts: dict[str, float] = {}
            for part, name in MARKS.items():
                path = Path(runs) / "start" / name
                while not (path.exists() and (path.stat().st_size or name != "events.jsonl")):
                    if process.poll() is not None or time.perf_counter() - began > SECONDS_AT_MOST:
                        raise RuntimeError(f"no first step, exit code {process.poll()}")
                    time.sleep(0.005)
                parts[part] = time.perf_counter() - began - sum(parts.values())
        finally:
            # Nothing of the run is wanted: no checkpoint either.
            if process.poll() is None:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()
    return parts


def imports(module: str) -> dict[str, float]:
    """The seconds that each top-level package takes of a module's import, largest first; small ones together."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    seconds: dict[str, float] = defaultdict(float)
    for own, name in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", printed, re.MULTILINE):
        package = name.partition(".")[0]
        seconds["standard library" if package in sys.stdlib_module_names else package] += int(own) / 1e6
    ordered = sorted(seconds.items(), key=lambda entry: -entry[1])
    rest = sum(time for _, time in ordered[_SHOWN_PACKAGES:])
    return {**dict(ordered[:_SHOWN_PACKAGES]), "others": rest, "all": sum(seconds.values())}


def parts() -> dict[str, float]:
    """Seconds of each part of a start in this process, from the first import to the first step. MLflow has a thread."""
    marks: list[tuple[str, float]] = [("", time.perf_counter())]

    def done(part: str) -> None:
        marks.append((part, time.perf_counter()))

    import torch  # noqa: F401

    done("import torch")
    from mtscale.training import stages  # noqa: F401

    done("import the rest of what trains")
    from benchmarks import workload
    from mtscale.inputs.batches import collate
    from mtscale.model.encoder import load_encoder, load_tokenizer
    from mtscale.training import distributed
    from mtscale.training.stop import StopRequest

    load_tokenizer("sample")
    done("tokenizer")
    work = workload.load(None)
    done("tokenizer again and opening the caches")
    load_encoder("sample", "checkpoint", 128)
    done("encoder")
    with tempfile.TemporaryDirectory() as folder:
        loop = workload.mtscale_loop(work, 1, Path(folder), StopRequest())
    done("encoder again, model, engine")
    entry = loop.schedule.epoch(1)[0]
    encoded = work.splits[entry.task]["train"]
    batch = collate(encoded.rows, entry.rows, encoded.task.kind)
    done("schedule and first batch")
    loop.engine.train()
    loop.engine.step(entry.task, [batch.to(loop.engine.device)], int(encoded.terms[entry.rows].sum()), 0)
    done("first step")
    distributed.finish()
    return {part: end - began for (_, began), (part, end) in pairwise(marks)}


if __name__ == "__main__":
    print(json.dumps(parts()))
