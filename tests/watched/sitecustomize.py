"""Python loads this by itself where its folder is on PYTHONPATH: addresses that a process tries go into ``WATCHED``."""

from __future__ import annotations

import json
import os
import sys

_NAMES = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}


def _watch(path: str) -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in _NAMES:
            line = json.dumps([event, arguments[_NAMES[event]], sys.orig_argv[:6]], default=str) + "\n"
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(handle, line.encode())
            os.close(handle)

    sys.addaudithook(hook)


if "WATCHED" in os.environ:
    _watch(os.environ["WATCHED"])
