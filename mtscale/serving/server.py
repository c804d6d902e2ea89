"""A socket, a server on it, and its end: what was accepted is answered, and a second signal ends at once."""

from __future__ import annotations

import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn

from mtscale.errors import ConfigError
from mtscale.serving.api import Service, make_app
from mtscale.serving.connections import timed

MIN_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Whether an address, or all that a name stands for, is reached from this machine alone."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def listen(host: str, port: int, token: str | None) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        ConfigError: other machines would reach it and there is no token, the token is short, or the address is taken.
    """
    if token is not None and (len(token) < MIN_TOKEN or not token.isprintable() or not token.isascii()):
        raise ConfigError(f"expected a token of at least {MIN_TOKEN} printable ASCII characters, found another")
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} is not of this machine alone: give --token-file FILE (or MTSCALE_TOKEN), and put a proxy "
            "with TLS before it, since token and texts are sent as they are"
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen at {host} port {port}: {error}; choose another --port") from error


def serve(service: Service, listening: socket.socket, token: str | None, started: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT; ``started`` is told the address."""
    host, port = listening.getsockname()[:2]
    config = uvicorn.Config(
        make_app(service, token),
        log_config=None,  # its lines hold paths and queries
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=round(2 * service.limits.seconds),
        h11_max_incomplete_event_size=16_384,
        http=timed(service.limits.seconds),
        ws="none",
    )
    # uvicorn raises the signals that have ended it once more when all is done; here they have had their effect.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    started(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    uvicorn.Server(config).run(sockets=[listening])
