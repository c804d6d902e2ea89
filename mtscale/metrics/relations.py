"""Relations: a class for each candidate pair, the negative class left out of the F1.

The confusion matrix holds the whole scoring: micro and macro F1 over the positive classes are read from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mtscale.metrics.counts import Confusion, check_ids, check_labels


def relation_confusion(
    gold: Mapping[str, tuple[str, ...]], predicted: Mapping[str, str], labels: Sequence[str], negative: str
) -> Confusion:
    """The confusion matrix of relations by pair id, in the order of ``labels``, ``negative`` being one of them.

    ``gold`` is the corpus's own: a pair that was lost on the way to the model has no prediction and counts as
    predicted negative, so its relations are misses. The negative class among a pair's labels counts as none.

    A pair may have several gold relations, but gets one prediction. It stands in the row of the relation it equals,
    or of the pair's first relation if it equals none; the pair's other relations are misses, in the negative column.
    So a hit is one true positive; a wrong positive is one false positive, of the predicted class.

    Raises:
        DataError: the gold is empty or holds an undeclared label.
        ValueError: a predicted id is not in the gold, or an undeclared label is predicted.
    """
    check_ids(gold, predicted, complete=False)
    gold_labels = ((pair, label) for pair, relations in gold.items() for label in relations)
    check_labels(gold_labels, predicted.items(), labels)
    return Confusion.of(labels, _cells(gold, predicted, negative))


def _cells(
    gold: Mapping[str, tuple[str, ...]], predicted: Mapping[str, str], negative: str
) -> Iterator[tuple[str, str]]:
    for pair, labels in gold.items():
        relations = [label for label in dict.fromkeys(labels) if label != negative] or [negative]
        prediction = predicted.get(pair, negative)
        row = prediction if prediction in relations else relations[0]
        yield row, prediction
        for missed in relations:
            if missed != row:
                yield missed, negative
