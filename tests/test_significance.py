"""Significance on sums per cluster: against scipy, plain loops and known cases; the simulations are elsewhere."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtscale.metrics import significance
from mtscale.metrics.counts import Counts
from mtscale.metrics.regression import pearson, spearman
from mtscale.metrics.significance import (
    RATIOS,
    Additive,
    Comparison,
    Ranked,
    Sample,
    compare,
    holm,
    mean_and_deviation,
    pearson_sample,
    randomization_p,
    ratio_mean,
    score_interval,
    simultaneous_intervals,
)
from tests.clustered_data import METRICS, draw, samples


def drawn(metric: str, clusters: int = 40, lead: float = 0.3, seed: int = 5) -> tuple[Additive, Additive]:
    return samples(metric, draw(metric, clusters, lead, np.random.default_rng(seed)))  # type: ignore[arg-type]


def triples(seeds: int = 2, clusters: int = 30, classes: int = 3) -> list[list[list[Counts]]]:
    source = random.Random(7)
    return [
        [
            [Counts(source.randrange(4), source.randrange(3), source.randrange(3)) for _ in range(classes)]
            for _ in range(clusters)
        ]
        for _ in range(seeds)
    ]


def additive(counts: Sequence[Sequence[Sequence[Counts]]]) -> Additive:
    rows = [
        [
            [
                part
                for one in cluster
                for part in (2 * one.true_positives, 2 * one.true_positives + one.false_positives + one.false_negatives)
            ]
            for cluster in seed
        ]
        for seed in counts
    ]
    return Additive(np.array(rows, dtype=np.float64), RATIOS)


def test_ratios_are_the_f1_of_the_summed_counts() -> None:
    counts = triples()
    whole = additive(counts).scores(np.ones((1, 30)))[0]
    picked = [3, 3, 8]
    weights = np.zeros((1, 30))
    for cluster in picked:
        weights[0, cluster] += 1
    part = additive(counts).scores(weights)[0]
    for seed in range(2):
        by_class = [sum((counts[seed][cluster][label] for cluster in range(30)), Counts()) for label in range(3)]
        assert whole[seed] == pytest.approx(sum(one.f1 for one in by_class) / 3, abs=1e-15)
        chosen = [sum((counts[seed][cluster][label] for cluster in picked), Counts()) for label in range(3)]
        assert part[seed] == pytest.approx(sum(one.f1 for one in chosen) / 3, abs=1e-15)
    assert ratio_mean(np.zeros((1, 4)))[0] == 0, "a class absent from both sides counts 0, as in the metric"


@given(st.integers(0, 10_000), st.booleans())
def test_correlations_are_those_of_the_metrics_on_any_part(seed: int, ties: bool) -> None:
    source = np.random.default_rng(seed)
    gold = source.integers(0, 6, 60).astype(float)
    predicted = 1e6 + gold + source.normal(0, 2, (2, 60))
    predicted = np.round(predicted) if ties else predicted
    owners = np.sort(source.integers(0, 12, 60))
    owners[[0, -1]] = 0, 11
    weights = source.integers(0, 3, (1, 12)).astype(float)
    weights[0, :2] = 1
    repeated = np.repeat(np.arange(60), weights[0, owners].astype(int))
    if len(set(gold[repeated])) < 2:
        return
    for sample, metric in (
        (pearson_sample(gold, predicted, owners), pearson),
        (Ranked(gold, predicted, owners), spearman),
    ):
        for one, row in zip(sample.scores(np.ones((1, 12)))[0], predicted, strict=True):
            assert one == pytest.approx(metric(list(gold), list(row)), abs=1e-9)
        for one, row in zip(sample.scores(weights)[0], predicted, strict=True):
            assert one == pytest.approx(metric(list(gold[repeated]), list(row[repeated])), abs=1e-8)


def test_constant_predictions_have_no_correlation() -> None:
    gold, owners = np.arange(6.0), np.array([0, 0, 1, 1, 2, 2])
    for sample in (pearson_sample(gold, np.full((1, 6), 3.3), owners), Ranked(gold, np.full((1, 6), 3.3), owners)):
        assert sample.scores(np.ones((1, 3)))[0, 0] == 0
    assert pearson_sample(gold, gold[None], owners).scores(np.zeros((1, 3)))[0, 0] == 0, "nothing at all"


@pytest.mark.parametrize("metric", METRICS)
def test_the_standard_error_is_that_of_leaving_each_cluster_out(metric: str) -> None:
    baseline, other = drawn(metric)

    def difference(kept: Sequence[int]) -> float:
        one, two = (
            np.mean([sample.measure.score(seed[kept].sum(axis=0)) for seed in sample.statistics])
            for sample in (baseline, other)
        )
        return float(two - one)

    left_out = [difference([one for one in range(40) if one != cluster]) for cluster in range(40)]
    middle = sum(left_out) / 40
    variance = 39 / 40 * sum((one - middle) ** 2 for one in left_out)
    found = compare(baseline, other, draws=10)
    assert found.difference == pytest.approx(difference(range(40)))
    assert found.error == pytest.approx(variance**0.5)


def test_for_a_mean_of_equal_clusters_the_interval_is_students() -> None:
    """Accuracy with one example a cluster: the difference is a mean of independent values."""
    source = np.random.default_rng(3)
    values = source.random((2, 50))
    baseline, other = (Additive(np.stack([one, np.ones(50)], axis=-1)[None], RATIOS) for one in values)
    found = compare(baseline, other, draws=10)
    gains = values[1] - values[0]
    assert found.error == pytest.approx(stats.sem(gains))
    wanted = stats.t.interval(0.95, found.degrees, gains.mean(), stats.sem(gains))
    assert found.interval() == pytest.approx(wanted)
    fourth, square = ((gains - gains.mean()) ** 4).sum(), ((gains - gains.mean()) ** 2).sum()
    assert found.degrees == pytest.approx(min(49, 2 / (fourth / square**2 - 1 / 50)))


@pytest.mark.parametrize("metric", METRICS)
def test_p_is_that_of_all_swaps(metric: str) -> None:
    """Twelve clusters can be swapped in 2048 ways and their mirrors: an exact p by a plain loop."""
    baseline, other = drawn(metric, clusters=12, lead=0.5)

    def difference(swap: Sequence[bool]) -> float:
        sides = ([], [])
        for seed in range(baseline.seeds):
            for side, (own, foreign) in enumerate(((baseline, other), (other, baseline))):
                rows = [(foreign if swapped else own).statistics[seed, cluster] for cluster, swapped in enumerate(swap)]
                sides[side].append(float(own.measure.score(np.sum(rows, axis=0))))
        return abs(sum(sides[1]) / baseline.seeds - sum(sides[0]) / baseline.seeds)

    found = [difference([*swap, False]) for swap in itertools.product([False, True], repeat=11)]
    observed = found[0]
    larger = sum(one > observed + 1e-12 for one in found)
    tied = sum(abs(one - observed) <= 1e-12 for one in found[1:])
    exact = (larger + 1 + tied / 2) / 2048
    assert randomization_p(baseline, other, draws=2048) == pytest.approx(exact, abs=1e-12)
    sampled = randomization_p(baseline, other, draws=2047)
    assert sampled == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 2047) ** 0.5 + 1 / 2048)


def test_ties_count_half_as_in_scipys_distribution() -> None:
    """One right answer more or less in each of ten clusters: the difference takes eleven values."""
    gains = np.array([1.0, 1, 1, 1, 1, 1, 1, -1, 0, 0])
    right, size = np.full(10, 5.0), np.full(10, 8.0)
    baseline, other = (Additive(np.stack([one, size], axis=-1)[None], RATIOS) for one in (right, right + gains))
    distribution = stats.permutation_test(
        (gains,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False
    ).null_distribution
    larger, tied = (np.abs(distribution) > 6).mean(), (np.abs(distribution) == 6).mean()
    # What was observed and its mirror count whole.
    assert randomization_p(baseline, other) == pytest.approx(larger + tied / 2 + 1 / 1024)
    assert larger + tied > 0.05 > larger + tied / 2 + 1 / 1024


def test_counting_ties_by_half_is_no_strict_bound() -> None:
    """Eight clusters that differ by one answer each: seven or eight one way are rejected, in 18 of 256 cases."""
    size, rejected = np.full(8, 8.0), 0
    for gains in itertools.product([-1.0, 1.0], repeat=8):
        sides = (Additive(np.stack([5 + np.array(one), size], axis=-1)[None], RATIOS) for one in (np.zeros(8), gains))
        rejected += randomization_p(*sides) <= 0.05
    assert rejected == 18


def test_p_agrees_with_scipy_on_cluster_means() -> None:
    source = np.random.default_rng(11)
    values = source.random((2, 60)) + np.array([[0.0], [0.1]])
    baseline, other = (Additive(np.stack([one, np.ones(60)], axis=-1)[None], RATIOS) for one in values)
    theirs = stats.permutation_test(
        (values[1], values[0]),
        lambda one, two, axis: np.mean(one - two, axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=np.random.default_rng(1),
    ).pvalue
    assert randomization_p(baseline, other, draws=20_000) == pytest.approx(theirs, abs=0.01)
    assert 0.005 < theirs < 0.9


def test_equal_models_differ_by_nothing() -> None:
    baseline, _ = drawn("f1")
    found = compare(baseline, baseline)
    assert (found.difference, found.p, found.interval(), found.interval(0.001)) == (0, 1, (0, 0), (0, 0))


def test_few_clusters_that_differ_widen_the_interval() -> None:
    """Four clusters of 300 that differ, all one way: 2 of 16 swaps tie with it, so nothing is shown."""
    sums = np.stack([np.zeros(300), np.ones(300)], axis=-1)[None]
    better = sums.copy()
    better[0, :4, 0] = 1
    found = compare(Additive(sums, RATIOS), Additive(better, RATIOS))
    assert found.degrees < 10
    assert found.interval()[0] < 0 < found.interval()[1]
    assert found.p == pytest.approx(1 / 16, abs=0.02)


def test_a_cluster_that_is_most_of_the_test_set_leaves_little_to_learn_from() -> None:
    """One cluster of half the examples that gains as the others do in the mean: not even four effective clusters."""
    sums = np.stack([np.tile([4.0, 5.0, 6.0], 10), np.full(30, 10.0)], axis=-1)
    sums[0] = 150, 290
    better = sums.copy()
    better[:, 0] += np.tile([1.0, 2.0], 15)
    better[0, 0] = sums[0, 0] + 0.15 * 290
    found = compare(Additive(sums[None], RATIOS), Additive(better[None], RATIOS))
    sizes = sums[:, 1]
    assert found.degrees == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum() - 1)
    assert found.degrees < 3
    alike = compare(Additive(sums[None, 1:], RATIOS), Additive(better[None, 1:], RATIOS))
    assert alike.degrees == pytest.approx(28)


def test_the_result_does_not_depend_on_chance_or_on_the_order_of_seeds() -> None:
    baseline, other = drawn("f1")
    turned = [Additive(one.statistics[::-1], one.measure) for one in (baseline, other)]
    assert compare(baseline, other) == compare(baseline, other)
    assert compare(*turned).p == compare(baseline, other).p
    assert compare(*turned).error == pytest.approx(compare(baseline, other).error)
    swapped = compare(other, baseline)
    assert swapped.difference == pytest.approx(-compare(baseline, other).difference)
    assert swapped.p == pytest.approx(compare(baseline, other).p, abs=0.02)


def test_parts_that_do_not_fit_in_memory_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, other = drawn("pearson")
    whole = compare(baseline, other)
    monkeypatch.setattr(significance, "_CELLS_AT_ONCE", 120)
    assert compare(baseline, other).error == pytest.approx(whole.error)
    assert compare(baseline, other).p == whole.p


def test_spearman_is_compared_by_ranks_of_each_part() -> None:
    source = np.random.default_rng(2)
    gold = source.random(80)
    baseline, other = gold + source.normal(0, 0.5, (1, 80)), gold + source.normal(0, 0.1, (1, 80))
    owners = np.arange(80) // 2
    found = compare(*(Ranked(gold, np.exp(one), owners) for one in (baseline, other)))
    assert found.difference == pytest.approx(
        spearman(list(gold), list(other[0])) - spearman(list(gold), list(baseline[0]))
    )
    left_out = []
    for cluster in range(40):
        kept = owners != cluster
        scores = [spearman(list(gold[kept]), list(one[0, kept])) for one in (baseline, other)]
        left_out.append(scores[1] - scores[0])
    assert found.error == pytest.approx((39 / 40 * ((left_out - np.mean(left_out)) ** 2).sum()) ** 0.5)
    assert found.p < 0.01


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    rejected: set[int] = set()
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] * (len(p_values) - step) > 0.05:
            break
        rejected.add(place)
    assert {place for place, p in enumerate(adjusted) if p <= 0.05} == rejected
    assert all(one >= p for one, p in zip(adjusted, p_values, strict=True))


def test_adjusted_intervals_hold_together() -> None:
    family = [Comparison(0.1 * place, 0.05, 30.0, 0.01, 31, 2) for place in range(4)]
    for one, (low, high) in zip(family, simultaneous_intervals(family), strict=True):
        assert (low, high) == pytest.approx(stats.t.interval(1 - 0.05 / 4, 30, one.difference, 0.05))
        assert low < one.interval()[0] < one.interval()[1] < high


def test_few_seeds_are_said() -> None:
    few, many = (Comparison(0.1, 0.1, 9, 0.5, 10, seeds) for seeds in (4, 5))
    assert (few.label, many.label) == ("conditional on these seeds", "")
    assert Comparison(0.1, 0.1, 9, 0.5, 9, 1).label == f"{few.label}; fewer than 10 clusters: nothing can be concluded"
    assert mean_and_deviation([0.5]) == (0.5, None)
    assert mean_and_deviation([0.5, 0.7]) == pytest.approx((0.6, 0.02**0.5))


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (np.ones((1, 3, 2)), np.ones((1, 4, 2)), "found 3 and 4 clusters"),
        (np.ones((1, 3, 2)), np.ones((2, 3, 2)), "1 and 2 seeds"),
        (np.ones((1, 1, 2)), np.ones((1, 1, 2)), "at least two clusters"),
    ],
)
def test_what_cannot_be_compared_is_refused(one: np.ndarray, other: np.ndarray, message: str) -> None:
    samples: list[Sample] = [Additive(one, RATIOS), Additive(other, RATIOS)]
    with pytest.raises(ValueError, match=message):
        compare(*samples)


def test_the_interval_of_a_score_of_single_examples_is_students_of_a_mean() -> None:
    right = np.arange(40) % 2
    sample = Additive(np.stack([right, np.ones(40)], axis=-1)[None].astype(np.float64), RATIOS)
    expected = stats.t.interval(0.95, 39, loc=right.mean(), scale=stats.sem(right))
    assert score_interval(sample) == pytest.approx(expected, abs=1e-12)
    wider = score_interval(sample, 0.01)
    assert wider[0] < expected[0] < expected[1] < wider[1]


def test_the_interval_of_a_score_leaves_out_whole_clusters() -> None:
    one, _ = drawn("f1", clusters=25)
    left_out = [one.scores(np.delete(np.eye(25), place, axis=0).sum(axis=0)[None]).mean() for place in range(25)]
    error = np.sqrt(24 / 25 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    low, high = score_interval(one)
    assert (low + high) / 2 == pytest.approx(one.scores(np.ones((1, 25))).mean())
    assert (high - low) / 2 >= stats.t.ppf(0.975, 24) * error - 1e-12
    with pytest.raises(ValueError, match="at least two clusters"):
        score_interval(Additive(one.statistics[:, :1], one.measure))
