from __future__ import annotations

from collections.abc import Mapping

import pytest

from mtscale.errors import DataError
from mtscale.metrics.counts import Confusion, Counts
from mtscale.metrics.relations import relation_confusion

POSITIVES = ("advise", "effect", "int")
LABELS = (*POSITIVES, "false")


def confuse(gold: Mapping[str, tuple[str, ...]], predicted: Mapping[str, str]) -> Confusion:
    return relation_confusion(gold, predicted, LABELS, "false")


def test_two_relations_of_one_pair() -> None:
    gold = {"1": ("advise", "effect"), "2": ("int",), "3": ("false",)}
    confusion = confuse(gold, {"1": "advise", "2": "int", "3": "false"})
    assert confusion.micro(POSITIVES) == Counts(2, 0, 1)
    assert confusion.rows == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_the_second_relation_of_a_pair_is_a_hit_too() -> None:
    confusion = confuse({"1": ("advise", "effect")}, {"1": "effect"})
    assert confusion.counts("effect") == Counts(1, 0, 0)
    assert confusion.counts("advise") == Counts(0, 0, 1)


def test_a_wrong_relation_is_one_false_positive_whatever_the_pair_holds() -> None:
    confusion = confuse({"1": ("advise", "effect")}, {"1": "int"})
    assert confusion.counts("int") == Counts(0, 1, 0)
    assert confusion.micro(POSITIVES) == Counts(0, 1, 2)


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
