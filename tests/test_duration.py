"""The estimate of a run's time, held against a run whose time is known."""

from __future__ import annotations

import dataclasses

import pytest
from transformers import BertConfig

from mtscale.durations import duration_text
from mtscale.training import duration
from mtscale.training.duration import Work
from mtscale.training.estimate import size_of

# The sample recipe with 4 epochs, as its dry run counts it.
SAMPLE = Work(trained=4 * 223_017, predicted=4 * 54_886 + 98_370, steps=612, mean_length=45.6)
MINILM = BertConfig(
    vocab_size=30_522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
)


def seconds(work: Work, ranks: int = 1) -> float:
    return duration.seconds(work, MINILM, size_of(MINILM), "autocast-bf16", "cpu", ranks)


def test_the_sample_is_estimated_within_a_factor_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    # It took 3 min 23 s on a processor with bf16; another of that kind was measured at 1,000 GFLOP/s.
    monkeypatch.setattr(duration, "matmul_speed", lambda *_: 1e12)
    assert 203 / 2 < seconds(SAMPLE) < 203 * 2


def test_more_work_takes_longer_and_ranks_on_one_cpu_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "matmul_speed", lambda *_: 1e11)
    once = seconds(SAMPLE) - duration.START_SECONDS
    twice = dataclasses.replace(
        SAMPLE, trained=2 * SAMPLE.trained, predicted=2 * SAMPLE.predicted, steps=2 * SAMPLE.steps
    )
    assert seconds(twice) - duration.START_SECONDS == pytest.approx(2 * once)
    assert seconds(SAMPLE, ranks=2) == seconds(SAMPLE)
    monkeypatch.setattr(duration, "matmul_speed", lambda *_: 1e10)
    assert seconds(SAMPLE) > 4 * once


def test_affinities_are_work_too() -> None:
    work = Work(trained=10_000.0, predicted=500.0, steps=205, mean_length=10.0)
    found = duration.affinity_work(work, every=50, tasks=3, batch_size=8)
    # Four samples of three mini-batches of 8 rows, on each the losses after a step on each of two others.
    assert (found.trained, found.predicted, found.steps) == (4 * 3 * 80, 4 * 3 * 80 * 2, 0)
    for none in (duration.affinity_work(work, None, 3, 8), duration.affinity_work(work, 50, 1, 8)):
        assert none.trained == none.predicted == 0


def test_the_layers_are_what_is_multiplied() -> None:
    size = size_of(MINILM)
    weights = 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert weights < size.in_layers < 1.01 * weights
    assert size.parameters > 2 * size.in_layers


def test_the_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "MEASURE_SECONDS", 0.01)
    assert 1e8 < duration.matmul_speed("fp32", 32, "cpu") < 1e15


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (180_000, "2.1 days")],
)
def test_times_in_words(value: float, text: str) -> None:
    assert duration_text(value) == text
