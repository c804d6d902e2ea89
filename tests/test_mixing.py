"""Ways of mixing: their counts against shares worked out by hand, and the streams of mini-batches they draw from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.inputs.mixing import Mixture
from mtscale.inputs.schedule import Schedule
from mtscale.recipe_sections import Mixing

WAYS: tuple[Mixing, ...] = ("proportional", "annealed", "temperature", "uniform", "round_robin")
AVAILABLE = {"large": 810, "middle": 90, "small": 10}


@pytest.mark.parametrize(
    ("mixture", "epoch", "expected"),
    [
        (Mixture("proportional"), 1, {"large": 810, "middle": 90, "small": 10}),
        (Mixture("temperature", temperature=1.0), 1, {"large": 810, "middle": 90, "small": 10}),
        # Square roots 28.46, 9.487, 3.162 of 910 steps: 630.1, 210.0, 70.0 by 41.11.
        (Mixture("temperature", temperature=2.0), 1, {"large": 630, "middle": 210, "small": 70}),
        (Mixture("uniform"), 1, {"large": 304, "middle": 303, "small": 303}),
        (Mixture("annealed", epochs=5), 1, {"large": 810, "middle": 90, "small": 10}),
        # The exponent after two of four intervals is 0.6: 55.60, 14.88, 3.981 of 74.45.
        (Mixture("annealed", epochs=5), 3, {"large": 679, "middle": 182, "small": 49}),
        # 0.2 at the end: 3.817, 2.460, 1.585 of 7.861.
        (Mixture("annealed", epochs=5), 5, {"large": 442, "middle": 285, "small": 183}),
        (Mixture("annealed", epochs=1), 1, {"large": 810, "middle": 90, "small": 10}),
        # 910 = 3 * 303 + 1: the second epoch begins with the second task.
        (Mixture("round_robin"), 1, {"large": 304, "middle": 303, "small": 303}),
        (Mixture("round_robin"), 2, {"large": 303, "middle": 304, "small": 303}),
    ],
)
def test_counts_are_the_expected_shares(mixture: Mixture, epoch: int, expected: dict[str, int]) -> None:
    assert mixture.counts(AVAILABLE, epoch) == expected


SIZES = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1)


@settings(deadline=None, max_examples=80)
@given(
    sizes=SIZES,
    batch_size=st.integers(1, 9),
    caps=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40)),
    mixing=st.sampled_from(WAYS),
    epochs=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_epochs_go_on_in_each_tasks_stream(
    sizes: dict[str, int], batch_size: int, caps: dict[str, int], mixing: Mixing, epochs: int, seed: int
) -> None:
    lengths = {task: np.arange(size, dtype=np.int32) for task, size in sizes.items()}
    schedule = Schedule(lengths, batch_size, seed, mixture=Mixture(mixing, 3.0, epochs), caps=caps)
    available = {task: -(-min(size, caps.get(task, size)) // batch_size) for task, size in sizes.items()}
    assert schedule.steps_per_epoch == sum(available.values())
    seen: dict[str, Counter[int]] = {task: Counter() for task in sizes}
    for epoch in range(1, epochs + 1):
        planned = schedule.epoch(epoch)
        assert len(planned) == schedule.steps_per_epoch
        assert Counter(batch.task for batch in planned) == Counter(schedule.counts(epoch))
        for batch in planned:
            seen[batch.task].update(batch.rows.tolist())
    for task, size in sizes.items():
        times = [seen[task][row] for row in range(size)]
        # Whole mini-batches are taken from whole passes: nothing a second time before all else a first time.
        assert max(times) - min(times) <= 1
        if mixing == "proportional" and task not in caps:
            assert set(times) == {epochs}


def test_round_robin_takes_the_tasks_in_turn() -> None:
    lengths = {task: np.arange(size, dtype=np.int32) for task, size in (("a", 40), ("b", 8), ("c", 4))}
    schedule = Schedule(lengths, 4, 1, mixture=Mixture("round_robin"))
    tasks = [batch.task for epoch in (1, 2, 3) for batch in schedule.epoch(epoch)]
    assert tasks == ["a", "b", "c"] * 13


def test_a_part_of_a_pass_is_a_random_draw_of_its_lengths() -> None:
    lengths = {"a": np.arange(1000, dtype=np.int32), "b": np.arange(10, dtype=np.int32)}
    means = [
        np.mean([lengths["a"][batch.rows].mean() for batch in schedule.epoch(1) if batch.task == "a"])
        for schedule in (Schedule(lengths, 10, seed, caps={"a": 100}) for seed in range(60))
    ]
    # Ten of 100 mini-batches whose means lie between 0 and 999: a standard error of about 90 each, 12 for all 60.
    assert abs(np.mean(means) - 499.5) < 48


def test_a_cap_does_not_hide_rows_for_good() -> None:
    schedule = Schedule({"a": np.arange(100, dtype=np.int32)}, 10, 5, caps={"a": 30})
    rows = [row for epoch in range(1, 11) for batch in schedule.epoch(epoch) for row in batch.rows.tolist()]
    assert Counter(rows) == Counter(list(range(100)) * 3)
