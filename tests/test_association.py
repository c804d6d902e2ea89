"""Rank correlations over pairs of tasks: against scipy, against counting by hand, and how often they reject."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from mtscale.metrics import association
from mtscale.metrics.association import Array, associate

OFF = {size: ~np.eye(size, dtype=bool) for size in range(2, 9)}


def drawn(seed: int, size: int, dependent: float = 0.0) -> Array:
    """Values of directed pairs, of which ``dependent`` comes of the first task alone."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(size, size)) + dependent * generator.normal(size=(size, 1))


def test_rho_is_spearmans_over_directed_pairs_and_p_counts_the_orders_of_tasks() -> None:
    one, two = drawn(1, 4), drawn(2, 4)
    found = associate([(one, two)])
    expected = stats.spearmanr(one[OFF[4]], two[OFF[4]]).statistic
    assert (found.rho, found.pairs, found.orders) == (pytest.approx(expected), 12, 24)
    reached = 0
    for order in permutations(range(4)):
        moved = one[np.ix_(order, order)]
        reached += abs(stats.spearmanr(moved[OFF[4]], two[OFF[4]]).statistic) >= abs(expected) - 1e-9
    assert found.p == reached / 24
    assert found.least_p == 1 / 24


def test_the_same_values_reach_the_least_p_and_three_tasks_tell_nothing() -> None:
    values = drawn(3, 4)
    assert associate([(values, 2 * values)]) == association.Association(pytest.approx(1.0), 1 / 24, 12, 24)
    assert associate([(values[:3, :3], values[:3, :3])]).least_p > 0.05


def test_groups_are_ranked_and_exchanged_each_by_itself() -> None:
    """A shift between groups is no association; together they have as many orders as both have."""
    values = drawn(4, 3)
    found = associate([(values, values), (values + 100, values - 100)])
    assert (found.rho, found.pairs, found.orders) == (pytest.approx(1.0), 12, 36)


def test_what_does_not_vary_has_no_correlation() -> None:
    found = associate([(np.ones((2, 2)), drawn(5, 2))])
    assert (found.rho, found.p) == (None, None)
    with pytest.raises(ValueError, match="two square matrices of at least two tasks, found"):
        associate([(np.ones((2, 2)), np.ones((3, 3)))])


def test_many_tasks_are_exchanged_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = drawn(6, 5), drawn(7, 5)
    whole = associate([(one, two)]).p
    monkeypatch.setattr(association, "MAX_ORDERS", 119)
    found = associate([(one, two)])
    assert found.orders == 120
    assert found.p == pytest.approx(whole, abs=0.1)
    assert found == associate([(one, two)]), "the same values give the same numbers"


def test_pairs_that_share_a_task_do_not_make_it_reject_more() -> None:
    """Where both sides depend on the first task, a test that takes pairs for independent rejects too often."""
    pairs = [(drawn(seed, 5, 2.0), drawn(10_000 + seed, 5, 2.0)) for seed in range(300)]
    naive = [stats.spearmanr(one[OFF[5]], two[OFF[5]]).pvalue <= 0.05 for one, two in pairs]
    ours = [(associate([pair]).p or 1.0) <= 0.05 for pair in pairs]
    assert np.mean(naive) > 0.15
    assert np.mean(ours) < 0.09
