"""The selection gap: what choosing the epoch on test adds to a score, within one run of protocol ``paper``."""

from __future__ import annotations

from dataclasses import dataclass

from mtscale import names
from mtscale.errors import ConfigError
from mtscale.runs import RunDirectory


@dataclass(frozen=True, slots=True)
class SelectionGap:
    """A task's score on test at its own best epoch and at the final one; of equal epochs the first is the best."""

    task: str
    best_epoch: int
    best: float
    final_epoch: int
    final: float

    @property
    def gap(self) -> float:
        """Best minus final, 0 or more, in the units of the metric."""
        return self.best - self.final


def selection_gap(run: RunDirectory) -> list[SelectionGap]:
    """The gap of each task, in the run's order.

    It is what reporting each task's best test epoch adds to the score of the trained model itself; the rest of the
    distance to protocol ``clean`` comes of the data (train and dev) and the procedure.

    Raises:
        ConfigError: the run did not score every epoch on test, or has scored none yet.
    """
    record = run.record
    if names.chosen_on(record.protocol) != "test":
        raise ConfigError(
            f"{run.path}: a selection gap is that of a run of protocol 'paper', which scores every epoch on test; "
            f"this one has protocol {record.protocol!r}"
        )
    by_epoch: dict[int, dict[str, float]] = {}
    for event in run.events():
        if event.kind == "test":
            by_epoch.setdefault(event.epoch, {}).update(event.values)
    if not by_epoch:
        raise ConfigError(f"{run.path} ({run.state()}): no epoch has been scored on test yet; let it go on")
    return [_of_task(task, by_epoch) for task in record.tasks]


def _of_task(task: str, by_epoch: dict[int, dict[str, float]]) -> SelectionGap:
    name = names.metric("test", task, names.SCORE)
    scores = {epoch: by_epoch[epoch][name] for epoch in sorted(by_epoch)}
    best, final = max(scores, key=scores.__getitem__), max(scores)
    return SelectionGap(task, best, scores[best], final, scores[final])
