"""Test sets of two models whose true difference is known: clusters of unequal size, alike inside.

A cluster shares a difficulty, and each model has its own luck with a cluster and with a single example; seeds of a
model share the model's luck and have more of their own. The unit is a latent score of standard deviation about 1.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtscale.metrics.significance import PEARSON, RATIOS, Additive

Array = NDArray[np.float64]
MetricName = Literal["f1", "accuracy", "pearson"]
METRICS: tuple[MetricName, ...] = ("f1", "accuracy", "pearson")

SEEDS = 2
# The better model's lead, in units of the latent score, where there is a true difference.
LEAD = 0.25
_SIZE = 6.0
_SIZE_SPREAD = 0.8
_DIFFICULTY = 0.6
_LUCK = 0.3
_SEED_LUCK = 0.15
_CLUSTERS_FOR_THE_TRUTH = 400_000


def draw(metric: MetricName, clusters: int, lead: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two models on as many clusters: the statistics of the baseline and of the other, which leads by ``lead``."""
    sizes = np.maximum(1, rng.lognormal(np.log(_SIZE), _SIZE_SPREAD, clusters).astype(int))
    owner = np.repeat(np.arange(clusters), sizes)
    difficulty = _DIFFICULTY * rng.standard_normal(clusters)[owner] + rng.standard_normal(len(owner))
    statistics = {"f1": _f1, "accuracy": _accuracy, "pearson": _pearson}[metric]
    found = []
    for advantage in (0.0, lead):
        model = _luck(owner, clusters, _LUCK, rng)
        latent = [model + _luck(owner, clusters, _SEED_LUCK, rng) + advantage for _ in range(SEEDS)]
        found.append(np.stack([statistics(owner, clusters, difficulty, one, rng) for one in latent]))
    return found[0], found[1]


def _luck(owner: NDArray[np.int64], clusters: int, scale: float, rng: np.random.Generator) -> Array:
    return scale * (rng.standard_normal(clusters)[owner] + rng.standard_normal(len(owner)))


def _sums(owner: NDArray[np.int64], clusters: int, *columns: Array) -> Array:
    return np.stack([np.bincount(owner, column, clusters) for column in columns], axis=-1)


def _accuracy(owner: NDArray[np.int64], clusters: int, difficulty: Array, luck: Array, _: np.random.Generator) -> Array:
    right = (0.8 + luck > difficulty).astype(float)
    return _sums(owner, clusters, right, np.ones_like(right))


def _f1(owner: NDArray[np.int64], clusters: int, difficulty: Array, luck: Array, rng: np.random.Generator) -> Array:
    """Mentions found or missed, and false ones, of which a lucky model has fewer."""
    found = (0.8 + luck > difficulty).astype(float)
    false = rng.poisson(0.3 * np.exp(0.5 * (difficulty - luck) - 0.2)).astype(float)
    return _sums(owner, clusters, 2 * found, 1 + found + false)


def _pearson(
    owner: NDArray[np.int64], clusters: int, difficulty: Array, luck: Array, rng: np.random.Generator
) -> Array:
    """A model's score is the gold's and noise, of which a lucky model has less."""
    gold = difficulty
    noise = np.exp(-luck) * rng.standard_normal(len(owner))
    predicted = gold + 0.7 * noise
    return _sums(
        owner, clusters, np.ones_like(gold), gold, predicted, gold * gold, predicted * predicted, gold * predicted
    )


def samples(metric: MetricName, drawn: tuple[Array, Array]) -> tuple[Additive, Additive]:
    """What was drawn, as the statistics take it."""
    measure = PEARSON if metric == "pearson" else RATIOS
    return Additive(drawn[0], measure), Additive(drawn[1], measure)


@cache
def true_difference(metric: MetricName, lead: float) -> float:
    """The difference on so many clusters that its error does not matter beside that of a thousand or less."""
    if lead == 0:
        return 0.0
    one, other = samples(metric, draw(metric, _CLUSTERS_FOR_THE_TRUTH, lead, np.random.default_rng(0)))
    everything = np.ones((1, _CLUSTERS_FOR_THE_TRUTH))
    return float((other.scores(everything) - one.scores(everything)).mean())


@cache
def true_score(metric: MetricName) -> float:
    """That of the baseline, on as many clusters."""
    one, _ = samples(metric, draw(metric, _CLUSTERS_FOR_THE_TRUTH, 0.0, np.random.default_rng(0)))
    return float(one.scores(np.ones((1, _CLUSTERS_FOR_THE_TRUTH))).mean())


def repetitions(metric: MetricName, clusters: int, lead: float, count: int) -> Iterator[tuple[Additive, Additive]]:
    """Test sets drawn one after the other, the same ones each time."""
    for number in range(count):
        yield samples(metric, draw(metric, clusters, lead, np.random.default_rng([number, clusters])))
