"""What a table of runs shows: one record per run, made from its run directory alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypedDict

from mtscale import names
from mtscale.event_log import EventLog, Series
from mtscale.runs import Event, RunDirectory


class TaskScores(TypedDict):
    """One task's scores in a run, those of the kept epoch; None where not known.

    A run that chose its epoch on test (protocol ``paper``) has no ``dev``, and its ``test`` is optimistic.
    """

    dev: float | None
    test: float | None
    floor: float | None
    best_epoch: int | None


class RunSummary(TypedDict):
    """One row of ``mtscale runs list --json``."""

    id: str
    dir: str
    family: str
    group: str
    recipe: str
    stage: str
    task: str | None
    seed: int
    protocol: str
    tasks: list[str]
    state: str
    step: int
    steps: int
    macro: float | None
    scores: dict[str, TaskScores]
    mlflow_run_id: str | None
    ds_config: str
    created: float
    message: str


class Point(TypedDict):
    """One recorded value."""

    step: int
    epoch: int
    time: float
    value: float


def history(events: Iterable[Event]) -> dict[str, list[Point]]:
    """Every recorded name with its values in the order of the steps."""
    series: dict[str, list[Point]] = {}
    for event in events:
        for name, value in event.values.items():
            point = Point(step=event.step, epoch=event.epoch, time=event.time, value=value)
            series.setdefault(name, []).append(point)
    return series


class Perplexities(NamedTuple):
    """Of the held-out text of a pretraining run: its encoder at the start, last and as kept, and the unigram model.

    None where not known.
    """

    at_start: float | None
    last: float | None
    kept: float | None
    unigram: float | None


def perplexities(run: RunDirectory) -> Perplexities:
    """What a pretraining run has reached."""
    found = history(run.events())

    def at(name: str, place: int) -> float | None:
        points = found.get(name)
        return points[place]["value"] if points else None

    return Perplexities(
        at_start=at(names.HELDOUT_PERPLEXITY, 0),
        last=at(names.HELDOUT_PERPLEXITY, -1),
        kept=at(names.BEST_PERPLEXITY, -1),
        unigram=at(names.UNIGRAM_PERPLEXITY, -1),
    )


def is_summarized(name: str) -> bool:
    """Whether a summary needs the values of a name."""
    return name.endswith((f"/{names.SCORE}", f"/{names.FLOOR}"))


def read_scores(run: RunDirectory) -> Mapping[str, Series]:
    """The series that a summary is made of."""
    log = EventLog(run.path, training=False, wanted=is_summarized)
    while log.read():
        pass
    return log.series


def _last(series: Mapping[str, Series], name: str) -> float | None:
    found = series.get(name)
    return found.values[-1] if found else None


def _best_epoch(series: Mapping[str, Series], task: str, split: str) -> int | None:
    found = series.get(names.metric(split, task, names.SCORE))
    return found.epochs[max(range(len(found)), key=found.values.__getitem__)] if found else None


def _floor(series: Mapping[str, Series], task: str) -> float | None:
    on_test = _last(series, names.metric("test", task, names.FLOOR))
    return on_test if on_test is not None else _last(series, names.metric("dev", task, names.FLOOR))


def _task_scores(series: Mapping[str, Series], task: str, chosen_on: str) -> TaskScores:
    kept = _last(series, names.best(task, chosen_on))
    by_split = {split: _last(series, names.metric(split, task, names.SCORE)) for split in ("dev", "test")}
    if kept is not None:
        by_split[chosen_on] = kept
    return TaskScores(
        dev=by_split["dev"],
        test=by_split["test"],
        floor=_floor(series, task),
        best_epoch=_best_epoch(series, task, chosen_on),
    )


def summarize(run: RunDirectory, series: Mapping[str, Series] | None = None) -> RunSummary:
    """The row of one run. The scores are the kept epoch's, or the latest while none is kept.

    ``macro`` is that of the split on which the protocol chooses (``names.chosen_on``). ``series`` is what was read of
    its events already.
    """
    record, status = run.record, run.status
    series = read_scores(run) if series is None else series
    chosen_on = names.chosen_on(record.protocol)
    scores = {task: _task_scores(series, task, chosen_on) for task in record.tasks}
    return RunSummary(
        id=record.id,
        dir=str(run.path),
        family=record.family,
        group=record.group,
        recipe=record.recipe,
        stage=record.stage,
        task=record.task,
        seed=record.seed,
        protocol=record.protocol,
        tasks=list(record.tasks),
        state=run.state().value,
        step=status.step,
        steps=status.steps,
        macro=_last(series, names.best(names.MACRO, chosen_on)),
        scores=scores,
        mlflow_run_id=record.mlflow_run_id,
        ds_config=record.ds_config,
        created=record.created,
        message=status.message,
    )
