"""Where the ranks of one host meet: at a private file, whose place rank 0 tells the others.

Torch's own store on a port asks for the name of each that connects, and so asks a name server, off this host, about an
address of its own.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time

from mtscale.errors import ConfigError

_HERE = "127.0.0.1"
_SECONDS = 600.0
_LINE_SECONDS = 10.0


def meeting_file(rank: int, world_size: int, port: int) -> str:
    """The file of this start, the same one for all ranks; removed by the last one that leaves.

    Raises:
        ConfigError: a rank did not come within ten minutes, or the port is taken.
    """
    until = time.monotonic() + _SECONDS
    if rank:
        return _ask(rank, port, until)
    handle, path = tempfile.mkstemp(prefix="mtscale-ranks-")
    os.close(handle)
    if world_size > 1:
        try:
            _tell(path, set(range(1, world_size)), port, until)
        except BaseException:
            os.unlink(path)
            raise
    return path


def _tell(path: str, missing: set[int], port: int, until: float) -> None:
    try:
        server = socket.create_server((_HERE, port))
    except OSError as error:
        raise ConfigError(f"port {port} of this host, where the ranks meet: {error.strerror}; give another") from None
    with server:
        while missing:
            server.settimeout(max(0.0, until - time.monotonic()))
            try:
                peer, _ = server.accept()
            except (TimeoutError, BlockingIOError):
                raise ConfigError(f"of the ranks of this host {sorted(missing)} did not come") from None
            with peer:
                peer.settimeout(_LINE_SECONDS)
                try:
                    rank = int(_line(peer))
                    peer.sendall(f"{path}\n".encode())
                except (OSError, ValueError):  # no rank, or one that tries again
                    continue
                missing.discard(rank)


def _ask(rank: int, port: int, until: float) -> str:
    while time.monotonic() < until:
        try:
            with socket.create_connection((_HERE, port), _LINE_SECONDS) as peer:
                peer.sendall(f"{rank}\n".encode())
                if path := _line(peer):
                    return path
        except OSError:  # rank 0 is not there yet
            pass
        time.sleep(0.1)
    raise ConfigError("rank 0 of this host did not come")


def _line(peer: socket.socket) -> str:
    with peer.makefile(encoding="utf-8") as stream:
        return stream.readline(4096).rstrip("\n")
