from __future__ import annotations

import pytest

from mtscale.errors import DataError
from mtscale.metrics.inference import inference_confusion

LABELS = ("contradiction", "entailment", "neutral")


def test_the_matrix_is_gold_by_predicted_in_the_declared_order() -> None:
    # Without labels= the authors' matrix is 2 x 2 here: neutral, which is nowhere, has no row.
    confusion = inference_confusion(
        {"1": "entailment", "2": "entailment"},
        {"1": "contradiction", "2": "entailment"},
        ("neutral", "entailment", "contradiction"),
    )
    assert confusion.labels == ("neutral", "entailment", "contradiction")
    assert confusion.rows == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        ({"1": "neutral"}, "0 with an id that is not in it and 1 missing"),
        ({"1": "neutral", "2": "neutral", "3": "neutral"}, "1 with an id"),
        ({"1": "neutral", "2": "maybe"}, r"2: expected one of .* found another"),
    ],
)
def test_predictions_must_fit_the_gold(predicted: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inference_confusion({"1": "neutral", "2": "entailment"}, predicted, LABELS)


def test_unusable_gold_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"pair7: expected one of .* found another"):
        inference_confusion({"pair7": "maybe"}, {"pair7": "neutral"}, LABELS)
    with pytest.raises(DataError, match="found none"):
        inference_confusion({}, {}, LABELS)
