from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.inputs.schedule import WINDOW, IntColumn, Schedule

Batches = Literal["recomposed", "fixed"]
Order = Literal["by_length", "random"]

SIZES = {"sts": 37, "ner": 200, "nli": 64}


def lengths_of(sizes: dict[str, int]) -> dict[str, IntColumn]:
    generator = np.random.default_rng(5)
    return {task: generator.integers(3, 129, size=size, dtype=np.int32) for task, size in sizes.items()}


def content(schedule: Schedule, epoch: int) -> list[tuple[str, tuple[int, ...]]]:
    """An epoch as plain data, in its order."""
    return [(batch.task, tuple(batch.rows.tolist())) for batch in schedule.epoch(epoch)]


BOTH_COMPOSITIONS = pytest.mark.parametrize("batches", ["recomposed", "fixed"])
BOTH_ORDERS = pytest.mark.parametrize("order", ["by_length", "random"])


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 120), min_size=1),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(1, 5),
    batches=st.sampled_from(["recomposed", "fixed"]),
    order=st.sampled_from(["by_length", "random"]),
)
def test_an_epoch_has_every_row_of_every_task_exactly_once(
    sizes: dict[str, int], batch_size: int, seed: int, epoch: int, batches: Batches, order: Order
) -> None:
    schedule = Schedule(lengths_of(sizes), batch_size, seed, batches, order)

    planned = schedule.epoch(epoch)

    rows = sorted((batch.task, row) for batch in planned for row in batch.rows.tolist())
    assert rows == sorted((task, row) for task, size in sizes.items() for row in range(size))
    for task, size in sizes.items():
        found = sorted((len(batch.rows) for batch in planned if batch.task == task), reverse=True)
        assert found == [batch_size] * (size // batch_size) + [size % batch_size] * (size % batch_size > 0)
    assert len(planned) == schedule.steps_per_epoch


@BOTH_COMPOSITIONS
@BOTH_ORDERS
def test_a_schedule_depends_on_seed_and_epoch_alone(batches: Batches, order: Order) -> None:
    def schedule(seed: int) -> Schedule:
        return Schedule(lengths_of(SIZES), 8, seed, batches, order)

    late = schedule(7)
    late.epoch(1)
    assert content(late, 4) == content(schedule(7), 4)
    assert content(schedule(7), 4) != content(schedule(8), 4)
    assert content(schedule(7), 4) != content(schedule(7), 5)


@BOTH_ORDERS
def test_fixed_keeps_the_mini_batches_and_shuffles_their_order(order: Order) -> None:
    schedule = Schedule(lengths_of(SIZES), 8, 3, "fixed", order)
    first, second = content(schedule, 1), content(schedule, 2)
    assert first != second
    assert sorted(first) == sorted(second)


@BOTH_ORDERS
def test_recomposed_makes_the_mini_batches_anew(order: Order) -> None:
    lengths = {"a": np.arange(5 * WINDOW * 4, dtype=np.int32)}
    schedule = Schedule(lengths, 4, 3, "recomposed", order)
    first, second = ({frozenset(rows) for _, rows in content(schedule, epoch)} for epoch in (1, 2))
    assert len(first & second) < len(first) / 20


def padding(schedule: Schedule) -> int:
    total = 0
    for batch in schedule.epoch(1):
        lengths = schedule.lengths[batch.task][batch.rows]
        total += int(lengths.max()) * len(lengths) - int(lengths.sum())
    return total


def test_mini_batches_by_length_hold_less_padding() -> None:
    lengths = lengths_of({"a": 3000, "b": 500})
    by_length = padding(Schedule(lengths, 32, 1, order="by_length"))
    at_random = padding(Schedule(lengths, 32, 1, order="random"))
    assert by_length < at_random / 5


def test_rows_are_sorted_within_windows_not_over_the_whole_task() -> None:
    lengths = np.arange(4 * WINDOW * 5, dtype=np.int32)
    ranges = [np.ptp(lengths[batch.rows]) for batch in Schedule({"a": lengths}, 5, 1).epoch(1)]
    # Five neighbours of a sorted task are 4 apart; of a quarter of it, drawn at random, 16; five at random, far more.
    assert 12 < np.mean(ranges) < 20


def test_the_short_mini_batch_is_a_random_draw_not_the_longest_rows() -> None:
    lengths = np.arange(1, 66, dtype=np.int32)
    last = [
        min(Schedule({"a": lengths}, 8, seed).epoch(1), key=lambda batch: len(batch.rows)).rows.tolist()
        for seed in range(300)
    ]
    assert all(len(rows) == 1 for rows in last)
    # The mean of 300 draws from 0..64 is 32 with a standard error of 1.1.
    assert abs(np.mean(last) - 32) < 5


def test_tasks_are_mixed_in_proportion_over_the_epoch() -> None:
    tasks = [task for task, _ in content(Schedule(lengths_of({"a": 640, "b": 320}), 8, 1), 1)]
    changes = sum(one != two for one, two in pairwise(tasks))
    assert changes > 30  # 120 mini-batches, 80 and 40: 53 changes are expected of a random order
    assert 15 < tasks[:60].count("a") + tasks[60:].count("b") < 105
    assert 25 < tasks[:60].count("a") < 55


def test_tasks_of_one_size_are_shuffled_each_in_its_own_way() -> None:
    planned = content(Schedule(lengths_of({"a": 64, "b": 64}), 8, 1, order="random"), 1)
    of_a, of_b = ({rows for task, rows in planned if task == name} for name in ("a", "b"))
    assert not of_a & of_b


@BOTH_COMPOSITIONS
@BOTH_ORDERS
def test_another_task_beside_it_does_not_change_a_tasks_mini_batches(batches: Batches, order: Order) -> None:
    lengths = lengths_of(SIZES)

    def of_ner(tasks: list[str]) -> list[tuple[str, tuple[int, ...]]]:
        chosen = {task: lengths[task] for task in tasks}
        schedule = Schedule(chosen, 8, 3, batches, order)
        return sorted(batch for batch in content(schedule, 2) if batch[0] == "ner")

    assert of_ner(["ner"]) == of_ner(["sts", "ner", "nli"])
