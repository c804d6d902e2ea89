"""The statistics hold what they promise: by simulation, where the true difference is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clustered_data import METRICS, MetricName
from tests.significance_simulation import CLUSTERS, Cell, row, simulate

DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=METRICS)
def cells(request: pytest.FixtureRequest) -> list[Cell]:
    metric: MetricName = request.param
    return [simulate(metric, clusters) for clusters in CLUSTERS]


def test_without_a_difference_one_in_twenty_is_rejected(cells: list[Cell]) -> None:
    """Within two standard errors of 1,000 repetitions; these are ten times as many, so chance does not decide."""
    for cell in cells:
        assert 0.036 <= cell.rejected <= 0.064, cell


def test_intervals_hold_the_truth(cells: list[Cell]) -> None:
    for cell in cells:
        assert min(cell.held_without, cell.held_with, cell.held_score) >= 0.93, cell


def test_the_docs_print_what_is_found(cells: list[Cell]) -> None:
    """To the digit, but for repetitions that another processor may round to the other side."""
    printed = {
        tuple(line.split("|")[1:3]): line for line in DOCS.read_text(encoding="utf-8").splitlines() if "|" in line
    }
    for cell in cells:
        found = [float(part) for part in row(cell).split("|")[3:-1]]
        line = printed[(f" {cell.metric} ", f" {cell.clusters} ")]
        assert [float(part) for part in line.split("|")[3:-1]] == pytest.approx(found, abs=0.15)
