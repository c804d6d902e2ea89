"""Calibration against computations of its own, and `mtscale evaluate` on a run."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale import cli, judge
from mtscale.corpora import catalogue
from mtscale.errors import EXIT_FINISHED
from mtscale.inputs.cache import files_hash
from mtscale.runs import RunDirectory
from mtscale.serving import trained
from mtscale.serving.calibration import BINS, calibrate, expected_error, fit_temperature, negative_log_likelihood
from mtscale.serving.predictor import Predictor
from mtscale.tasks import TASKS
from mtscale.training import looks
from tests.trained import make_trained_run


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp((value - max(row)) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def literal_ece(rows: list[list[float]], labels: list[int]) -> float:
    """Equation 3 of Guo et al. 2017, bin by bin: (m - 1) / 15 < confidence <= m / 15."""
    total = 0.0
    for number in range(1, BINS + 1):
        inside = []
        for row, label in zip(rows, labels, strict=True):
            probabilities = softmax(row, 1.0)
            if (number - 1) / BINS < max(probabilities) <= number / BINS:
                inside.append((max(probabilities), probabilities.index(max(probabilities)) == label))
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            confidence = sum(value for value, _ in inside) / len(inside)
            total += len(inside) / len(rows) * abs(accuracy - confidence)
    return total


ROWS = st.lists(
    st.tuples(*[st.integers(-80, 80).map(lambda n: n / 13)] * 3, st.integers(0, 2)), min_size=1, max_size=60
)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS)
def test_the_expected_error_is_that_of_its_source(rows: list[tuple[float, float, float, int]]) -> None:
    logits, labels = [list(row[:3]) for row in rows], [row[3] for row in rows]
    found = calibrate(np.array(logits, dtype=np.float64), np.array(labels), 1.0)
    assert found.ece == pytest.approx(literal_ece(logits, labels), abs=1e-9)
    assert sum(one.count for one in found.bins) == found.count == len(rows)
    expected = sum(-math.log(softmax(row, 1.0)[label]) for row, label in zip(logits, labels, strict=True)) / len(rows)
    assert found.nll == pytest.approx(expected)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(true: float) -> None:
    generator = np.random.default_rng(7)
    logits = generator.normal(0, 3, (6000, 4)).astype(np.float32)
    probabilities = np.array([softmax(row, true) for row in logits.tolist()])
    labels = np.array([generator.choice(4, p=row / row.sum()) for row in probabilities])
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.08)
    grid = np.exp(np.linspace(-2, 2, 161))
    best = min(negative_log_likelihood(logits, labels, float(one)) for one in grid)
    assert negative_log_likelihood(logits, labels, found) <= best + 1e-9
    scaled = calibrate(logits, labels, found)
    assert expected_error(scaled.bins_scaled) == scaled.ece_scaled < 0.03


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    return make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder)


def test_a_run_is_evaluated_with_its_calibration(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = ("cdr-chemical", "cdr-similarity", "evidence-inference")
    chosen = [word for task in tasks for word in ("--task", task)]
    assert cli.main(["evaluate", str(run.path), *chosen, "--json"]) == EXIT_FINISHED
    found = json.loads(capsys.readouterr().out)
    model = trained.load_run(run)
    for task in tasks:
        examples = list(catalogue.read_examples(TASKS[task], "dev", None))
        outcomes = list(Predictor(model, model.chosen([task])).predict(examples))
        expected = judge.score(TASKS[task], "dev", [outcome[task] for outcome in outcomes], None)
        assert found[task]["values"] == pytest.approx(expected.values, abs=1e-6)
        assert ("temperature" in found[task]) == (task != "cdr-similarity")
    inference = found["evidence-inference"]
    assert inference["nll_scaled"] < inference["nll"]
    assert inference["count"] == len(list(catalogue.read_examples(TASKS["evidence-inference"], "dev", None)))
    folder = run.path / "reports" / "calibration"
    assert sorted(path.name for path in folder.iterdir()) == [
        "dev.cdr-chemical.json",
        "dev.cdr-chemical.png",
        "dev.cdr-similarity.json",
        "dev.evidence-inference.json",
        "dev.evidence-inference.png",
    ]
    for task in tasks:
        low, high = found[task]["interval"]
        assert -1 <= low < found[task]["values"]["score"] < high <= 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "dev.cdr-chemical.png").read_bytes().startswith(b"\x89PNG")
    assert looks.read(run.path.parent) == [], "dev is no look at test"


def test_a_look_at_test_is_written_down_before(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.append_event("best", 4, 3, {"best/epoch": 3.0})
    read = catalogue.read_examples

    def watching(task: object, split: str, data_root: object) -> object:
        assert split != "test" or looks.read(run.path.parent), "read before the look was written down"
        return read(task, split, data_root)  # type: ignore[arg-type]

    monkeypatch.setattr(catalogue, "read_examples", watching)
    command = ["evaluate", str(run.path), "--task", "evidence-inference", "--split", "test"]
    assert cli.main(command) == EXIT_FINISHED
    (look,) = looks.read(run.path.parent)
    gold = files_hash(catalogue.corpus_files(TASKS["evidence-inference"], "test", None))
    assert look == looks.Look(run.record.name, run.record.id, "evidence-inference", 3, gold, "clean")
    shown = capsys.readouterr().out
    assert "evidence-inference  accuracy" in shown
    # The temperature is that of dev, whichever split is looked at.
    reports = [
        json.loads((run.path / "reports" / "calibration" / f"{split}.evidence-inference.json").read_text())
        for split in ("dev", "test")
    ]
    assert reports[0]["temperature"] == reports[1]["temperature"]
    assert reports[0]["count"] != reports[1]["count"]
