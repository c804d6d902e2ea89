"""A small recipe on the first documents and pairs of the sample, and its runs in processes of their own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from mtscale import names, recipe
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.errors import EXIT_FINISHED
from mtscale.run_summary import history
from mtscale.runs import RunDirectory, RunRecord, State
from mtscale.training.machine import free_port

TRAIN = Path(recipe.__file__).parent / "train.py"
ROOT = Path(__file__).parent.parent
FAULT_POINTS = Path(__file__).parent / "fault_points"
SECONDS = 240
TASKS: Mapping[str, Mapping[str, object]] = {
    "diseases": {"kind": "tagging", "format": "pubtator", "labels": ["Disease"]},
    "induction": {
        "kind": "relation",
        "format": "pubtator",
        "labels": ["induces", "none"],
        "negative": "none",
        "arguments": ["Chemical", "Disease"],
        "relation": "CID",
    },
    "likeness": {"kind": "similarity", "format": "tsv", "score_range": [0.0, 5.0]},
    "evidence": {
        "kind": "inference",
        "format": "tsv",
        "labels": ["no significant difference", "significantly increased", "significantly decreased"],
    },
}
CORPORA = {"diseases": "cdr", "induction": "cdr", "likeness": "cdr-similarity", "evidence": "evidence-inference"}


def launch(script: Path, ranks: int, arguments: Sequence[str], cache: Path) -> None:
    """Run a script on so many ranks; one rank needs no launcher."""
    command = [sys.executable, str(script), *arguments]
    if ranks > 1:
        launcher = ["-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks), "--master_port", str(free_port())]
        command = [sys.executable, *launcher, str(script), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MTSCALE_")}
    environment |= {"MTSCALE_CACHE": str(cache), "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(TRAIN.parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Lab:
    """A small recipe on the first documents and pairs of the sample, beside its corpora, and a runs folder."""

    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def write(self, encoder: Path) -> None:
        tables = []
        for name, table in TASKS.items():
            files = {}
            for split in ("train", "dev", "test"):
                (source,) = (SAMPLE_FOLDER / CORPORA[name]).glob(f"{split}.*")
                text = source.read_text(encoding="utf-8")
                files[split] = f"{name}.{source.name}"
                cut = "\n\n".join(text.split("\n\n")[:4]).rstrip("\n") + "\n"
                if source.suffix == ".tsv":
                    cut = "".join(text.splitlines(keepends=True)[:30])
                (self.folder / files[split]).write_text(cut, encoding="utf-8")
            tables.append({"name": name, **table, "files": files})
        refine = {"epochs": 2, "batch_size": 6, "learning_rate": 2e-3}
        content = {"name": "small", "encoder": {"name": str(encoder), "max_pieces": 64}, "refine": refine}
        (self.folder / "recipe.toml").write_text(tomli_w.dumps({**content, "tasks": tables}), encoding="utf-8")

    def start(
        self,
        name: str,
        *options: str,
        ranks: int = 1,
        script: Path = TRAIN,
        added: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """One rank is started alone; several by the launcher."""
        launcher = ["-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks), "--master_port", str(free_port())]
        command = [sys.executable, *(launcher if ranks > 1 else []), str(script), *self.options(name), *options]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment(**(added or {})), stdout=pipe, stderr=pipe, text=True)

    def options(self, name: str) -> list[str]:
        """What a training command is told of the recipe and its places."""
        recipe_file = str(self.folder / "recipe.toml")
        return ["--ds_config", "cpu-fp32", "--recipe", recipe_file, "--runs", str(self.runs), "--run", name]

    def environment(self, **added: str) -> dict[str, str]:
        """The environment of a training command, with no settings from outside but those added."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("MTSCALE_", "MLFLOW_"))}
        return kept | {"MTSCALE_CACHE": str(self.runs.parent / "cache"), "DS_ACCELERATOR": "cpu"} | added

    def finish(self, name: str, *options: str) -> str:
        """Train to the end; what the run printed."""
        return self.end(self.start(name, *options), name)

    def end(self, process: subprocess.Popen[str], name: str) -> str:
        printed, errors = process.communicate(timeout=SECONDS)
        assert self.run(name).state() is State.FINISHED, errors
        assert process.returncode == EXIT_FINISHED, errors
        return printed

    def run(self, name: str) -> RunDirectory:
        return RunDirectory(self.runs / name)


def held_at(mark: Path, event: str, path: str, nth: int = 1, rank: int = 0) -> dict[str, str]:
    """The environment in which a rank waits at a point of its work while the file ``mark`` is there."""
    point = {"event": event, "path": path, "nth": nth, "rank": rank, "mark": str(mark)}
    return {"PYTHONPATH": os.pathsep.join([str(FAULT_POINTS), str(ROOT)]), "FAULT_POINT": json.dumps(point)}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, f"ended too early:\n{process.communicate()[1]}"
        assert time.monotonic() < end
        time.sleep(0.005)


def steps_done(run: RunDirectory) -> int:
    return sum(event.kind == "train" for event in run.events())


def losses(run: RunDirectory) -> list[float]:
    """The recorded training losses in their order."""
    return [point["value"] for point in history(run.events())[names.TRAIN_LOSS]]


def make_run(runs: Path, name: str = "run") -> RunDirectory:
    """A run directory without a training."""
    record = RunRecord(
        name=name,
        family="f",
        group="g",
        recipe="sample",
        stage="refine",
        seed=1,
        protocol="clean",
        tasks=("cdr-disease",),
        ds_config="cpu",
        world_size=1,
        command=("mtscale", "train"),
        versions={},
        recipe_hash="0",
    )
    return RunDirectory.create(runs / name, record, 'name = "sample"\n', "{}\n")


def recorded(run: RunDirectory) -> dict[tuple[str, int], float]:
    """Every recorded value but those that depend on the time of day."""
    return {
        (name, event.step): value
        for event in run.events()
        for name, value in event.values.items()
        if not name.startswith("perf/")
    }


def files(run: RunDirectory) -> dict[str, bytes]:
    """The kept weights, the predictions and the reports."""
    kept = [run.path / name for name in ("predictions", "reports", "checkpoints/best")]
    return {
        str(path.relative_to(run.path)): path.read_bytes()
        for folder in kept
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def mlflow_runs(run: RunDirectory) -> list[tuple[str | None, str]]:
    """The MLflow runs that show a run, with their status: one, if all is well."""
    query = "SELECT run_uuid, status FROM runs JOIN tags USING (run_uuid) WHERE key = 'mtscale.id' AND value = ?"
    with sqlite3.connect(run.path.parent / "mlflow.db") as store:
        return store.execute(query, [run.record.id]).fetchall()


def mlflow_status(run: RunDirectory) -> str:
    with sqlite3.connect(run.path.parent / "mlflow.db") as store:
        found = store.execute("SELECT status FROM runs WHERE run_uuid = ?", [run.record.mlflow_run_id]).fetchone()
    return str(found[0])


def mlflow_metrics(run: RunDirectory) -> list[tuple[str, int, float]]:
    with sqlite3.connect(run.path.parent / "mlflow.db") as store:
        query = "SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY key, step"
        return store.execute(query, [run.record.mlflow_run_id]).fetchall()
