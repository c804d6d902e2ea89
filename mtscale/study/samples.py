"""Predictions of a model as what significance needs of them: for each seed and cluster of the test set, sums.

The counts of a cluster are those that the metric itself makes of the cluster's part of gold and predictions, so that
their sum over clusters is what the metric makes of the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from mtscale import judge
from mtscale.corpora import catalogue
from mtscale.corpora.example import Gold, GoldValue, InferenceGold, RelationGold, SplitName, TaggingGold
from mtscale.corpora.independent import cluster_of
from mtscale.errors import ConfigError, DataError
from mtscale.metrics.counts import Confusion, Counts
from mtscale.metrics.inference import inference_confusion
from mtscale.metrics.relations import relation_confusion
from mtscale.metrics.significance import RATIOS, Additive, Ranked, Sample, pearson_sample
from mtscale.metrics.spans import decode_iob2, false_chunks, partial_f1, strict_f1
from mtscale.predictions import Prediction
from mtscale.tasks import Kind, Task

METRICS: Mapping[Kind, tuple[str, ...]] = {
    Kind.SIMILARITY: ("pearson", "spearman"),
    Kind.RELATION: ("micro_f1", "macro_f1"),
    Kind.INFERENCE: ("accuracy", "macro_f1"),
    Kind.TAGGING: ("f1", "conlleval_f1", "partial_f1"),
}


@dataclass(frozen=True)
class TestSet:
    """A split of a task: its gold, and the cluster of each entry of the gold."""

    __test__ = False  # of this project's tests it is none

    task: Task
    split: SplitName
    gold: Gold
    clusters: Mapping[str, str]

    @property
    def members(self) -> dict[str, list[str]]:
        """The ids of the gold by cluster, in an order that the corpus does not choose."""
        found: dict[str, list[str]] = defaultdict(list)
        for id_ in sorted(self.gold):
            found[self.clusters[id_]].append(id_)
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Scored:
    """A model on a test set: what ``judge`` gives each seed, and the same by cluster."""

    scores: tuple[float, ...]
    sample: Sample


def read_test_set(task: Task, split: SplitName, data_root: Path | None) -> TestSet:
    """The gold of a split and its clusters.

    Raises:
        ConfigError, DataError: as ``catalogue.read_gold``.
    """
    return TestSet(task, split, catalogue.read_gold(task, split, data_root), cluster_of(task, split, data_root))


def score(test_set: TestSet, metric: str, predictions: Sequence[Sequence[Prediction]]) -> Scored:
    """A model's predictions, those of one seed after those of another.

    Raises:
        ConfigError: the task has no such metric.
        DataError: predictions lack the tags that ``conlleval_f1`` needs, or do not belong to the gold.
    """
    task = test_set.task
    if metric not in METRICS[task.kind]:
        raise ConfigError(
            f"task {task.name}: expected one of the metrics {', '.join(METRICS[task.kind])}, found {metric!r}"
        )
    wants_tags = metric == "conlleval_f1"
    if wants_tags and not all(map(judge.has_tags, predictions)):
        raise DataError(f"task {task.name}: conlleval_f1 needs predictions with words and tags, found some without")
    try:
        scores = tuple(_judged(test_set, metric, made) for made in predictions)
    except ValueError as error:
        raise DataError(f"task {task.name}, {test_set.split}: {error}") from None
    found = _sample(test_set, metric, predictions)
    by_cluster = found.scores(np.ones((1, found.clusters)))[0]
    # A metric that counts otherwise than its counts per cluster would be compared wrongly without a word.
    assert np.allclose(by_cluster, scores, rtol=0, atol=1e-9), f"{metric} is not what its clusters add up to"
    return Scored(scores, found)


def _sample(test_set: TestSet, metric: str, predictions: Sequence[Sequence[Prediction]]) -> Sample:
    if test_set.task.kind is Kind.SIMILARITY:
        return _correlated(test_set, metric, predictions)
    ratios = [_ratios(test_set, metric, made) for made in predictions]
    return Additive(np.array(ratios, dtype=np.float64), RATIOS)


def _judged(test_set: TestSet, metric: str, predictions: Sequence[Prediction]) -> float:
    if test_set.task.kind is Kind.TAGGING and metric != "conlleval_f1":
        # The reading of tags takes longer than all the rest.
        predictions = [Prediction(id=one["id"], document=one["document"], spans=one["spans"]) for one in predictions]
    return judge.score_against(test_set.task, test_set.gold, predictions).values[metric]


def _correlated(test_set: TestSet, metric: str, predictions: Sequence[Sequence[Prediction]]) -> Sample:
    scores = [{one["id"]: one["score"] for one in made} for made in predictions]
    members = test_set.members
    ids = [id_ for part in members.values() for id_ in part]
    owners = np.repeat(np.arange(len(members)), [len(part) for part in members.values()])
    gold = cast(Mapping[str, float], test_set.gold)
    expected = np.array([gold[id_] for id_ in ids], dtype=np.float64)
    found = np.array([[by_id[id_] for id_ in ids] for by_id in scores], dtype=np.float64)
    return Ranked(expected, found, owners) if metric == "spearman" else pearson_sample(expected, found, owners)


def _ratios(test_set: TestSet, metric: str, predictions: Sequence[Prediction]) -> list[list[float]]:
    """For each cluster numerator and denominator of each ratio that the metric is the mean of."""
    by_document = test_set.task.kind is Kind.TAGGING
    made: dict[str, list[Prediction]] = defaultdict(list)
    for one in predictions:
        made[test_set.clusters[one["document"] if by_document else one["id"]]].append(one)
    gold = cast(Mapping[str, GoldValue], test_set.gold)
    return [
        _ratios_of_part(test_set.task, metric, cast(Gold, {id_: gold[id_] for id_ in ids}), made[cluster])
        for cluster, ids in test_set.members.items()
    ]


def _ratios_of_part(task: Task, metric: str, gold: Gold, predictions: Sequence[Prediction]) -> list[float]:
    if task.kind is Kind.TAGGING:
        return _span_ratio(task, metric, cast(TaggingGold, gold), predictions)
    labels = {one["id"]: one["label"] for one in predictions}
    if task.kind is Kind.INFERENCE:
        confusion = inference_confusion(cast(InferenceGold, gold), labels, task.labels)
        if metric == "accuracy":
            right = sum(row[place] for place, row in enumerate(confusion.rows))
            return [right, sum(map(sum, confusion.rows))]
        return _per_class(confusion, task.labels)
    assert task.negative is not None
    confusion = relation_confusion(cast(RelationGold, gold), labels, task.labels, task.negative)
    return _f1(confusion.micro(task.positives)) if metric == "micro_f1" else _per_class(confusion, task.positives)


def _span_ratio(task: Task, metric: str, gold: TaggingGold, predictions: Sequence[Prediction]) -> list[float]:
    if metric == "conlleval_f1":
        expected, found = judge.gold_tags(gold, predictions), [one["tags"] for one in predictions]
        chunks = [
            (set(decode_iob2(right)), set(decode_iob2(made))) for right, made in zip(expected, found, strict=True)
        ]
        return [
            sum(2 * len(right & made) for right, made in chunks),
            sum(len(right) + len(made) for right, made in chunks) + false_chunks(found),
        ]
    mentions = judge.mentions_by_document(predictions)
    if metric == "partial_f1":
        partial = partial_f1(gold, mentions, task.labels)
        return [2 * partial.credit, partial.predicted + partial.gold]
    return _f1(strict_f1(gold, mentions, task.labels).micro)


def _per_class(confusion: Confusion, labels: Sequence[str]) -> list[float]:
    return [part for label in labels for part in _f1(confusion.counts(label))]


def _f1(counts: Counts) -> list[float]:
    """Numerator and denominator of F1."""
    return [2 * counts.true_positives, 2 * counts.true_positives + counts.false_positives + counts.false_negatives]
