"""Correlation of predicted with gold scores, for similarity tasks (Pearson is primary: Peng et al. 2020, Table 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mtscale.errors import DataError

# Values that differ only here differ by rounding. Just above the 1.8e-12 (machine epsilon ** 0.75) under which
# scipy.stats.pearsonr warns that its result may be inaccurate.
_ROUNDING = 1e-11


def pearson(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Pearson's r of two equally long sequences, through ``scipy.stats.pearsonr``.

    Constant predictions give 0: they have no linear association with anything. Values count as constant when they
    differ by no more than rounding, 1e-11 of the largest.

    Raises:
        DataError: the gold has fewer than two values, is constant, or holds NaN or infinity.
        ValueError: the lengths differ, or a prediction is NaN or infinite.
    """
    _check(gold, predicted)
    if _is_constant(predicted):
        return 0.0
    # scipy is not among the dependencies of a machine that only watches runs, and takes most of a second to import.
    from scipy import stats

    return float(stats.pearsonr([float(value) for value in gold], [float(value) for value in predicted]).statistic)


def spearman(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Spearman's rho of two equally long sequences: Pearson's r of their ranks, ties sharing the mean rank.

    The rules for constant values and the errors are those of ``pearson``.
    """
    _check(gold, predicted)
    if _is_constant(predicted):
        return 0.0
    from scipy import stats

    return pearson(stats.rankdata(gold).tolist(), stats.rankdata(predicted).tolist())


def _check(gold: Sequence[float], predicted: Sequence[float]) -> None:
    if len(gold) != len(predicted):
        raise ValueError(f"expected as many predictions as gold scores, found {len(predicted)} for {len(gold)}")
    strange = sum(not math.isfinite(value) for value in predicted)
    if strange:
        raise ValueError(f"expected finite predictions, found {strange} of {len(predicted)} that are NaN or infinite")
    if len(gold) < 2:
        raise DataError(f"expected at least 2 gold scores to correlate, found {len(gold)}; use a larger split")
    strange = sum(not math.isfinite(value) for value in gold)
    if strange:
        raise DataError(
            f"expected finite gold scores, found {strange} of {len(gold)} that are NaN or infinite; correct the corpus"
        )
    if _is_constant(gold):
        raise DataError(
            f"expected gold scores that differ, found {len(gold)} equal ones: correlation is undefined; "
            "use a split with different scores"
        )


def _is_constant(values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    return high - low <= _ROUNDING * max(abs(low), abs(high))
