"""Labels: those that never occur, classes that training never sees, distributions that drift, equal inputs at odds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from mtscale.checks.facts import Labelled, SplitFacts
from mtscale.checks.findings import Finding, Severity
from mtscale.tasks import Kind, Task

# The total variation distance (half the summed differences of the shares) between the labels of train and of another
# split from which on they are reported, provided that chance does not explain it: two samples of one distribution are
# expected to differ by `_expected_distance`, and by three times that in fewer than one of 50 cases.
DRIFT = 0.1
OVER_CHANCE = 3.0
# Equal pairs are at odds when their scores differ by more than this part of the task's range.
SCORE_TOLERANCE = 0.1


def check_labels(task: Task, splits: Sequence[SplitFacts]) -> Iterator[Finding]:
    """Compare the labels of a task's splits with the task's own and with those of train."""
    for label in task.labels:
        if splits and not any(split.labels[label] for split in splits):
            what = f"label {label} of the task occurs in no split; is it spelled as in the files?"
            yield Finding(Severity.WARNING, "labels", task.name, "all", 1, what)
    train = next((split for split in splits if split.split == "train"), None)
    if train is None:
        return
    for other in splits:
        if other is not train:
            yield from _compare(task, train, other)


def _compare(task: Task, train: SplitFacts, other: SplitFacts) -> Iterator[Finding]:
    for label in task.labels:
        if other.labels[label] and not train.labels[label]:
            what = f"labels {label}, which train does not have"
            yield Finding(Severity.WARNING, "labels", task.name, other.split, other.labels[label], what)
    distance, chance = total_variation(train.labels, other.labels), _expected_distance(train.labels, other.labels)
    if distance > max(DRIFT, OVER_CHANCE * chance):
        what = (
            f"labels that are distributed otherwise than in train: total variation {distance:.2f} "
            f"(by chance about {chance:.2f}, reported over {DRIFT})"
        )
        yield Finding(Severity.WARNING, "drift", task.name, other.split, other.labels.total(), what)


def total_variation(one: Counter[str], other: Counter[str]) -> float:
    """Half the sum of the differences of the shares: 0 for equal distributions, 1 for disjoint ones."""
    return sum(abs(a - b) for a, b in _shares(one, other)) / 2


def _expected_distance(one: Counter[str], other: Counter[str]) -> float:
    """The mean total variation distance of two samples of these sizes from the distribution of both together.

    The difference of two shares is about normal, so its mean size is its standard deviation times sqrt(2 / pi).
    """
    total = one + other
    sizes = 1 / max(1, one.total()) + 1 / max(1, other.total())
    shares = [count / total.total() for count in total.values()]
    return sum(math.sqrt(2 / math.pi * share * (1 - share) * sizes) for share in shares) / 2


def _shares(one: Counter[str], other: Counter[str]) -> list[tuple[float, float]]:
    return [
        (one[label] / max(1, one.total()), other[label] / max(1, other.total())) for label in sorted({*one, *other})
    ]


def check_conflicts(task: Task, splits: Sequence[SplitFacts]) -> Iterator[Finding]:
    """Examples that are equal for the model and have different labels: no model can be right on all of them."""
    groups: dict[bytes, list[tuple[str, Labelled]]] = {}
    for split in splits:
        for example in split.labelled:
            groups.setdefault(example.input, []).append((split.split, example))
    odd = [group for group in groups.values() if _at_odds(task, [example for _, example in group])]
    if not odd:
        return
    found = {split for group in odd for split, _ in group}
    touched = [split.split for split in splits if split.split in found]
    ids = tuple(" / ".join(f"{split} {example.id}" for split, example in group) for group in odd)
    unit = {Kind.TAGGING: "sentences", Kind.RELATION: "pairs of mentions"}.get(task.kind, "pairs")
    what = f"{unit} that are equal to others and differ from them in their labels ({len(odd)} groups)"
    yield Finding(Severity.WARNING, "conflicts", task.name, ", ".join(touched), sum(map(len, odd)), what, ids)


def _at_odds(task: Task, group: Sequence[Labelled]) -> bool:
    if task.kind is not Kind.SIMILARITY:
        return len({example.label for example in group}) > 1
    scores = [float(example.label) for example in group]
    low, high = task.score_range or (0.0, 5.0)
    return max(scores) - min(scores) > SCORE_TOLERANCE * (high - low)
