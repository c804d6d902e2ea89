"""What stands for the directory of a run that MLflow alone knows."""

from __future__ import annotations

from pathlib import Path

_PREFIX = "mlflow:"


def mlflow_place(run_id: str, name: str) -> str:
    """A path at which nothing lies; its last part is the run's name."""
    return f"{_PREFIX}{run_id}/{name}"


def mlflow_run(place: str | Path) -> str | None:
    """The MLflow run that a place stands for; None of a run directory."""
    first = str(place).partition("/")[0]
    return first.removeprefix(_PREFIX) if first.startswith(_PREFIX) else None
