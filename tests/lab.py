"""A small recipe on the first documents and pairs of the sample, and its runs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from mtscale import recipe
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.errors import EXIT_FINISHED
from mtscale.runs import RunDirectory, State
from mtscale.training.machine import free_port

TRAIN = Path(recipe.__file__).parent / "train.py"
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
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """One rank is started alone; several by the launcher."""
        launcher = ["-m", "deepspeed.launcher.runner", "--num_gpus", str(ranks), "--master_port", str(free_port())]
        places = ["--ds_config", "cpu-fp32", "--runs", str(self.runs), "--run", name]
        command = [sys.executable, *(launcher if ranks > 1 else []), str(script), *places]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MTSCALE_", "MLFLOW_"))}
        own = {"MTSCALE_CACHE": str(self.runs.parent / "cache"), "DS_ACCELERATOR": "cpu"}
        return subprocess.Popen(
            [*command, "--recipe", str(self.folder / "recipe.toml"), *options],
            env={**inherited, **own, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

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


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, f"ended too early:\n{process.communicate()[1]}"
        assert time.monotonic() < end
        time.sleep(0.005)


def steps_done(run: RunDirectory) -> int:
    return sum(event.kind == "train" for event in run.events())
