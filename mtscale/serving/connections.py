"""Connections to the server: one on which no request has come whole in time is closed.

uvicorn waits for ever for the head of a first request. Without this, whoever opens connections and says nothing, or
sends a head a byte at a time, would in the end hold all that the system gives, before a token is asked for.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


def timed(seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with so many seconds for the head of a request; its body is ``guard``'s concern."""

    class Timed(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._forget()

        def _watch(self) -> None:
            if self._is_asked():
                self._forget()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(seconds, self._end)

        def _is_asked(self) -> bool:
            return bool(self.cycle) and not self.cycle.response_complete

        def _forget(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _end(self) -> None:
            self._deadline = None
            if not self._is_asked():
                self.transport.close()

    return Timed
