"""What can be charted of a run or of several: each topic a set of curves. No widgets here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtscale import names
from mtscale.event_log import Series
from mtscale.run_summary import RunSummary

from .cells import plain
from .chart import Line

_OF_THE_RUN = {
    "held-out perplexity": names.HELDOUT_PERPLEXITY,
    "held-out loss": names.HELDOUT_LOSS,
    "train loss of all tasks": names.TRAIN_LOSS,
    "learning rate": names.LEARNING_RATE,
    "gradient norm": names.GRAD_NORM,
    "examples per second": names.EXAMPLES_PER_SECOND,
    "word pieces per second": names.PIECES_PER_SECOND,
    "resident GiB": names.RESIDENT_GIB,
    "steps skipped as not finite": names.NONFINITE_STEPS,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A named series, and the time from which its own is counted."""

    name: str
    series: Series
    start: float

    def line(self, time: bool) -> Line:
        """Its values by step, or by seconds since the start."""
        x = [moment - self.start for moment in self.series.times] if time else self.series.steps
        return Line(self.name, x, self.series.values)


@dataclass(frozen=True, slots=True)
class Topic:
    """A title, and what is drawn together under it."""

    title: str
    curves: tuple[Curve, ...]


def start_of(series: Mapping[str, Series]) -> float:
    """When the first value of a run was recorded."""
    return min((one.times[0] for one in series.values() if len(one)), default=0.0)


def run_topics(summary: RunSummary, series: Mapping[str, Series]) -> list[Topic]:
    """Scores and losses of the tasks, each metric, then what belongs to the run as a whole; without what is empty."""
    start, tasks = start_of(series), summary["tasks"]
    split = names.chosen_on(summary["protocol"])

    def by_task(title: str, named: Mapping[str, str]) -> Topic:
        found = ((task, series.get(name)) for task, name in named.items())
        return Topic(title, tuple(Curve(plain(task), one, start) for task, one in found if one))

    topics = [
        by_task(f"{split} score", {task: names.metric(split, task, names.SCORE) for task in tasks}),
        by_task("train loss", {task: names.train_loss(task) for task in tasks}),
        by_task(f"{split} macro score", {names.MACRO: names.macro(split)}),
    ]
    for metric in _metrics(series, split):
        topics.append(by_task(f"{split} {plain(metric)}", {task: names.metric(split, task, metric) for task in tasks}))
    topics.append(by_task("loss weight", {task: names.loss_weight(task) for task in tasks}))
    topics += [by_task(title, {title: name}) for title, name in _OF_THE_RUN.items()]
    return [topic for topic in topics if topic.curves] or [Topic(f"{split} score", ())]


def _metrics(series: Mapping[str, Series], split: str) -> list[str]:
    """The metrics beside the score, in the order in which they were first recorded."""
    found = (name.split("/") for name in series)
    metrics = (parts[2] for parts in found if len(parts) == 3 and parts[0] == split)
    return [metric for metric in dict.fromkeys(metrics) if metric not in {names.SCORE, names.FLOOR}]


def compared_topics(runs: Sequence[tuple[str, Mapping[str, Series]]], tasks: Sequence[str], split: str) -> list[Topic]:
    """The same of several named runs in one chart: macro, then each task's score and loss, then the whole's."""
    wanted = {f"{split} macro score": names.macro(split)}
    wanted |= {f"{split} {plain(task)}": names.metric(split, task, names.SCORE) for task in tasks}
    wanted |= {f"train loss {plain(task)}": names.train_loss(task) for task in tasks}
    wanted |= _OF_THE_RUN
    topics = []
    for title, name in wanted.items():
        curves = tuple(Curve(run, series[name], start_of(series)) for run, series in runs if name in series)
        if curves:
            topics.append(Topic(title, curves))
    return topics or [Topic(f"{split} macro score", ())]
