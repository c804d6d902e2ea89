from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from mtscale.errors import DataError
from mtscale.metrics.counts import Confusion, Counts
from mtscale.metrics.relations import relation_confusion

POSITIVES = ("advise", "effect", "int")
LABELS = (*POSITIVES, "false")
relation = st.sampled_from(LABELS)


def confuse(gold: Mapping[str, tuple[str, ...]], predicted: Mapping[str, str]) -> Confusion:
    return relation_confusion(gold, predicted, LABELS, "false")


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.lists(relation, max_size=3), st.none() | relation), min_size=1, max_size=20))
def test_agrees_with_scikit_learn_on_label_sets(pairs: list[tuple[list[str], str | None]]) -> None:
    """Several relations to a pair, doubled ones, the negative among them, none at all, no prediction."""
    gold = {str(index): tuple(labels) for index, (labels, _) in enumerate(pairs)}
    predicted = {str(index): label for index, (_, label) in enumerate(pairs) if label is not None}
    expected = np.array([[label in labels for label in POSITIVES] for labels, _ in pairs], dtype=int)
    found = np.array([[label == prediction for label in POSITIVES] for _, prediction in pairs], dtype=int)

    confusion = confuse(gold, predicted)

    micro = confusion.micro(POSITIVES)
    reference = precision_recall_fscore_support(expected, found, average="micro", zero_division=0)
    assert (micro.precision, micro.recall, micro.f1) == pytest.approx(reference[:3])
    reference = precision_recall_fscore_support(expected, found, average="macro", zero_division=0)
    assert confusion.macro_f1(POSITIVES) == pytest.approx(reference[2])
    reference = precision_recall_fscore_support(expected, found, average=None, zero_division=0)
    for label, *values in zip(POSITIVES, *reference, strict=True):
        counts = confusion.counts(label)
        assert (counts.precision, counts.recall, counts.f1, counts.support) == pytest.approx(tuple(values))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(relation, relation), min_size=1, max_size=20))
def test_matrix_agrees_with_scikit_learn_on_single_labels(pairs: list[tuple[str, str]]) -> None:
    expected, found = [label for label, _ in pairs], [label for _, label in pairs]
    confusion = confuse(
        {str(index): (label,) for index, label in enumerate(expected)},
        {str(index): label for index, label in enumerate(found)},
    )
    assert confusion.rows == confusion_matrix(expected, found, labels=LABELS).tolist()


def test_an_absent_class_keeps_its_row() -> None:
    # "int" is nowhere. The authors build the matrix without labels=, so it is 3 x 3 and the three indices of "all but
    # the last" take in "false": their micro F1 is 0.714 (5 of 7 right), the accuracy.
    expected = ["advise", "effect", "effect", "false", "false", "false", "false"]
    found = ["advise", "effect", "false", "false", "false", "false", "effect"]
    confusion = confuse(
        {str(index): (label,) for index, label in enumerate(expected)},
        {str(index): label for index, label in enumerate(found)},
    )
    assert confusion.micro(POSITIVES) == Counts(2, 1, 1)
    assert confusion.micro(POSITIVES).f1 == pytest.approx(2 / 3)
    assert confusion.counts("int") == Counts(0, 0, 0)
    assert confusion.macro_f1(POSITIVES) == pytest.approx((1 + 0.5 + 0) / 3)


def test_two_absent_classes_are_no_reason_for_zero() -> None:
    # Here the authors' index runs past the 2 x 2 matrix and the error is turned into F1 0.
    confusion = confuse({"1": ("advise",), "2": ("false",)}, {"1": "advise", "2": "false"})
    assert confusion.micro(POSITIVES).f1 == 1.0


def test_two_relations_of_one_pair() -> None:
    # The authors write the pair twice: the second row adds a false positive for "advise", F1 0.667.
    gold = {"1": ("advise", "effect"), "2": ("int",), "3": ("false",)}
    confusion = confuse(gold, {"1": "advise", "2": "int", "3": "false"})
    assert confusion.micro(POSITIVES) == Counts(2, 0, 1)
    assert confusion.micro(POSITIVES).f1 == pytest.approx(0.8)
    assert confusion.rows == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_the_second_relation_of_a_pair_is_a_hit_too() -> None:
    confusion = confuse({"1": ("advise", "effect")}, {"1": "effect"})
    assert confusion.counts("effect") == Counts(1, 0, 0)
    assert confusion.counts("advise") == Counts(0, 0, 1)


def test_a_wrong_relation_is_one_false_positive_whatever_the_pair_holds() -> None:
    # The authors' two rows count the one prediction as two false positives.
    confusion = confuse({"1": ("advise", "effect")}, {"1": "int"})
    assert confusion.counts("int") == Counts(0, 1, 0)
    assert confusion.micro(POSITIVES) == Counts(0, 1, 2)


def test_gold_lost_on_the_way_is_missed() -> None:
    # The authors score the four rows that reached the model, all of them right: F1 1.0.
    gold = {"1": ("advise",), "2": ("effect",), "3": ("int",), "4": ("false",)}
    predicted = {pair: label for pair, (label,) in gold.items()}
    lost = {"5": ("advise",), "6": ("effect",), "7": ("int",), "8": ("false",)}
    micro = confuse({**gold, **lost}, predicted).micro(POSITIVES)
    assert (micro.precision, micro.recall) == (1.0, 0.5)
    assert micro.f1 == pytest.approx(2 / 3)


def test_the_negative_class_is_no_relation() -> None:
    confusion = confuse({"1": ("false", "int"), "2": ()}, {"1": "false", "2": "false"})
    assert confusion.micro(POSITIVES) == Counts(0, 0, 1)
    assert confusion.counts("false") == Counts(1, 1, 0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="1 with an id that is not in it"):
        confuse({"1": ("int",)}, {"9": "int"})
    with pytest.raises(ValueError, match=r"1: expected one of .* predicted, found another"):
        confuse({"1": ("int",)}, {"1": "induces"})
    with pytest.raises(DataError, match=r"1: expected one of .* found another"):
        confuse({"1": ("int", "induces")}, {})
    with pytest.raises(DataError, match="found none"):
        confuse({}, {})
