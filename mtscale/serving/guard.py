"""What a request has to pass before anything reads it: the host it names, its token, its size, and the time it takes.

Nothing of a request is logged but its method, the route if there is one, the status and the time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from mtscale.serving.meters import Meters

logger = logging.getLogger(__name__)

ROUTES = frozenset({"/", "/docs", "/health", "/metrics", "/openapi.json", "/predict"})
# Without a token a page of elsewhere, whose name is made to lead here, could ask in a user's browser.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Limits:
    """``max_bytes`` and ``max_inputs`` of a request; ``seconds`` it may take; ``waiting`` requests in the queue."""

    max_bytes: int = 1_000_000
    max_inputs: int = 256
    seconds: float = 30.0
    waiting: int = 64


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class Guard:
    """An ASGI application in front of ``app``. Without ``token`` only requests that name this machine pass."""

    def __init__(self, app: App, limits: Limits, meters: Meters, token: str | None) -> None:
        self._app, self._limits, self._meters = app, limits, meters
        self._token = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # Answers about texts belong into no cache, and a page of ours loads and runs nothing.
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
                ]
            await send(message)

        try:
            self._check_head(scope)
            body = await self._body(scope, receive)
            await self._app(scope, _replay(body, receive), watched)
        except _RefusedError as refused:
            await _answer(watched, refused)
        except Exception as error:
            # An answer has gone out by now. The message may hold text: the kind alone is told.
            logger.error("a request could not be answered: %s", type(error).__name__)
        finally:
            route = scope["path"] if scope["path"] in ROUTES else "other"
            seconds = time.monotonic() - began
            self._meters.request(route, status, seconds)
            method = scope["method"] if scope["method"] in {"GET", "POST", "HEAD"} else "other"
            logger.info("%s %s %d %.0f ms", method, route, status, 1000 * seconds)

    def _check_head(self, scope: Message) -> None:
        headers = dict(scope["headers"])
        if self._token is None:
            host = headers.get(b"host", b"").decode("latin-1").lower()
            name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
            if name not in LOOPBACK_NAMES:
                raise _RefusedError(421, "expected the host localhost, 127.0.0.1 or [::1], found another")
            return
        if scope["path"] == "/health":
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Digests have one length, so that the time tells nothing of the token.
        if kind.lower() != b"bearer" or not hmac.compare_digest(_digest(given.strip()), self._token):
            raise _RefusedError(
                401, "expected the header Authorization: Bearer TOKEN", (b"www-authenticate", b"Bearer")
            )

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        most = self._limits.max_bytes
        too_large = _RefusedError(413, f"expected at most {most} bytes in a request; send fewer inputs at once")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _RefusedError(400, "the connection ended before the request did")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            seconds = self._limits.seconds
            raise _RefusedError(
                408, f"expected the whole request within {seconds:g} s", (b"connection", b"close")
            ) from None


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _replay(body: bytes, receive: Receive) -> Receive:
    """What was read already, and then what comes: the end of the connection."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, refused: _RefusedError) -> None:
    body = json.dumps({"detail": refused.message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *refused.headers]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
