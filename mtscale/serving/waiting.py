"""Requests that wait, and the one thread that answers them: what waits together goes through the model together.

A request is accepted whole or refused at once; accepted ones are answered in the order in which they came, each with
what its own units got. A batch takes what waits, up to a number of characters, so that its memory is bounded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class FullError(Exception):
    """As much waits as may."""


class ClosedError(Exception):
    """No request is accepted any more."""


class LateError(Exception):
    """A request waited beyond its time and was not begun."""


@dataclass(frozen=True)
class _Request(Generic[Item, Answer]):
    items: Sequence[Item]
    characters: int
    deadline: float
    future: Future[list[Answer]] = field(default_factory=Future)


class Waiting(Generic[Item, Answer]):
    """``answer`` gives one answer for each of its items, in order; a thread of this object alone calls it.

    At most ``requests`` requests of ``characters`` characters wait; a batch has at most ``batch`` characters, unless a
    single request has more. ``met`` is told how many requests each batch had.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Item]], Sequence[Answer]],
        *,
        requests: int,
        characters: int,
        batch: int,
        met: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._answer = answer
        self._most_requests, self._most_characters, self._batch = requests, characters, batch
        self._met = met
        self._waiting: deque[_Request[Item, Answer]] = deque()
        self._characters = 0
        self._open = True
        self._changed = threading.Condition()
        # A daemon: whoever ends the process at once need not wait for a batch.
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def open(self) -> bool:
        """Whether requests are accepted, and answered: a thread that has died answers none."""
        return self._open and self._thread.is_alive()

    def submit(self, items: Sequence[Item], characters: int, seconds: float) -> Future[list[Answer]]:
        """Accept a request that has to be begun within ``seconds``; its future has the answers, or LateError.

        Raises:
            FullError: too much waits. A request too long for the limit is accepted where nothing waits.
            ClosedError: ``close`` was called.
        """
        request: _Request[Item, Answer] = _Request(tuple(items), characters, time.monotonic() + seconds)
        with self._changed:
            if not self.open:
                raise ClosedError
            too_long = self._waiting and self._characters + characters > self._most_characters
            if len(self._waiting) >= self._most_requests or too_long:
                raise FullError
            self._waiting.append(request)
            self._characters += characters
            self._changed.notify()
        return request.future

    def close(self, seconds: float) -> bool:
        """Accept no more, answer what waits, for at most ``seconds``. Whether all was answered."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while batch := self._next():
            self._met(len(batch))
            self._answer_together(batch)

    def _next(self) -> list[_Request[Item, Answer]]:
        """The next batch, once there is one; empty at the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or not self._open)
                if not self._waiting:
                    return []
                drawn = self._draw()
            batch = [request for request in drawn if self._begin(request)]
            if batch:
                return batch

    def _draw(self) -> list[_Request[Item, Answer]]:
        drawn = [self._waiting.popleft()]
        characters = drawn[0].characters
        while self._waiting and characters + self._waiting[0].characters <= self._batch:
            drawn.append(self._waiting.popleft())
            characters += drawn[-1].characters
        self._characters -= characters
        return drawn

    @staticmethod
    def _begin(request: _Request[Item, Answer]) -> bool:
        """Whether a request is still to be answered: its client may have gone, or its time is over."""
        if not request.future.set_running_or_notify_cancel():
            return False
        if time.monotonic() > request.deadline:
            request.future.set_exception(LateError())
            return False
        return True

    def _answer_together(self, batch: Sequence[_Request[Item, Answer]]) -> None:
        try:
            answers = list(self._answer([item for request in batch for item in request.items]))
        except Exception as error:
            if len(batch) == 1:
                # The message may hold text of the request: its kind alone is told.
                logger.error("a request could not be answered: %s", type(error).__name__)
                batch[0].future.set_exception(error)
                return
            # One of them is the cause; the others must not suffer for it.
            for request in batch:
                self._answer_together([request])
            return
        begin = 0
        for request in batch:
            end = begin + len(request.items)
            with suppress(Exception):
                request.future.set_result(answers[begin:end])
            begin = end
