"""What one model gains over another on a task, and what a family of such differences says together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mtscale.errors import ConfigError, DataError
from mtscale.metrics.significance import (
    ALPHA,
    FEW_CLUSTERS,
    Comparison,
    compare,
    holm,
    mean_and_deviation,
    simultaneous_intervals,
)
from mtscale.study.samples import Scored, TestSet

Verdict = Literal["gain", "loss", "unclear"]

RULE = (
    f"Gain (loss): the adjusted interval, of at least {FEW_CLUSTERS} clusters, lies above (below) 0; else unclear. "
    f"Adjusted intervals hold together, all those of the family, with {1 - ALPHA:.0%}: each misses with {ALPHA:g} / "
    "their number. p by approximate randomization, adjusted by Holm"
)


@dataclass(frozen=True)
class Difference:
    """Other minus baseline on one task: positive is a gain. Deviations (None of one seed) are over seeds."""

    task: str
    metric: str
    split: str
    baseline_mean: float
    baseline_deviation: float | None
    other_mean: float
    other_deviation: float | None
    comparison: Comparison

    @property
    def difference(self) -> float:
        """In the units of the metric (0 to 1)."""
        return self.other_mean - self.baseline_mean

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of this difference alone."""
        return self.comparison.interval()

    @property
    def p(self) -> float:
        """The p-value of approximate randomization, of this difference alone."""
        return self.comparison.p

    @property
    def label(self) -> str:
        """What must be said beside it; empty if nothing."""
        return self.comparison.label


@dataclass(frozen=True)
class Adjusted:
    """A difference as a member of a family of comparisons."""

    difference: Difference
    low: float
    high: float
    p: float

    @property
    def verdict(self) -> Verdict:
        """By ``RULE``."""
        if self.difference.comparison.has_few_clusters:
            return "unclear"
        return "gain" if self.low > 0 else "loss" if self.high < 0 else "unclear"


def difference(test_set: TestSet, metric: str, baseline: Scored, other: Scored) -> Difference:
    """Compare two models on the same test set.

    Raises:
        ConfigError: they have different numbers of seeds.
        DataError: the test set is a single cluster.
    """
    where = f"task {test_set.task.name}, {test_set.split}"
    if len(baseline.scores) != len(other.scores):
        raise ConfigError(
            f"{where}: expected as many seeds of both models, since clusters are swapped seed by seed, found "
            f"{len(baseline.scores)} and {len(other.scores)}; leave out runs of one or train the missing seeds"
        )
    if baseline.sample.clusters < 2:
        raise DataError(f"{where}: expected at least two documents or groups of pairs to resample, found one")
    own, others = mean_and_deviation(baseline.scores), mean_and_deviation(other.scores)
    comparison = compare(baseline.sample, other.sample)
    return Difference(test_set.task.name, metric, test_set.split, *own, *others, comparison)


def adjust(family: Sequence[Difference]) -> list[Adjusted]:
    """The differences as one family: of a table with its baseline, or all directed edges of a graph."""
    intervals = simultaneous_intervals([one.comparison for one in family])
    p_values = holm([one.p for one in family])
    return [Adjusted(one, *interval, p) for one, interval, p in zip(family, intervals, p_values, strict=True)]
