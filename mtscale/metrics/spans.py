"""Mentions: strict spans in documents (primary), and the CoNLL and IOB2 readings of tagged words beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mtscale.metrics.counts import Counts, check_ids, check_labels


class SpanLike(Protocol):
    """A labelled half-open stretch ``[start, end)``, whatever its class."""

    @property
    def start(self) -> int:
        """Where it begins."""

    @property
    def end(self) -> int:
        """Where it ends, exclusive."""

    @property
    def label(self) -> str:
        """Its entity type."""


class Mention(NamedTuple):
    """A labelled half-open stretch ``[start, end)`` of characters or of words."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class SpanScore:
    """Counts for each declared label, and their sum."""

    per_label: Mapping[str, Counts]
    micro: Counts


def strict_f1(
    gold: Mapping[str, AbstractSet[SpanLike]], predicted: Mapping[str, AbstractSet[SpanLike]], labels: Sequence[str]
) -> SpanScore:
    """Compare mentions by document; one is right when document, start, end and label all are.

    ``gold`` is the corpus's own and names every document, those without mentions too. The mentions of a document
    that has no predictions are misses.

    Raises:
        DataError: the gold has no document or holds an undeclared label.
        ValueError: a predicted document is not in the gold, or an undeclared label is predicted.
    """
    check_ids(gold, predicted, complete=False)
    gold_labels = ((document, span.label) for document, spans in gold.items() for span in spans)
    predicted_labels = ((document, span.label) for document, spans in predicted.items() for span in spans)
    check_labels(gold_labels, predicted_labels, labels)
    expected, found = _mentions(gold, labels), _mentions(predicted, labels)
    per_label = {
        label: Counts(
            true_positives=len(expected[label] & found[label]),
            false_positives=len(found[label] - expected[label]),
            false_negatives=len(expected[label] - found[label]),
        )
        for label in labels
    }
    return SpanScore(per_label, sum(per_label.values(), Counts()))


def _mentions(
    spans: Mapping[str, AbstractSet[SpanLike]], labels: Sequence[str]
) -> dict[str, set[tuple[str, int, int]]]:
    """The (document, start, end) of each label; plain tuples, as spans of different classes never compare equal."""
    by_label: dict[str, set[tuple[str, int, int]]] = {label: set() for label in labels}
    for document, mentions in spans.items():
        for span in mentions:
            by_label[span.label].add((document, span.start, span.end))
    return by_label


def conlleval_f1(gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]]) -> float:
    """Micro F1 of chunks as the CoNLL-2000 script ``conlleval`` counts them, through seqeval's default mode.

    A chunk may begin with I, in the gold as well. For comparison with the paper, which reports this number.

    Raises:
        ValueError: no sentence, sentences of different number or length, or a tag that is not O, B-label or I-label.
    """
    gold, predicted = _checked(gold_tags, predicted_tags)
    # seqeval imports scikit-learn, which takes over a second and is not installed where runs are only watched.
    from seqeval.metrics import f1_score

    return float(f1_score(gold, predicted, average="micro", zero_division=0))


def strict_iob2_f1(gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]]) -> float:
    """Micro F1 of mentions where only B begins one and a stray I is nothing, through seqeval's strict mode.

    Raises:
        ValueError: as for ``conlleval_f1``.
    """
    gold, predicted = _checked(gold_tags, predicted_tags)
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    return float(f1_score(gold, predicted, average="micro", mode="strict", scheme=IOB2, zero_division=0))


def decode_iob2(tags: Sequence[str]) -> list[Mention]:
    """The mentions in one sentence's tags, as (first word, word after the last, label), left to right.

    A tagger may write what IOB2 does not allow. The repair: an I that does not follow a B or I of its own label
    opens a mention, as in ``conlleval``.

    Raises:
        ValueError: a tag is not O, B-label or I-label.
    """
    mentions: list[Mention] = []
    start, inside = 0, ""
    for word, tag in enumerate([*tags, "O"]):
        prefix, label = _parse(tag)
        if prefix == "I" and label == inside:
            continue
        if inside:
            mentions.append(Mention(start, word, inside))
        start, inside = word, label
    return mentions


def _parse(tag: str) -> tuple[str, str]:
    """Prefix and label of a tag; the label of O is empty."""
    prefix, _, label = tag.partition("-")
    if tag != "O" and (prefix not in ("B", "I") or not label):
        raise ValueError(f"expected a tag O, B-label or I-label, found another of {len(tag)} characters")
    return prefix, label


def _checked(
    gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[list[str]]]:
    """The tags as the lists that seqeval asks for."""
    if not gold_tags:
        raise ValueError("expected at least one tagged sentence, found none")
    gold, predicted = [list(tags) for tags in gold_tags], [list(tags) for tags in predicted_tags]
    if [len(tags) for tags in gold] != [len(tags) for tags in predicted]:
        raise ValueError(
            f"expected a predicted tag for each gold tag, found {sum(map(len, predicted))} in {len(predicted)} "
            f"sentences for {sum(map(len, gold))} in {len(gold)}, or sentences of different length"
        )
    for tag in {tag for tags in (*gold, *predicted) for tag in tags}:
        _parse(tag)
    return gold, predicted
