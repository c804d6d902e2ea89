"""How often the tests reject where nothing is different, and how often the intervals hold what is true.

``python -m tests.significance_simulation`` prints the table of docs/statistics.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtscale.metrics.significance import ALPHA, compare, score_interval
from tests.clustered_data import LEAD, METRICS, MetricName, repetitions, true_difference, true_score

REPETITIONS = 10_000
CLUSTERS = (10, 20, 50, 100, 200)
# A p-value is valid with any number of draws; more of them only make it finer.
_DRAWS = 999


@dataclass(frozen=True)
class Cell:
    """Parts of the repetitions: rejected at 5 % without a difference; held by the interval without and with one.

    ``held_score`` is of the interval of one model's score.
    """

    metric: MetricName
    clusters: int
    rejected: float
    held_without: float
    held_with: float
    held_score: float


def simulate(metric: MetricName, clusters: int, count: int = REPETITIONS) -> Cell:
    """Draw test sets of two equal models and of two that differ, and compare each."""
    rejected, held, held_score = 0, {0.0: 0, LEAD: 0}, 0
    for lead in held:
        truth = true_difference(metric, lead)
        for baseline, other in repetitions(metric, clusters, lead, count):
            found = compare(baseline, other, draws=_DRAWS if lead == 0 else 1)
            low, high = found.interval()
            held[lead] += low <= truth <= high
            if lead == 0:
                rejected += found.p <= ALPHA
                low, high = score_interval(baseline)
                held_score += low <= true_score(metric) <= high
    return Cell(metric, clusters, rejected / count, held[0.0] / count, held[LEAD] / count, held_score / count)


def row(cell: Cell) -> str:
    """A line of the table in the docs."""
    parts = (cell.rejected, cell.held_without, cell.held_with, cell.held_score)
    return f"| {cell.metric} | {cell.clusters} | " + " | ".join(f"{100 * part:.1f}" for part in parts) + " |"


if __name__ == "__main__":
    for name in METRICS:
        for number in CLUSTERS:
            print(row(simulate(name, number)), flush=True)
