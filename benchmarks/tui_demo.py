"""Records finished runs for ``mtscale-tui --demo``: what a run directory says in numbers, made small.

    python -m benchmarks.tui_demo DIRECTORY FAMILY=NAME [FAMILY=NAME ...]

A family is the directory of a run without what its stage adds; NAME takes its place.
Kept are run.json, recipe.toml, ds_config.json, status.json, train.log, and of events.jsonl every third record of
training and all others, numbers with six digits. Left out are checkpoints, predictions, reports, and what tells of the
machine: host, processes, folders.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

EVERY = 3
DIGITS = 6
_AS_THEY_ARE = ("recipe.toml", "ds_config.json", "status.json")


def record(run: Path, folder: Path, family: str, name: str) -> None:
    """Write the recording of one run into a folder, named as it would be had its family been called so.

    Raises:
        OSError: a file of the run is not there, or the recording is.
    """
    target = folder / run.name.replace(family, name)
    target.mkdir(parents=True)
    runs = str(run.resolve().parent)

    def renamed(text: str) -> str:
        return text.replace(runs, "runs").replace(family, name)

    for name_of_file in _AS_THEY_ARE:
        (target / name_of_file).write_text((run / name_of_file).read_text(encoding="utf-8"), encoding="utf-8")
    log = (run / "train.log").read_text(encoding="utf-8")
    (target / "train.log").write_text(renamed(log), encoding="utf-8")
    (target / "events.jsonl").write_text("".join(_events(run / "events.jsonl")), encoding="utf-8")
    known = json.loads(renamed((run / "run.json").read_text(encoding="utf-8")))
    options = (Path(word).name if word.startswith("/") else word for word in known["command"][1:])
    known["command"] = ["mtscale/train.py", *options]
    known |= {"directory": ".", "host": "recorded", "pid": 0, "pid_start": None, "processes": []}
    known |= {"mlflow_run_id": None, "mlflow_uri": None}
    (target / "run.json").write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def _events(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["kind"] == "train" and event["step"] % EVERY != 1:
            continue
        event["values"] = {name: float(f"{value:.{DIGITS}g}") for name, value in event["values"].items()}
        # The space after a colon is what readers know a record of training by.
        yield json.dumps(event, separators=(",", ": ")) + "\n"


if __name__ == "__main__":
    for given in sys.argv[2:]:
        source, _, called = given.rpartition("=")
        for found in sorted(Path(source).parent.glob(f"{Path(source).name}*")):
            record(found, Path(sys.argv[1]), Path(source).name, called)
