"""What precision, recall and F1 are made of: counts, the confusion matrix, and the checks that come before counting."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mtscale.errors import DataError


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives of one class, or summed over several.

    A ratio with nothing below the line is 0: a class absent from gold and predictions has F1 0.
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def support(self) -> int:
        """How many the gold holds."""
        return self.true_positives + self.false_negatives

    @property
    def precision(self) -> float:
        """The part of the predicted that is right."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """The part of the gold that is found."""
        return _ratio(self.true_positives, self.support)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positives, self.true_positives + self.false_positives + self.support)

    def as_report(self) -> dict[str, float]:
        """Everything above by name, ready for JSON."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "support": self.support,
            "true_positives": self.true_positives,
            "false_positives": self.false_positives,
            "false_negatives": self.false_negatives,
        }


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix: ``rows[i][j]`` examples of gold class ``labels[i]`` were predicted as ``labels[j]``.

    The labels are given, never collected from the data: a class absent from gold and predictions keeps its row.
    """

    labels: tuple[str, ...]
    rows: list[list[int]]

    @classmethod
    def of(cls, labels: Sequence[str], pairs: Iterable[tuple[str, str]]) -> Confusion:
        """Count (gold, predicted) pairs of labels.

        Raises:
            KeyError: a label is not among ``labels``.
        """
        position = {label: index for index, label in enumerate(labels)}
        rows = [[0] * len(labels) for _ in labels]
        for gold, predicted in pairs:
            rows[position[gold]][position[predicted]] += 1
        return cls(tuple(labels), rows)

    def counts(self, label: str) -> Counts:
        """The counts of one class against all others."""
        index = self.labels.index(label)
        hits = self.rows[index][index]
        return Counts(hits, sum(row[index] for row in self.rows) - hits, sum(self.rows[index]) - hits)

    def micro(self, labels: Sequence[str]) -> Counts:
        """The counts summed over some of the classes."""
        return sum((self.counts(label) for label in labels), Counts())

    def macro_f1(self, labels: Sequence[str]) -> float:
        """The plain mean of the F1 of some of the classes, those absent from the data included."""
        return sum(self.counts(label).f1 for label in labels) / len(labels)


def check_ids(gold: Collection[str], predicted: Collection[str], *, complete: bool) -> None:
    """Refuse predictions that do not belong to the gold.

    ``complete``: there must be a prediction for every id; otherwise a missing one is left to count as a miss.

    Raises:
        DataError: the gold is empty.
        ValueError: a predicted id is not in the gold, or one of the gold is missing where all must be there.
    """
    if not gold:
        raise DataError("expected gold to score against, found none; check the files of this split")
    unknown = len(set(predicted) - set(gold))
    missing = len(set(gold) - set(predicted)) if complete else 0
    if unknown or missing:
        raise ValueError(
            f"expected predictions for the {len(gold)} ids of the gold, "
            f"found {unknown} with an id that is not in it and {missing} missing"
        )


def check_labels(gold: Iterable[tuple[str, str]], predicted: Iterable[tuple[str, str]], labels: Sequence[str]) -> None:
    """Refuse labels outside the declared list; ``gold`` and ``predicted`` give (id, label) pairs.

    What was found is not repeated: where columns are swapped, it is text.

    Raises:
        DataError: a gold label is not declared.
        ValueError: a predicted label is not declared.
    """
    declared = frozenset(labels)
    for where, label in gold:
        if label not in declared:
            raise DataError(
                f"{where}: expected one of the labels {', '.join(labels)}, found another; "
                "correct the corpus or add the label to the task"
            )
    for where, label in predicted:
        if label not in declared:
            raise ValueError(f"{where}: expected one of the labels {', '.join(labels)} predicted, found another")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
