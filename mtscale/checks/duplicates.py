"""Texts that stand in more than one split or task, and what they carry: sentences, documents and whole pairs.

Compared are, in each task, dev and test with train, test with dev, and each split with itself; over tasks dev and
test with the train of every other, for they share an encoder. Sentences of pairs are not compared inside a split,
where they repeat by design.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from mtscale.checks.facts import SplitFacts
from mtscale.checks.findings import Finding, Severity
from mtscale.checks.overlaps import NEAR, Overlap, Place, find_overlaps
from mtscale.corpora.example import SPLITS
from mtscale.tasks import Kind


def check_duplicates(splits: Sequence[SplitFacts]) -> Iterator[Finding]:
    """The overlaps of all splits of all tasks, at the level of documents, of pairs and of sentences."""
    documents = [facts.documents for facts in splits]
    pairs = [facts.pairs for facts in splits]
    sentences = [facts.sentences for facts in splits]
    everything = {place: _earlier(splits, place) for place in range(len(splits))}
    own_task = {
        place: {other for other in earlier if splits[other].task.name == splits[place].task.name}
        for place, earlier in everything.items()
    }
    elsewhere = {place: earlier - {place} if splits[place].pairs else earlier for place, earlier in everything.items()}
    for unit, passages, earlier in (
        ("documents", documents, everything),
        ("pairs", pairs, own_task),
        ("sentences", sentences, elsewhere),
    ):
        yield from _findings(splits, unit, list(find_overlaps(passages, earlier, f"near-duplicate {unit}")))


def _earlier(splits: Sequence[SplitFacts], place: Place) -> AbstractSet[Place]:
    """The places that a split should share no text with: itself, splits before it in its task, train in the others."""
    one = splits[place]
    return {
        number
        for number, other in enumerate(splits)
        if number == place
        or (
            SPLITS.index(other.split) < SPLITS.index(one.split)
            and (other.task.name == one.task.name or other.split == "train")
        )
    }


def _findings(splits: Sequence[SplitFacts], unit: str, overlaps: Sequence[Overlap]) -> Iterator[Finding]:
    grouped: dict[tuple[Place, Place, bool], list[Overlap]] = defaultdict(list)
    for overlap in overlaps:
        grouped[overlap.place, overlap.earlier, overlap.similarity is None].append(overlap)
    for (place, other, exact), group in sorted(grouped.items(), key=lambda item: (*item[0][:2], not item[0][2])):
        one, earlier = splits[place], splits[other]
        similar = "repeat" if exact else f"are nearly (Jaccard >= {NEAR})"
        where = "the same split" if place == other else f"{earlier.task.name} {earlier.split}"
        different = len({overlap.passage.digest for overlap in group})
        what = (
            f"{unit} ({different} different) that {similar} one of {where}; they carry {_carried(one.task.kind, group)}"
        )
        ids = tuple(map(_pair_of_ids, group))
        severity = Severity.NOTE if place == other else Severity.WARNING
        yield Finding(severity, "duplicates", one.task.name, one.split, len(group), what, ids)


def _carried(kind: Kind, group: Sequence[Overlap]) -> str:
    examples = sum(overlap.passage.examples for overlap in group)
    positives = sum(overlap.passage.positives for overlap in group)
    if kind is Kind.RELATION:
        return f"{examples} pairs of mentions, {positives} with a relation"
    return f"{examples} sentences with {positives} mentions" if kind is Kind.TAGGING else f"{examples} pairs"


def _pair_of_ids(overlap: Overlap) -> str:
    if overlap.similarity is None:
        return f"{overlap.passage.id} = {overlap.repeated.id}"
    return f"{overlap.passage.id} ~ {overlap.repeated.id} ({overlap.similarity:.2f})"
