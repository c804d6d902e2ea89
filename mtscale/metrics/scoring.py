"""The one door to the metrics: gold and predictions of one task in, its named values and a full report out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeAlias

from mtscale import names
from mtscale.errors import ConfigError
from mtscale.metrics.counts import Confusion, check_ids
from mtscale.metrics.inference import accuracy, inference_confusion
from mtscale.metrics.regression import pearson, spearman
from mtscale.metrics.relations import relation_confusion
from mtscale.metrics.spans import SpanLike, conlleval_f1, partial_f1, strict_f1, strict_iob2_f1
from mtscale.tasks import Task

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | float | None"


@dataclass(frozen=True, slots=True)
class TaskScore:
    """What one task reached on one split.

    ``values``: the task's metrics by name, and ``score``, its primary one. ``report``: per class or label precision,
    recall, F1, support and counts, ready for JSON. ``confusion``: None where there are no classes.
    """

    values: dict[str, float]
    report: dict[str, Json]
    confusion: Confusion | None


def score_similarity(task: Task, gold: Mapping[str, float], predicted: Mapping[str, float]) -> TaskScore:
    """Pearson and Spearman correlation of scores by example id.

    Raises:
        DataError: fewer than two gold scores, or constant or non-finite ones.
        ValueError: the ids of gold and predictions differ, or a prediction is NaN or infinite.
    """
    check_ids(gold, predicted, complete=True)
    expected, found = list(gold.values()), [predicted[example] for example in gold]
    values = {"pearson": pearson(expected, found), "spearman": spearman(expected, found)}
    return _task_score(task, values, {"support": len(gold)}, None)


def score_inference(task: Task, gold: Mapping[str, str], predicted: Mapping[str, str]) -> TaskScore:
    """Accuracy and macro F1 over all classes of the task, by example id.

    Raises:
        DataError: the gold is empty or holds a label the task does not declare.
        ValueError: the ids of gold and predictions differ, or an undeclared label is predicted.
    """
    confusion = inference_confusion(gold, predicted, task.labels)
    values = {"accuracy": accuracy(confusion), "macro_f1": confusion.macro_f1(task.labels)}
    return _task_score(task, values, {"classes": _per_class(confusion)}, confusion)


def score_relation(task: Task, gold: Mapping[str, tuple[str, ...]], predicted: Mapping[str, str]) -> TaskScore:
    """Micro precision, recall and F1 and macro F1 over the task's positive classes, by pair id.

    ``relations.relation_confusion`` says how pairs without a prediction and pairs with several relations count.

    Raises:
        ConfigError: the task does not name its negative class, or has no other.
        DataError: the gold is empty or holds a label the task does not declare.
        ValueError: a predicted id is not in the gold, or an undeclared label is predicted.
    """
    if task.negative not in task.labels or not task.positives:
        raise ConfigError(
            f"task {task.name}: expected among its labels a negative class and at least one other, found the labels "
            f"{', '.join(task.labels) or 'none'} and negative = {task.negative!r}; set `labels` and `negative`"
        )
    confusion = relation_confusion(gold, predicted, task.labels, task.negative)
    micro = confusion.micro(task.positives)
    values = {
        "micro_f1": micro.f1,
        "macro_f1": confusion.macro_f1(task.positives),
        "micro_precision": micro.precision,
        "micro_recall": micro.recall,
    }
    return _task_score(task, values, {"classes": _per_class(confusion), "micro": micro.as_report()}, confusion)


def score_tagging(
    task: Task,
    gold: Mapping[str, AbstractSet[SpanLike]],
    predicted: Mapping[str, AbstractSet[SpanLike]],
    gold_tags: Sequence[Sequence[str]] | None = None,
    predicted_tags: Sequence[Sequence[str]] | None = None,
) -> TaskScore:
    """Strict precision, recall and F1 of mentions by document, their partial F1, and the F1s of the sentences' tags.

    The spans see the whole gold; the tags see only what is in the sentences. Predictions that carry spans alone have
    no tags: their score holds neither ``conlleval_f1`` nor ``strict_iob2_f1``.

    Raises:
        DataError: the gold has no document or holds a label the task does not declare.
        ValueError: a predicted document is not in the gold, an undeclared label is predicted, there are tags on one
            side only, or the tags do not match each other or are not IOB2.
    """
    strict, partial = strict_f1(gold, predicted, task.labels), partial_f1(gold, predicted, task.labels)
    values = {
        "f1": strict.micro.f1,
        "precision": strict.micro.precision,
        "recall": strict.micro.recall,
        "partial_f1": partial.f1,
    }
    report: dict[str, Json] = {
        "labels": {label: counts.as_report() for label, counts in strict.per_label.items()},
        "micro": strict.micro.as_report(),
        "partial": partial.as_report(),
    }
    if gold_tags is not None and predicted_tags is not None:
        values["conlleval_f1"] = conlleval_f1(gold_tags, predicted_tags)
        report["strict_iob2_f1"] = strict_iob2_f1(gold_tags, predicted_tags)
    elif gold_tags is not None or predicted_tags is not None:
        raise ValueError("expected both gold and predicted tags or neither, found one of them")
    return _task_score(task, values, report, None)


def macro_score(scores: Mapping[str, float]) -> float:
    """The plain mean of the tasks' scores, each task counted once whatever its size (the paper's Avg column).

    Raises:
        ValueError: there is no score, or one is NaN or infinite.
    """
    if not scores:
        raise ValueError("expected the score of at least one task, found none")
    strange = sorted(task for task, score in scores.items() if not math.isfinite(score))
    if strange:
        raise ValueError(f"expected finite scores, found NaN or infinity for {', '.join(strange)}")
    return statistics.fmean(scores.values())


def _task_score(
    task: Task, values: dict[str, float], report: dict[str, Json], confusion: Confusion | None
) -> TaskScore:
    return TaskScore({names.SCORE: values[task.metric], **values}, report, confusion)


def _per_class(confusion: Confusion) -> Json:
    return {label: confusion.counts(label).as_report() for label in confusion.labels}
