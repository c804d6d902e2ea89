"""Requests that wait: order, batches, limits, deadlines, the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.serving.waiting import ClosedError, FullError, LateError, Waiting

SECONDS = 20.0


class Model:
    """Answers with the doubles of its items, once ``go`` is set; ``begun`` is set at its first batch."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.begun.set()
        assert self.go.wait(SECONDS)
        if -1 in items:
            raise ValueError("patient 7 had a fever")
        return [2 * item for item in items]


def held(model: Model, *, requests: int = 100, characters: int = 1000, batch: int = 100) -> Waiting[int, int]:
    """A queue whose model is busy with a first request until it may go on."""
    waiting = Waiting(model, requests=requests, characters=characters, batch=batch)
    waiting.submit([0], 1, SECONDS)
    assert model.begun.wait(SECONDS)
    return waiting


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=5), max_size=20), st.integers(1, 12))
def test_every_request_gets_its_own_answers_in_batches_of_bounded_size(asked: list[list[int]], batch: int) -> None:
    model = Model()
    waiting = held(model, batch=batch)
    futures = [waiting.submit(items, len(items), SECONDS) for items in asked]
    model.go.set()
    assert [future.result(SECONDS) for future in futures] == [[2 * item for item in items] for items in asked]
    assert waiting.close(SECONDS)
    assert [item for done in model.batches[1:] for item in done] == [item for items in asked for item in items]
    longest = max(map(len, asked), default=0)
    assert all(len(done) <= max(batch, longest) for done in model.batches)


def test_what_waits_together_is_answered_together() -> None:
    model = Model()
    sizes: list[int] = []
    waiting = Waiting(model, requests=100, characters=1000, batch=100, met=sizes.append)
    waiting.submit([0], 1, SECONDS)
    assert model.begun.wait(SECONDS)
    futures = [waiting.submit([number], 1, SECONDS) for number in range(10)]
    assert len(waiting) == 10
    model.go.set()
    assert [future.result(SECONDS) for future in futures] == [[2 * number] for number in range(10)]
    assert (len(model.batches), sizes) == (2, [1, 10])
    assert waiting.close(SECONDS)


def test_no_more_waits_than_may() -> None:
    model = Model()
    waiting = held(model, requests=2, characters=50)
    waiting.submit([1], 60, SECONDS)  # too long for the limit, but nothing waits
    with pytest.raises(FullError):
        waiting.submit([2], 1, SECONDS)
    model.go.set()
    assert waiting.close(SECONDS)
    model = Model()
    waiting = held(model, requests=2)
    kept = [waiting.submit([number], 1, SECONDS) for number in (1, 2)]
    with pytest.raises(FullError):
        waiting.submit([3], 1, SECONDS)
    model.go.set()
    assert [future.result(SECONDS) for future in kept] == [[2], [4]]
    assert waiting.close(SECONDS)


def test_a_request_that_waited_too_long_is_not_begun() -> None:
    model = Model()
    waiting = held(model)
    late, kept = waiting.submit([1], 1, -1.0), waiting.submit([2], 1, SECONDS)
    gone: Future[list[int]] = waiting.submit([3], 1, SECONDS)
    assert gone.cancel()
    model.go.set()
    assert kept.result(SECONDS) == [4]
    with pytest.raises(LateError):
        late.result(SECONDS)
    assert waiting.close(SECONDS)
    assert model.batches == [[0], [2]]


def test_a_request_that_fails_harms_no_other_and_its_message_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    model = Model()
    waiting = held(model)
    first, bad, last = (waiting.submit([number], 1, SECONDS) for number in (1, -1, 2))
    model.go.set()
    assert (first.result(SECONDS), last.result(SECONDS)) == ([2], [4])
    with pytest.raises(ValueError, match="fever"):
        bad.result(SECONDS)
    assert waiting.open
    assert waiting.close(SECONDS)
    assert "ValueError" in caplog.text
    assert "fever" not in caplog.text


def test_at_the_end_what_was_accepted_is_answered_and_nothing_more_is() -> None:
    model = Model()
    waiting = held(model)
    accepted = waiting.submit([5], 1, SECONDS)
    assert not waiting.close(0.01), "the model is busy"
    with pytest.raises(ClosedError):
        waiting.submit([6], 1, SECONDS)
    model.go.set()
    assert accepted.result(SECONDS) == [10]
    assert waiting.close(SECONDS)
    assert not waiting.open
