"""Mentions: strict spans in documents (primary), partly right ones and the readings of tagged words beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeAlias

from mtscale.metrics.counts import Counts, check_ids, check_labels

# Classes of pieces that are no word's first one, in the authors' tag set. Predicted for a word they say: no mention.
PIECE_CLASSES = ("X", "CLS", "SEP")


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


@dataclass(frozen=True, slots=True)
class PartialScore:
    """How many mentions were matched exactly and how many by overlap alone, and how many there were to match.

    An exact match is worth 1 and an overlap 0.5, as in MUC-5 (Chinchor and Sundheim 1993). A ratio with nothing below
    the line is 0.
    """

    exact: int
    overlapping: int
    predicted: int
    gold: int

    @property
    def credit(self) -> float:
        """What the matches are worth."""
        return self.exact + self.overlapping / 2

    @property
    def precision(self) -> float:
        """The credit for each predicted mention."""
        return self.credit / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The credit for each gold mention."""
        return self.credit / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.credit / (self.predicted + self.gold) if self.predicted or self.gold else 0.0

    def as_report(self) -> dict[str, float]:
        """Everything but the credit by name, ready for JSON."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "exact": self.exact,
            "overlapping": self.overlapping,
            "predicted": self.predicted,
            "gold": self.gold,
        }


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
    expected, found = _checked_mentions(gold, predicted, labels)
    per_label = {
        label: Counts(
            true_positives=len(expected[label] & found[label]),
            false_positives=len(found[label] - expected[label]),
            false_negatives=len(expected[label] - found[label]),
        )
        for label in labels
    }
    return SpanScore(per_label, sum(per_label.values(), Counts()))


def partial_f1(
    gold: Mapping[str, AbstractSet[SpanLike]], predicted: Mapping[str, AbstractSet[SpanLike]], labels: Sequence[str]
) -> PartialScore:
    """Compare mentions by document and label, those whose boundaries are only partly right getting half the credit.

    Each mention is matched at most once: first the exact ones; then the others of a document from left to right, by
    start and then by end, the two foremost if they overlap. Where mentions of one label do not overlap each other, no
    other matching earns more.

    This is the partial boundary matching of SemEval-2013 Task 9.1 (Segura-Bedmar et al. 2013), but for the label: there
    it may differ, here it must agree. ``gold`` is the corpus's own, as for ``strict_f1``.

    Raises:
        DataError, ValueError: as for ``strict_f1``.
    """
    expected, found = _checked_mentions(gold, predicted, labels)
    return PartialScore(
        exact=sum(len(expected[label] & found[label]) for label in labels),
        overlapping=sum(
            _overlapping(expected[label] - found[label], found[label] - expected[label]) for label in labels
        ),
        predicted=sum(map(len, found.values())),
        gold=sum(map(len, expected.values())),
    )


_Place: TypeAlias = tuple[str, int, int]
"""Document, start and end of a mention: a plain tuple, as spans of different classes never compare equal."""


def _checked_mentions(
    gold: Mapping[str, AbstractSet[SpanLike]], predicted: Mapping[str, AbstractSet[SpanLike]], labels: Sequence[str]
) -> tuple[dict[str, set[_Place]], dict[str, set[_Place]]]:
    """Where the mentions of each label are, in the gold and as predicted."""
    check_ids(gold, predicted, complete=False)
    gold_labels = ((document, span.label) for document, spans in gold.items() for span in spans)
    predicted_labels = ((document, span.label) for document, spans in predicted.items() for span in spans)
    check_labels(gold_labels, predicted_labels, labels)
    return _by_label(gold, labels), _by_label(predicted, labels)


def _by_label(spans: Mapping[str, AbstractSet[SpanLike]], labels: Sequence[str]) -> dict[str, set[_Place]]:
    by_label: dict[str, set[_Place]] = {label: set() for label in labels}
    for document, mentions in spans.items():
        for span in mentions:
            by_label[span.label].add((document, span.start, span.end))
    return by_label


def _overlapping(gold: AbstractSet[_Place], predicted: AbstractSet[_Place]) -> int:
    """How many pairs of overlapping mentions a sweep from left to right finds, each mention in one pair at most."""
    # The foremost stands last, where it can be taken off at no cost.
    expected, found = sorted(gold, reverse=True), sorted(predicted, reverse=True)
    pairs = 0
    while expected and found:
        document, start, end = expected[-1]
        other_document, other_start, other_end = found[-1]
        if document == other_document and start < other_end and other_start < end:
            pairs += 1
            expected.pop()
            found.pop()
        else:
            # The one that begins first lies wholly before the other, and so before all that come after the other.
            (expected if expected[-1] < found[-1] else found).pop()
    return pairs


def conlleval_f1(gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]]) -> float:
    """Micro F1 of chunks as the CoNLL-2000 script ``conlleval`` counts them, through seqeval's default mode.

    A chunk may begin with I, in the gold as well. For comparison with the paper, which reports this number.

    X, CLS and SEP may be predicted (see ``PIECE_CLASSES``). As in the authors' scoring, each such word right after a
    word of a chunk is a false chunk of no type; elsewhere it is like O (blue_metrics.py compute_seq_f1 and
    pmetrics.py ner_report_conlleval of ncbi-nlp/bluebert, mt-bluebert/mt_bluebert).

    Raises:
        ValueError: no sentence, sentences of different number or length, or a tag that is not O, B-label or I-label.
    """
    gold, predicted = _checked(gold_tags, predicted_tags)
    # seqeval imports scikit-learn, which takes over a second and is not installed where runs are only watched.
    from seqeval.metrics.sequence_labeling import get_entities

    expected, found = set(get_entities(gold)), set(get_entities(predicted))
    in_all = len(expected) + len(found) + false_chunks(predicted_tags)
    return 2 * len(expected & found) / in_all if in_all else 0.0


def false_chunks(predicted_tags: Iterable[Sequence[str]]) -> int:
    """The chunks that conlleval opens for a class of pieces right behind a mention: of no type, and always false."""
    return sum(
        one[:2] in ("B-", "I-") and other in PIECE_CLASSES for tags in predicted_tags for one, other in pairwise(tags)
    )


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
    opens a mention, as in ``conlleval``. The ``PIECE_CLASSES`` are like O.

    Raises:
        ValueError: a tag is none of these, nor O, B-label or I-label.
    """
    mentions: list[Mention] = []
    start, inside = 0, ""
    for word, tag in enumerate([*_of_words(tags), "O"]):
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


def _of_words(tags: Sequence[str]) -> list[str]:
    return ["O" if tag in PIECE_CLASSES else tag for tag in tags]


def _checked(
    gold_tags: Sequence[Sequence[str]], predicted_tags: Sequence[Sequence[str]]
) -> tuple[list[list[str]], list[list[str]]]:
    """The tags as the lists that seqeval asks for, ``PIECE_CLASSES`` among the predicted ones as O."""
    if not gold_tags:
        raise ValueError("expected at least one tagged sentence, found none")
    gold, predicted = [list(tags) for tags in gold_tags], [_of_words(tags) for tags in predicted_tags]
    if [len(tags) for tags in gold] != [len(tags) for tags in predicted]:
        raise ValueError(
            f"expected a predicted tag for each gold tag, found {sum(map(len, predicted))} in {len(predicted)} "
            f"sentences for {sum(map(len, gold))} in {len(gold)}, or sentences of different length"
        )
    for tag in {tag for tags in (*gold, *predicted) for tag in tags}:
        _parse(tag)
    return gold, predicted
