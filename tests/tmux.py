"""A terminal of tmux: what a user types, and what then stands on the screen."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class Terminal:
    """A session of a tmux server of its own, which ends as a terminal does that is closed.

    Keys and the screens that were waited for stand in a file beside its socket, for whoever wants to see them.
    """

    def __init__(self, socket: Path, folder: Path, environment: Mapping[str, str], size: tuple[int, int]) -> None:
        self._socket = socket
        self._record = socket.with_suffix(".screens")
        width, height = (str(number) for number in size)
        command = ["new-session", "-d", "-x", width, "-y", height, "-c", str(folder), "sh"]
        self._tmux("-f", "/dev/null", *command, environment=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _tmux(self, *words: str, environment: Mapping[str, str] | None = None) -> str:
        command = ["tmux", "-S", str(self._socket), *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    def close(self) -> None:
        """Close the terminal, whatever runs in it; a second time does nothing."""
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], capture_output=True, timeout=30, check=False)

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names for them."""
        for key in keys:
            self._note(f"key {key}")
            self._tmux("send-keys", key)
            # What follows an escape at once would be read as one key with it.
            time.sleep(0.3 if key == "Escape" else 0.02)

    def write(self, text: str) -> None:
        """Type a text as it is."""
        self._note(f"text {text}")
        self._tmux("send-keys", "-l", text)

    def _note(self, what: str) -> None:
        with open(self._record, "a", encoding="utf-8") as record:
            record.write(what + "\n")

    def screen(self, *, styled: bool = False) -> str:
        """What stands on the screen; ``styled``: with the escape codes of its styles."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styled else []))

    def until(self, wanted: str | Callable[[str], bool], seconds: float = 60, *, styled: bool = False) -> str:
        """Wait for a pattern, or for a condition, to stand on the screen; the screen then."""
        end = time.monotonic() + seconds
        while True:
            shown = self.screen(styled=styled)
            if re.search(wanted, shown) if isinstance(wanted, str) else wanted(shown):
                self._note(shown)
                return shown
            assert time.monotonic() < end, f"not within {seconds} s: {wanted}\n{shown}"
            time.sleep(0.2)
