"""What of a study fits a time budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mtscale import ds_config
from mtscale.errors import ConfigError
from mtscale.study import spec
from mtscale.study.estimates import Estimate, Estimator
from mtscale.study.plan import Plan, Size
from mtscale.training import duration
from mtscale.training.machine import probe
from tests.lab import Lab
from tests.test_study_execute import write_study


@pytest.fixture
def estimator(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Estimator:
    # The same speed at every call and on every machine.
    monkeypatch.setattr(duration, "matmul_speed", lambda *_: 1e9)
    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path / "cache"))
    path = write_study(Lab(tmp_path), tiny_encoder, epochs=8)
    config = ds_config.load(ds_config.find("cpu-fp32"))
    return Estimator(spec.load(path), tmp_path, tmp_path / "runs", None, probe(), config)


def test_a_budget_takes_documents_first_and_epochs_only_then(estimator: Estimator) -> None:
    whole, estimate = estimator.plan(Size(), workers=1)
    assert set(estimate.seconds) == {unit.name for unit in whole.units}
    unreduced, same = estimator.fit(estimate.total + 1, workers=1)
    assert (unreduced.size, same.total) == (Size(), estimate.total)
    least = estimator.plan(Size(8, 1, 1), workers=1)[1].total
    fewer, smaller = estimator.fit((least + estimate.total) / 2, workers=1)
    assert smaller.total <= (least + estimate.total) / 2 < estimate.total
    assert fewer.size.epochs == 8
    assert fewer.size.documents is not None
    assert {table.train_documents for unit in fewer.units for table in unit.recipe.tasks} == {fewer.size.documents}
    shorter, shortest = estimator.fit(estimator.plan(Size(2, 1, 1), workers=1)[1].total, workers=1)
    assert shortest.total < smaller.total
    assert (shorter.size.epochs or 8) < 8


def test_a_budget_reduces_what_a_task_is_limited_to(estimator: Estimator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of corpora of 1000 documents, of which at most 50 are trained on, a budget takes fewer than 50."""
    plan, estimate = estimator.plan(Size(), workers=1)
    names = [task.name for task in estimator._study.tasks]
    monkeypatch.setattr(estimator, "_documents", dict.fromkeys(names, (1000, 100)))
    limited = [task.model_copy(update={"train_documents": 50}) for task in estimator._study.tasks]
    monkeypatch.setattr(estimator, "_study", estimator._study.model_copy(update={"tasks": limited}))

    def taking(size: Size, workers: int) -> tuple[Plan, Estimate]:
        documents = min(size.documents or 50, 50)
        return replace(plan, size=size), replace(estimate, total=float((size.epochs or 8) * documents))

    monkeypatch.setattr(estimator, "plan", taking)
    fewer, _ = estimator.fit(8 * 30.0, workers=1)
    assert fewer.size.epochs == 8
    assert fewer.size.documents in range(25, 31)


def test_more_workers_than_gpus_are_not_counted(estimator: Estimator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimator, "_machine", replace(estimator._machine, accelerator="cuda", gpu_count=2))
    monkeypatch.setattr(estimator, "_seconds", lambda unit: 100.0)
    of_two, of_four = (estimator.plan(Size(), workers=workers)[1].total for workers in (2, 4))
    assert of_two == of_four


def test_a_budget_that_nothing_fits_is_refused(estimator: Estimator) -> None:
    with pytest.raises(ConfigError, match=r"at its smallest .* take fewer seeds or parts"):
        estimator.fit(1.0, workers=1)


def test_fine_tuning_and_disk_are_counted(estimator: Estimator) -> None:
    plan, estimate = estimator.plan(Size(), workers=1)
    by_kind = {unit.kind: unit for unit in plan.units}
    assert estimate.seconds[by_kind["refined"].name] > estimate.seconds[by_kind["single"].name]
    one_run = estimator._disk(by_kind["single"])
    assert estimator._disk(by_kind["refined"]) == 3 * one_run > 0
    assert estimate.disk > 5 * one_run
