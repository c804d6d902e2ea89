"""Inference: one class for each pair of texts, every class counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtscale.metrics.counts import Confusion, check_ids, check_labels


def inference_confusion(gold: Mapping[str, str], predicted: Mapping[str, str], labels: Sequence[str]) -> Confusion:
    """The confusion matrix of classes by example id, in the order of ``labels``.

    Every id needs a prediction: long pairs are cut, never lost, on the way to the model.

    Raises:
        DataError: the gold is empty or holds an undeclared label.
        ValueError: the ids of gold and predictions differ, or an undeclared label is predicted.
    """
    check_ids(gold, predicted, complete=True)
    check_labels(gold.items(), predicted.items(), labels)
    return Confusion.of(labels, ((label, predicted[example]) for example, label in gold.items()))


def accuracy(confusion: Confusion) -> float:
    """The part of all examples on the diagonal of a confusion matrix that is not empty."""
    hits = sum(row[index] for index, row in enumerate(confusion.rows))
    return hits / sum(map(sum, confusion.rows))
