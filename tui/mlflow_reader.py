"""Reads an MLflow store for the app, in a process of its own: MLflow takes a second to load, prints, waits and retries.

    python -m mtscale_tui.mlflow_reader URI EXPERIMENT

A line of JSON asks, a line of JSON answers: ``{"runs": true}`` or ``{"run": MLFLOW_RUN_ID}``, each with the seconds
that it took. Whoever asks ends it by
closing its standard input, or kills it: nothing is ever written to the store.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mtscale import names
from mtscale.run_summary import RunSummary, TaskScores
from mtscale.states import State

from .places import mlflow_place

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MAX_RUNS = 2000
_PAGE = 500
_LOCK_SECONDS = 2.0
_SETTINGS = ("recipe.toml", "ds_config.json")
# What a tracker of mtscale writes as a final state; MLflow has no word for a run that is lost.
_STATES: Mapping[str, State] = {
    "SCHEDULED": State.QUEUED,
    "RUNNING": State.RUNNING,
    "FINISHED": State.FINISHED,
    "FAILED": State.FAILED,
    "KILLED": State.STOPPED,
}


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store; None of any other."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def require_readable(uri: str) -> None:
    """Look at an SQLite store before MLflow does, which would create a missing one and wait minutes for a locked one.

    Raises:
        OSError, sqlite3.Error: it is not there, locked, or no store of MLflow.
    """
    path = sqlite_file(uri)
    if path is None:
        return
    if not path.exists():
        raise FileNotFoundError(f"no store at {path}")
    store = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)
    try:
        store.execute("SELECT count(*) FROM experiments").fetchone()
    finally:
        store.close()


def open_client(uri: str) -> MlflowClient:
    """MLflow's client with short waits. Raises what MLflow raises, and see ``require_readable``."""
    require_readable(uri)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow import MlflowClient

    return MlflowClient(uri)


def list_runs(client: MlflowClient, experiment: str) -> list[RunSummary]:
    """The newest runs that mtscale has shown in an experiment, as far as MLflow tells."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    runs: list[Run] = []
    token = None
    while len(runs) < MAX_RUNS:
        page = client.search_runs(
            [found.experiment_id], max_results=_PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            break
    return [summary(run) for run in runs if "mtscale.id" in run.data.tags]


def summary(run: Run) -> RunSummary:
    """A row of the table of runs; steps are not known, and the message says where the run directory was."""
    tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
    tasks = [task for task in tags.get("mtscale.tasks", "").split(",") if task]
    protocol, stage = params.get("protocol", names.CLEAN), params.get("stage", "")
    name = run.info.run_name or ""
    return RunSummary(
        id=tags["mtscale.id"],
        dir=mlflow_place(run.info.run_id, name if names.RUN_NAME.fullmatch(name) else run.info.run_id),
        family=tags.get("mtscale.family", ""),
        group=tags.get("mtscale.group", ""),
        recipe=params.get("recipe", ""),
        stage=stage,
        task=tasks[0] if stage == "finetune" and tasks else None,
        seed=int(params.get("seed", 0)),
        protocol=protocol,
        tasks=tasks,
        state=_STATES[run.info.status].value,
        step=0,
        steps=0,
        macro=metrics.get(names.best(names.MACRO, names.chosen_on(protocol))),
        scores={task: _scores(metrics, task, names.chosen_on(protocol)) for task in tasks},
        mlflow_run_id=run.info.run_id,
        ds_config=params.get("ds.config", ""),
        created=run.info.start_time / 1000,
        message=f"in MLflow alone; its directory was {tags.get('mtscale.host', '')}:{tags.get('mtscale.run_dir', '')}",
    )


def _scores(metrics: Mapping[str, float], task: str, chosen_on: str) -> TaskScores:
    """The scores of the kept epoch, or the latest, as ``mtscale.run_summary`` has them."""
    latest = {split: metrics.get(names.metric(split, task, names.SCORE)) for split in ("dev", "test")}
    kept = metrics.get(names.best(task, chosen_on))
    if kept is not None:
        latest[chosen_on] = kept
    floors = (metrics.get(names.metric(split, task, names.FLOOR)) for split in ("test", "dev"))
    floor = next((floor for floor in floors if floor is not None), None)
    return TaskScores(dev=latest["dev"], test=latest["test"], floor=floor, best_epoch=None)


def read_run(client: MlflowClient, run_id: str) -> dict[str, object]:
    """One run: its row, every metric as (step, seconds since 1970, value), its two settings files as texts."""
    run = client.get_run(run_id)
    points = {name: client.get_metric_history(run_id, name) for name in run.data.metrics}
    return {
        "summary": summary(run),
        "series": {
            name: [(point.step, point.timestamp / 1000, point.value) for point in sorted(found, key=lambda p: p.step)]
            for name, found in points.items()
        },
        "settings": [_settings_file(client, run_id, name) for name in _SETTINGS],
    }


def _settings_file(client: MlflowClient, run_id: str, name: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(run_id, f"config/{name}", folder)).read_text("utf-8", "replace")
        # Where artifacts lie is not where the numbers do: another disk, another machine.
        except Exception:
            return f"{name} is not among the artifacts that can be read from here"


def explain(error: BaseException, uri: str) -> str:
    """The first line of what began an error, without a password that stands in the address."""
    while (before := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        error = before
    password = urlsplit(uri).password
    text = str(error).replace(f":{password}@", "@") if password else str(error)
    return (text or repr(error)).splitlines()[0][:200]


def main() -> None:
    """Answer one question after the other."""
    uri, experiment = sys.argv[1:]
    # Whatever libraries print is not an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    client = None
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, object]
        try:
            require_readable(uri)
            client = client or open_client(uri)
            began = time.monotonic()
            answer = read_run(client, asked["run"]) if "run" in asked else {"runs": list_runs(client, experiment)}
            answer["seconds"] = time.monotonic() - began
        except Exception as error:
            answer = {"problem": explain(error, uri)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
