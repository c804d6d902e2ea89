from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from mtscale.errors import DataError
from mtscale.metrics.counts import Counts
from mtscale.metrics.spans import Mention, conlleval_f1, decode_iob2, strict_f1, strict_iob2_f1

LABELS = ("Disease", "Chemical")
LETTERS = {"O": "o", "B-Disease": "b", "I-Disease": "i", "B-Chemical": "c", "I-Chemical": "j"}
tag = st.sampled_from(list(LETTERS))
sentences = st.lists(st.lists(st.tuples(tag, tag), max_size=12), min_size=1, max_size=5)
Sentences = list[list[tuple[str, str]]]


def gold_and_predicted(sentences: Sentences) -> tuple[list[list[str]], list[list[str]]]:
    return [[gold for gold, _ in words] for words in sentences], [[found for _, found in words] for words in sentences]


def chunks(tags: list[list[str]], pattern: str) -> set[tuple[int, int, int, str]]:
    """An independent reading: each tag one letter, each mention a match."""
    return {
        (number, *match.span(), "Disease" if match.group()[0] in "bi" else "Chemical")
        for number, words in enumerate(tags)
        for match in re.finditer(pattern, "".join(LETTERS[word] for word in words))
    }


def f1_of_sets(gold: set[tuple[int, int, int, str]], predicted: set[tuple[int, int, int, str]]) -> float:
    return 2 * len(gold & predicted) / (len(gold) + len(predicted)) if gold or predicted else 0.0


def repaired(tags: list[str]) -> list[str]:
    """The same mentions in tags that IOB2 allows."""
    valid = ["O"] * len(tags)
    for start, end, label in decode_iob2(tags):
        valid[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return valid


def spans(tags: list[list[str]]) -> dict[str, frozenset[Mention]]:
    return {str(number): frozenset(decode_iob2(words)) for number, words in enumerate(tags)}


@settings(deadline=None, max_examples=150)
@given(sentences)
def test_strict_spans_agree_with_seqeval_strict(sentences: Sentences) -> None:
    gold, predicted = ([repaired(words) for words in side] for side in gold_and_predicted(sentences))
    score = strict_f1(spans(gold), spans(predicted), LABELS)
    strict = {"average": "micro", "mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert score.micro.precision == pytest.approx(precision_score(gold, predicted, **strict))
    assert score.micro.recall == pytest.approx(recall_score(gold, predicted, **strict))
    assert score.micro.f1 == pytest.approx(f1_score(gold, predicted, **strict))
    if any(tag != "O" for words in (*gold, *predicted) for tag in words):
        report = classification_report(gold, predicted, mode="strict", scheme=IOB2, zero_division=0, output_dict=True)
        for label in report.keys() & set(LABELS):
            assert score.per_label[label].f1 == pytest.approx(report[label]["f1-score"])
            assert score.per_label[label].support == report[label]["support"]


@settings(deadline=None, max_examples=150)
@given(sentences)
def test_tag_scores_agree_with_an_independent_reading(sentences: Sentences) -> None:
    gold, predicted = gold_and_predicted(sentences)
    lenient, strict = "bi*|i+|cj*|j+", "bi*|cj*"
    assert conlleval_f1(gold, predicted) == pytest.approx(f1_of_sets(chunks(gold, lenient), chunks(predicted, lenient)))
    assert strict_iob2_f1(gold, predicted) == pytest.approx(f1_of_sets(chunks(gold, strict), chunks(predicted, strict)))


@settings(deadline=None, max_examples=150)
@given(st.lists(tag, max_size=15))
def test_decoding_agrees_with_an_independent_reading(tags: list[str]) -> None:
    mentions = decode_iob2(tags)
    assert {(0, *mention) for mention in mentions} == chunks([tags], "bi*|i+|cj*|j+")
    assert mentions == sorted(mentions)


def test_a_stray_i_opens_a_mention_and_another_label_ends_one() -> None:
    tags = ["I-Disease", "O", "B-Chemical", "I-Disease", "I-Disease", "B-Disease"]
    assert decode_iob2(tags) == [(0, 1, "Disease"), (2, 3, "Chemical"), (3, 5, "Disease"), (5, 6, "Disease")]


def test_a_label_may_hold_a_hyphen() -> None:
    assert decode_iob2(["B-cell-line", "I-cell-line"]) == [(0, 2, "cell-line")]


def test_i_after_o_in_the_gold() -> None:
    # A discontinuous mention as BLUE writes ShARe/CLEF: conlleval sees two chunks in the gold, so a prediction that
    # finds the mention's first part gets 0.667 from the authors' code; strict IOB2 sees the first part alone.
    gold, predicted = [["B-Disease", "O", "I-Disease"]], [["B-Disease", "O", "O"]]
    assert conlleval_f1(gold, predicted) == pytest.approx(2 / 3)
    assert strict_iob2_f1(gold, predicted) == 1.0
    # The corpus has one mention, from the first word to the last: our primary score sees neither part as right.
    score = strict_f1({"1": {Mention(0, 20, "Disease")}}, {"1": {Mention(0, 8, "Disease")}}, LABELS)
    assert score.micro == Counts(0, 1, 1)


def test_adjacent_mentions_stay_apart() -> None:
    # Merging them costs both: conlleval in the authors' code prints 0.0 as well.
    gold, predicted = [["B-Disease", "B-Disease"]], [["B-Disease", "I-Disease"]]
    assert decode_iob2(gold[0]) == [(0, 1, "Disease"), (1, 2, "Disease")]
    assert decode_iob2(predicted[0]) == [(0, 2, "Disease")]
    assert conlleval_f1(gold, predicted) == strict_iob2_f1(gold, predicted) == 0.0


@pytest.mark.parametrize("tag", ["X", "[CLS]", "", "B", "B-", "I-", "E-Disease", "O-Disease", "b-Disease"])
def test_only_iob2_tags_are_read(tag: str) -> None:
    # The authors train word-piece classes X, CLS and SEP; one of them predicted after a mention ends it with a chunk
    # of empty type, so gold `B O` against `B X` prints one true and one false positive, F1 0.667.
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


def test_documents_without_predictions_are_missed() -> None:
    # The authors score the sentences they read: recall 1.0 and F1 1.0 without the second document.
    gold = {"1": {Mention(0, 5, "Disease")}, "2": {Mention(0, 5, "Disease"), Mention(6, 9, "Disease")}}
    score = strict_f1(gold, {"1": {Mention(0, 5, "Disease")}}, ("Disease",))
    assert (score.micro.precision, score.micro.recall, score.micro.f1) == pytest.approx((1.0, 1 / 3, 0.5))


def test_what_does_not_fit_is_refused() -> None:
    gold = {"1": {Mention(0, 5, "Disease")}}
    with pytest.raises(ValueError, match="1 with an id that is not in it"):
        strict_f1(gold, {"2": set[Mention]()}, LABELS)
    with pytest.raises(ValueError, match=r"1: expected one of .* predicted, found another"):
        strict_f1(gold, {"1": {Mention(0, 5, "Gene")}}, LABELS)
    with pytest.raises(DataError, match=r"1: expected one of .* found another"):
        strict_f1(gold, {}, ("Chemical",))
    with pytest.raises(DataError, match="found none"):
        strict_f1({}, {}, LABELS)
