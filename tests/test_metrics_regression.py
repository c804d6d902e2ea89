from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mtscale.errors import DataError
from mtscale.metrics.regression import pearson, spearman

Correlation = Callable[[list[float], list[float]], float]

scores = st.floats(-100, 100, width=32)
pairs = st.lists(st.tuples(scores, scores), min_size=3, max_size=30)


def spread(values: list[float]) -> float:
    return (max(values) - min(values)) / max(1e-30, *map(abs, values))


@settings(deadline=None, max_examples=150)
@given(pairs)
def test_pearson_agrees_with_numpy(pairs: list[tuple[float, float]]) -> None:
    gold, predicted = map(list, zip(*pairs, strict=True))
    assume(spread(gold) > 1e-4 and spread(predicted) > 1e-4)
    with np.errstate(under="ignore"):
        assume(np.ptp(gold) > 1e-30 and np.ptp(predicted) > 1e-30)
        expected = np.corrcoef(gold, predicted)[0, 1]
    assert pearson(gold, predicted) == pytest.approx(expected, abs=1e-7)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=20))
def test_spearman_is_the_correlation_of_mean_ranks(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = map(list, zip(*pairs, strict=True))
    assume(len(set(gold)) > 1 and len(set(predicted)) > 1)

    def mean_ranks(values: list[int]) -> list[float]:
        return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]

    expected = np.corrcoef(mean_ranks(gold), mean_ranks(predicted))[0, 1]
    assert spearman(gold, predicted) == pytest.approx(expected, abs=1e-9)


def test_spearman_sees_order_only() -> None:
    gold, predicted = [1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 100.0, 1000.0]
    assert spearman(gold, predicted) == pytest.approx(1.0)
    assert pearson(gold, predicted) < 0.9


@pytest.mark.parametrize("correlation", [pearson, spearman])
class TestRules:
    def test_nan_is_counted_and_refused(self, correlation: Correlation) -> None:
        with pytest.raises(ValueError, match="2 of 3"):
            correlation([1.0, 2.0, 3.0], [math.nan, 1.0, math.inf])

    @pytest.mark.parametrize("predicted", [[2.5, 2.5, 2.5], [0.0, 0.0, 0.0], [2.5, 2.5 + 4e-15, 2.5]])
    def test_constant_predictions_have_no_association(self, correlation: Correlation, predicted: list[float]) -> None:
        assert correlation([1.0, 2.0, 3.0], predicted) == 0.0

    @pytest.mark.parametrize(
        ("gold", "message"),
        [([3.0, 3.0, 3.0], "equal"), ([1.0], "at least 2"), ([], "at least 2"), ([1.0, math.nan], "finite gold")],
    )
    def test_unusable_gold_is_a_data_error(self, correlation: Correlation, gold: list[float], message: str) -> None:
        with pytest.raises(DataError, match=message):
            correlation(gold, [float(index) for index in range(len(gold))])

    def test_lengths_must_agree(self, correlation: Correlation) -> None:
        with pytest.raises(ValueError, match="found 2 for 3"):
            correlation([1.0, 2.0, 3.0], [1.0, 2.0])
