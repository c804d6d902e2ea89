from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mtscale.errors import DataError
from mtscale.metrics.counts import Counts
from mtscale.metrics.spans import (
    Mention,
    PartialScore,
    conlleval_f1,
    decode_iob2,
    partial_f1,
    strict_f1,
    strict_iob2_f1,
)

LABELS = ("Disease", "Chemical")


def test_a_stray_i_opens_a_mention_and_another_label_ends_one() -> None:
    tags = ["I-Disease", "O", "B-Chemical", "I-Disease", "I-Disease", "B-Disease"]
    assert decode_iob2(tags) == [(0, 1, "Disease"), (2, 3, "Chemical"), (3, 5, "Disease"), (5, 6, "Disease")]


def test_a_label_may_hold_a_hyphen() -> None:
    assert decode_iob2(["B-cell-line", "I-cell-line"]) == [(0, 2, "cell-line")]


def test_adjacent_mentions_stay_apart() -> None:
    # Merging them costs both, in conlleval as well.
    gold, predicted = [["B-Disease", "B-Disease"]], [["B-Disease", "I-Disease"]]
    assert decode_iob2(gold[0]) == [(0, 1, "Disease"), (1, 2, "Disease")]
    assert decode_iob2(predicted[0]) == [(0, 2, "Disease")]
    assert conlleval_f1(gold, predicted) == strict_iob2_f1(gold, predicted) == 0.0


@pytest.mark.parametrize("tag", ["Y", "[CLS]", "", "B", "B-", "I-", "E-Disease", "O-Disease", "b-Disease"])
def test_only_iob2_tags_are_read(tag: str) -> None:
    with pytest.raises(ValueError, match=f"found another of {len(tag)} characters"):
        decode_iob2(["B-Disease", tag])
    with pytest.raises(ValueError, match=f"found another of {len(tag)} characters"):
        conlleval_f1([["B-Disease", "O"]], [["B-Disease", tag]])


@pytest.mark.parametrize("predicted", [[], [["O"]], [["O", "O"], ["O"]], [["O"], ["O", "O"]]])
def test_tags_must_match_in_number(predicted: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="expected a predicted tag for each gold tag"):
        conlleval_f1([["O", "O"], ["O", "B-Disease"]], predicted)


def test_no_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="found none"):
        strict_iob2_f1([], [])


@dataclass(frozen=True)
class OtherSpan:
    start: int
    end: int
    label: str


def test_every_part_of_a_mention_counts_and_its_class_does_not() -> None:
    gold = {"1": frozenset({Mention(0, 5, "Disease"), Mention(9, 12, "Disease")}), "2": frozenset[Mention]()}
    found = {
        "1": frozenset({OtherSpan(0, 5, "Disease"), OtherSpan(9, 12, "Chemical"), OtherSpan(9, 13, "Disease")}),
        "2": frozenset({OtherSpan(0, 5, "Disease")}),
    }
    score = strict_f1(gold, found, LABELS)
    assert score.per_label == {"Disease": Counts(1, 2, 1), "Chemical": Counts(0, 1, 0)}
    assert score.micro == Counts(1, 3, 1)


@pytest.mark.parametrize("compare", [strict_f1, partial_f1])
def test_what_does_not_fit_is_refused(compare: Callable[..., object]) -> None:
    gold = {"1": {Mention(0, 5, "Disease")}}
    with pytest.raises(ValueError, match="1 with an id that is not in it"):
        compare(gold, {"2": set[Mention]()}, LABELS)
    with pytest.raises(ValueError, match=r"1: expected one of .* predicted, found another"):
        compare(gold, {"1": {Mention(0, 5, "Gene")}}, LABELS)
    with pytest.raises(DataError, match=r"1: expected one of .* found another"):
        compare(gold, {}, ("Chemical",))
    with pytest.raises(DataError, match="found none"):
        compare({}, {}, LABELS)


def partial(gold: list[tuple[int, int]], found: list[tuple[int, int]]) -> tuple[int, int]:
    """The exact and the overlapping matches of one label in one document."""
    score = partial_f1(
        {"1": {Mention(*place, "Disease") for place in gold}},
        {"1": {OtherSpan(*place, "Disease") for place in found}},
        LABELS,
    )
    assert (score.gold, score.predicted) == (len(gold), len(found))
    return score.exact, score.overlapping


def test_partial_credit_by_hand() -> None:
    # SemEval-2013 Task 9.1 counts 1 correct, 1 partial, 1 missed and 2 spurious: P = 1.5 / 4, R = 1.5 / 3.
    gold = {"1": {Mention(0, 5, "Disease"), Mention(9, 20, "Disease")}, "2": {Mention(0, 5, "Chemical")}}
    found = {
        "1": {Mention(0, 5, "Disease"), Mention(12, 25, "Disease"), Mention(30, 35, "Disease")},
        "2": {Mention(0, 4, "Disease")},
    }
    score = partial_f1(gold, found, LABELS)
    assert score == PartialScore(exact=1, overlapping=1, predicted=4, gold=3)
    assert (score.precision, score.recall, score.f1) == pytest.approx((3 / 8, 1 / 2, 3 / 7))


def test_partial_matches_are_of_one_document_and_one_label() -> None:
    gold = {"1": {Mention(0, 5, "Disease")}, "2": {Mention(9, 14, "Chemical")}}
    found = {"1": {Mention(9, 14, "Chemical")}, "2": {Mention(9, 14, "Disease"), Mention(0, 5, "Disease")}}
    assert partial_f1(gold, found, LABELS).credit == 0.0


@pytest.mark.parametrize(
    ("gold", "found", "matches"),
    [
        ([(0, 5)], [(5, 9)], (0, 0)),
        ([(0, 5)], [(4, 9)], (0, 1)),
        ([(0, 9)], [(2, 4)], (0, 1)),
        # One gold mention found in two parts earns a half once; two found as one as well.
        ([(0, 9)], [(0, 4), (5, 9)], (0, 1)),
        ([(0, 4), (5, 9)], [(0, 9)], (0, 1)),
        # The exact match comes first, though another prediction overlaps the mention further to the left.
        ([(4, 9)], [(0, 5), (4, 9)], (1, 0)),
        ([(0, 5), (4, 9)], [(4, 9)], (1, 0)),
        # A chain: each to the right of the one before.
        ([(0, 4), (6, 10), (12, 16)], [(3, 7), (9, 13), (15, 19)], (0, 3)),
        ([(3, 7), (9, 13), (15, 19)], [(0, 4), (6, 10), (12, 16)], (0, 3)),
        # A gold mention inside another: the foremost takes the foremost, and the second prediction finds none.
        ([(0, 10), (1, 2)], [(0, 3), (5, 6)], (0, 1)),
    ],
)
def test_partial_matches_from_left_to_right(
    gold: list[tuple[int, int]], found: list[tuple[int, int]], matches: tuple[int, int]
) -> None:
    assert partial(gold, found) == matches


def test_partial_matching_of_a_document_with_very_many_mentions() -> None:
    # Comparing all with all would take minutes.
    gold = [(start, start + 6) for start in range(0, 200_000, 10)]
    assert partial(gold, [(start + 1, end) for start, end in gold]) == (0, 20_000)
    assert partial(gold, [(start + 6, end + 2) for start, end in gold]) == (0, 0)
