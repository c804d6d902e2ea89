"""What a mirror shows of a run besides its numbers, and a run shown anew from its directory alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mtscale.runs import RunDirectory
from mtscale.tracking.mlflow_tracker import MlflowMirror
from mtscale.tracking.tracker import RunTracker

CONFIG_FILES = ("recipe.toml", "ds_config.json", "environment.txt")


def tags(run: RunDirectory) -> dict[str, str]:
    """By what runs are found and grouped in a mirror."""
    record = run.record
    return {
        "mtscale.id": record.id,
        "mtscale.family": record.family,
        "mtscale.group": record.group,
        "mtscale.run_dir": str(run.path.resolve()),
        "mtscale.tasks": ",".join(record.tasks),
        "mtscale.version": record.versions.get("mtscale", ""),
        "mtscale.host": record.host,
        "mtscale.access": record.access,
    }


def mirrored(run: RunDirectory) -> tuple[RunTracker, MlflowMirror]:
    """A tracker of the run with its mirror in MLflow, not yet started.

    Raises:
        ConfigError: ``MLFLOW_TRACKING_URI`` cannot be used.
    """

    def note(run_id: str, uri: str) -> None:
        run.update_record(mlflow_run_id=run_id, mlflow_uri=uri)

    mirror = MlflowMirror(run.path.parent, on_run_id=note)
    return RunTracker(run, mirror), mirror


def replay(run: RunDirectory) -> bool:
    """Show in MLflow what it lacks of a run that has ended; whether all of it got there.

    Raises:
        ConfigError: ``MLFLOW_TRACKING_URI`` cannot be used.
    """
    tracker, mirror = mirrored(run)
    tracker.start(run.record.params, tags(run))
    for path, folder in _artifacts(run.path):
        tracker.artifact(path, folder)
    tracker.close(run.state())
    return mirror.complete


def _artifacts(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files that training shows, with their folders in the mirror."""
    for name in CONFIG_FILES:
        if (folder / name).exists():
            yield folder / name, "config"
    for path in sorted((folder / "reports").rglob("*")):
        if path.is_file():
            yield path, str(path.parent.relative_to(folder))
