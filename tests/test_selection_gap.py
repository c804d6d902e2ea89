"""The selection gap: best epoch on test minus the final one, from a run's own events."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtscale.errors import ConfigError
from mtscale.study.selection_gap import SelectionGap, selection_gap
from tests.noisy import run_with_predictions

SCORES = {"cdr-disease": [0.5, 0.75, 0.75, 0.7], "cdr-relation": [0.2, 0.3, 0.4, 0.5]}


def test_each_task_has_its_own_best_epoch(tmp_path: Path) -> None:
    run = run_with_predictions(tmp_path, "p", 0.9, protocol="paper", splits=())
    run.append_event("test", 5, 9, {"test/cdr-disease/score": 0.99, "test/cdr-relation/score": 0.99})
    run.append_event("rewind", 0, 0, {})
    for epoch in range(4):
        values = {f"test/{task}/score": scores[epoch] for task, scores in SCORES.items()}
        run.append_event("test", 10 * (epoch + 1), epoch + 1, {**values, "test/macro/score": 0.1})
    gaps = selection_gap(run)
    assert gaps == [SelectionGap("cdr-disease", 2, 0.75, 4, 0.7), SelectionGap("cdr-relation", 4, 0.5, 4, 0.5)]
    assert [gap.gap for gap in gaps] == pytest.approx([0.05, 0])


def test_other_runs_have_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this one has protocol 'clean'"):
        selection_gap(run_with_predictions(tmp_path, "c", 0.9, splits=()))
    with pytest.raises(ConfigError, match="no epoch has been scored on test yet"):
        selection_gap(run_with_predictions(tmp_path, "p", 0.9, protocol="paper", splits=()))
