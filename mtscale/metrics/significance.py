"""Is the difference between two models real? Intervals and p-values by resampling the clusters of a test set.

Examples of one document (article, connected sentence pairs) are not independent, so clusters are left out and swapped
as a whole, jointly for both models and all their seeds. Everything works on sufficient statistics per cluster, so the
size of the texts does not matter. docs/statistics.md explains the methods and shows, by simulation, how they hold.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ALPHA = 0.05
RANDOMIZATIONS = 10_000
FEW_SEEDS = 5
CONDITIONAL = "conditional on these seeds"
# As few as the simulation of docs/statistics.md goes down to.
FEW_CLUSTERS = 10
TOO_FEW_CLUSTERS = f"fewer than {FEW_CLUSTERS} clusters: nothing can be concluded"

# Of a variance of standardized values: below it they differ by rounding only.
_ROUNDING = 1e-12
_CELLS_AT_ONCE = 1_000_000


class Measure(NamedTuple):
    """A score of sums, (..., width) -> (...), and how much of the test set the sums are of, in any unit."""

    score: Callable[[Array], Array]
    size: Callable[[Array], Array]


class Sample(Protocol):
    """What one model did on a test set: a score for each seed, of the whole set or of part of it."""

    @property
    def clusters(self) -> int:
        """How many clusters the test set has."""

    @property
    def seeds(self) -> int:
        """How many seeds the model was trained with."""

    def scores(self, weights: Array) -> Array:
        """Scores (draws, seeds) where each cluster is there as often as ``weights`` (draws, clusters) says."""

    def additive(self) -> Additive:
        """The same scores of the whole set, as a function of sums over clusters."""


@dataclass(frozen=True)
class Additive:
    """A score that is a function of sums: ``statistics`` (seeds, clusters, width), and the ``measure`` of them."""

    statistics: Array
    measure: Measure

    @property
    def clusters(self) -> int:
        """As ``Sample``."""
        return len(self.statistics[0])

    @property
    def seeds(self) -> int:
        """As ``Sample``."""
        return len(self.statistics)

    def scores(self, weights: Array) -> Array:
        """As ``Sample``."""
        return self.measure.score(np.tensordot(weights, self.statistics, axes=(1, 1)))

    def additive(self) -> Additive:
        """As ``Sample``."""
        return self


@dataclass(frozen=True)
class Ranked:
    """Spearman's rho: ``gold`` (examples), ``predicted`` (seeds, examples), ``owners``, each example's cluster from 0.

    Parts of the test set are ranked anew. Only where clusters are swapped between models, ranks in the whole set are.
    """

    gold: Array
    predicted: Array
    owners: NDArray[np.intp]

    @property
    def clusters(self) -> int:
        """As ``Sample``."""
        return int(self.owners.max()) + 1

    @property
    def seeds(self) -> int:
        """As ``Sample``."""
        return len(self.predicted)

    def scores(self, weights: Array) -> Array:
        """As ``Sample``."""
        present = weights[:, self.owners]
        gold = _midranks(self.gold, present)
        found = []
        for seed in self.predicted:
            columns = moments(gold, _midranks(seed, present))
            found.append(correlation((present[..., None] * columns).sum(axis=1)))
        return np.stack(found, axis=1)

    def additive(self) -> Additive:
        """As ``Sample``."""
        everything = np.ones((1, len(self.gold)))
        gold, *found = (_midranks(values, everything)[0] for values in (self.gold, *self.predicted))
        return pearson_sample(gold, np.array(found), self.owners)


def ratio_mean(totals: Array) -> Array:
    """The mean of ratios, totals (..., 2 * ratios) being numerator and denominator of each; 0 / 0 counts as 0.

    One ratio is accuracy (right, examples) or micro F1 (2 tp, 2 tp + fp + fn); one a class is macro F1.
    """
    pairs = totals.reshape(*totals.shape[:-1], -1, 2)
    above, below = pairs[..., 0], pairs[..., 1]
    ratios: Array = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    means: Array = ratios.mean(axis=-1)
    return means


def correlation(totals: Array) -> Array:
    """Pearson's r from the sums of ``moments`` (..., 6) of standardized values; 0 where one side does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(totals, -1, 0)
    n = np.maximum(n, 1)
    variance_x, variance_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    varies = (variance_x > _ROUNDING) & (variance_y > _ROUNDING)
    below = np.sqrt(np.where(varies, variance_x * variance_y, 1.0))
    return np.where(varies, np.clip((xy / n - x * y / n**2) / below, -1.0, 1.0), 0.0)


def _ratio_size(totals: Array) -> Array:
    below: Array = totals[..., 1::2].sum(axis=-1)
    return below


RATIOS = Measure(ratio_mean, _ratio_size)
PEARSON = Measure(correlation, lambda totals: totals[..., 0])


def moments(x: Array, y: Array) -> Array:
    """What ``correlation`` sums over examples: (...,) and (...,) -> (..., 6), both sides standardized first."""
    x, y = _standardized(x), _standardized(y)
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)


def pearson_sample(gold: Array, predicted: Array, owners: NDArray[np.intp]) -> Additive:
    """Pearson's r: gold (examples), predicted (seeds, examples), owners: each example's cluster, counted from 0.

    A model's predictions are standardized, so that swapping clusters between models does not mix two scales.
    """
    sums = np.zeros((len(predicted), int(owners.max()) + 1, 6))
    for seed, values in enumerate(predicted):
        np.add.at(sums[seed], owners, moments(gold, values))
    return Additive(sums, PEARSON)


@dataclass(frozen=True)
class Comparison:
    """The difference other - baseline, averaged over seeds, its standard error and p-value."""

    difference: float
    error: float
    degrees: float
    p: float
    clusters: int
    seeds: int

    def interval(self, alpha: float = ALPHA) -> tuple[float, float]:
        """The interval that misses the true difference with probability ``alpha``."""
        return _interval(self.difference, self.error, self.degrees, alpha)

    @property
    def has_few_clusters(self) -> bool:
        """Whether there are fewer clusters than the interval is known to hold for."""
        return self.clusters < FEW_CLUSTERS

    @property
    def label(self) -> str:
        """What must be said with the result; empty if nothing. Few seeds say little about other seeds."""
        found = [(self.seeds < FEW_SEEDS, CONDITIONAL), (self.has_few_clusters, TOO_FEW_CLUSTERS)]
        return "; ".join(label for holds, label in found if holds)


def compare(baseline: Sample, other: Sample, *, draws: int = RANDOMIZATIONS, seed: int = 0) -> Comparison:
    """Compare two models on the same clusters, in the same order; equal input gives equal output.

    Raises:
        ValueError: different numbers of clusters or of seeds, or fewer than two clusters.
    """
    if (baseline.clusters, baseline.seeds) != (other.clusters, other.seeds):
        raise ValueError(
            f"expected two models with as many clusters and seeds, found {baseline.clusters} and {other.clusters} "
            f"clusters, {baseline.seeds} and {other.seeds} seeds"
        )
    if baseline.clusters < 2:
        raise ValueError("expected at least two clusters to resample, found one")
    difference = float(_differences(baseline, other, np.ones((1, baseline.clusters)))[0])
    error, degrees = _jackknife(lambda weights: _differences(baseline, other, weights), (baseline, other))
    p = randomization_p(baseline.additive(), other.additive(), draws=draws, seed=seed)
    return Comparison(difference, error, degrees, p, baseline.clusters, baseline.seeds)


def score_interval(sample: Sample, alpha: float = ALPHA) -> tuple[float, float]:
    """The interval of one model's score, averaged over seeds: it misses the true one with probability ``alpha``.

    Raises:
        ValueError: fewer than two clusters.
    """
    if sample.clusters < 2:
        raise ValueError("expected at least two clusters to leave out, found one")
    error, degrees = _jackknife(lambda weights: sample.scores(weights).mean(axis=1), (sample,))
    return _interval(float(sample.scores(np.ones((1, sample.clusters))).mean()), error, degrees, alpha)


def randomization_p(baseline: Additive, other: Additive, *, draws: int = RANDOMIZATIONS, seed: int = 0) -> float:
    """Two-sided p-value of approximate randomization (Noreen 1989): whole clusters swapped, jointly for all seeds.

    The part of the draws whose difference is larger than the one observed, which counts as a draw itself, and half of
    those that tie with it (the mid-p value, Lancaster 1961): a score of few examples takes few values. Few clusters are
    swapped in every way there is.
    """
    one, two = baseline.statistics.sum(axis=1), other.statistics.sum(axis=1)
    gain = other.statistics - baseline.statistics
    score = baseline.measure.score
    observed = abs(float((score(two) - score(one)).mean()))
    if observed <= _ROUNDING:
        return 1.0
    # Swapping all is the mirror of swapping none, so the last cluster can stay.
    is_exact = 2 ** (baseline.clusters - 1) <= draws
    swaps = _every_swap(baseline.clusters) if is_exact else _coins(draws, baseline.clusters, seed)
    count, larger, tied = (0, 0, 0) if is_exact else (1, 0, 1)
    for swapped in swaps:
        moved = np.tensordot(swapped, gain, axes=(1, 1))
        found = np.abs((score(two - moved) - score(one + moved)).mean(axis=-1)) - observed
        count += len(swapped)
        larger += int((found > _ROUNDING).sum())
        tied += int((np.abs(found) <= _ROUNDING).sum())
    return (larger + (tied + 1) / 2) / count


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a family, adjusted by Holm's step-down method (1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def simultaneous_intervals(family: Sequence[Comparison], alpha: float = ALPHA) -> list[tuple[float, float]]:
    """Intervals that all hold together with probability 1 - ``alpha``: each at ``alpha`` / family size (Bonferroni)."""
    return [one.interval(alpha / len(family)) for one in family]


def mean_and_deviation(scores: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds; one seed has no deviation."""
    return statistics.fmean(scores), statistics.stdev(scores) if len(scores) > 1 else None


def _differences(baseline: Sample, other: Sample, weights: Array) -> Array:
    gains: Array = other.scores(weights).mean(axis=1) - baseline.scores(weights).mean(axis=1)
    return gains


def _interval(value: float, error: float, degrees: float, alpha: float) -> tuple[float, float]:
    from scipy import stats

    half = float(stats.t.ppf(1 - alpha / 2, degrees)) * error if error else 0.0
    return value - half, value + half


def _jackknife(values: Callable[[Array], Array], samples: Sequence[Sample]) -> tuple[float, float]:
    """The standard error of a value by leaving out each cluster in turn, and its degrees of freedom.

    ``values`` gives it for weights of the clusters (draws, clusters); ``samples`` are those that it is made of.
    """
    count = samples[0].clusters
    rows = max(1, _CELLS_AT_ONCE // count)
    parts = []
    for start in range(0, count, rows):
        left_out = np.arange(start, min(start + rows, count))
        weights = np.ones((len(left_out), count))
        weights[np.arange(len(left_out)), left_out] = 0.0
        parts.append(values(weights))
    influences = np.concatenate(parts)
    influences = influences - influences.mean()
    total = float((influences**2).sum())
    if math.sqrt(total) <= _ROUNDING:
        return 0.0, count - 1.0
    sizes = sum(one.measure.size(one.statistics.sum(axis=0)) for one in (sample.additive() for sample in samples))
    return math.sqrt((count - 1) / count * total), _degrees(influences, np.asarray(sizes))


def _degrees(influences: Array, sizes: Array) -> float:
    """The degrees of freedom of the standard error: one less than there are clusters, if these are alike.

    Fewer where few clusters carry the difference (Satterthwaite's, by the influences' fourth moment), and where few are
    most of the test set (one less than the effective number of clusters of Carter, Schnepel and Steigerwald 2017): the
    standard error hardly sees the error of a cluster that decides the score by itself. At least 1.
    """
    count = len(influences)
    squares = influences**2
    spread = float((squares**2).sum() / squares.sum() ** 2) - 1 / count
    effective = float(sizes.sum() ** 2 / (sizes**2).sum())
    return max(1.0, min(effective - 1, 2 / spread if spread > 0 else count - 1.0))


def _coins(draws: int, clusters: int, seed: int) -> Iterator[Array]:
    """``draws`` rows of fair coins, one a cluster, in parts that fit in memory."""
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS_AT_ONCE // clusters)
    for start in range(0, draws, rows):
        yield generator.integers(0, 2, (min(rows, draws - start), clusters)).astype(np.float64)


def _every_swap(clusters: int) -> Iterator[Array]:
    """All ways to swap clusters but the last, the first of them none, in parts that fit in memory."""
    rows = max(1, _CELLS_AT_ONCE // clusters)
    for start in range(0, 2 ** (clusters - 1), rows):
        numbers = np.arange(start, min(start + rows, 2 ** (clusters - 1)))
        yield (numbers[:, None] >> np.arange(clusters) & 1).astype(np.float64)


def _standardized(values: Array) -> Array:
    """Mean 0 and deviation 1 along the last axis; zeros where values differ by rounding only."""
    low, high = values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True)
    constant = high - low <= 1e-11 * np.maximum(np.abs(low), np.abs(high))
    centred = values - values.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True))
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))


def _midranks(values: Array, weights: Array) -> Array:
    """Ranks (draws, examples) of values (examples) where each is there ``weights`` times, ties sharing the mean."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    group = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
    last = np.append(np.flatnonzero(np.diff(group)), len(values) - 1)
    up_to = np.cumsum(weights[:, order], axis=1)[:, last]
    below = np.concatenate([np.zeros((len(weights), 1)), up_to[:, :-1]], axis=1)
    ranks = np.empty_like(weights)
    ranks[:, order] = ((below + up_to + 1) / 2)[:, group]
    return ranks
