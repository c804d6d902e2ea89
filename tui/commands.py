"""``mtscale`` commands run for the app, in processes of their own: what they load never enters the app.

For worker threads. They look often whether they are still wanted, because a thread cannot be interrupted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOOK_EVERY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended. ``errors`` is what it said on standard error."""

    code: int
    output: str
    errors: str

    @property
    def succeeded(self) -> bool:
        """Whether it did what was asked."""
        return self.code == 0


def run(words: Sequence[str], is_wanted: Callable[[], bool], *, keep: bool = False) -> Done | None:
    """Run ``mtscale WORDS``; None if it was no longer wanted, and it is then killed unless it is to be kept."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            # In a session of its own: a Ctrl-C or a hang-up is for the app, not for what it has begun.
            child = subprocess.Popen(
                [sys.executable, "-m", "mtscale.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            return Done(1, "", f"cannot start mtscale: {error.strerror}")
        while True:
            try:
                code = child.wait(LOOK_EVERY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if is_wanted():
                    continue
                if not keep:
                    child.kill()
                # Somebody has to take its exit code; nobody has to wait for that.
                threading.Thread(target=child.wait, daemon=True).start()
                return None
        output.seek(0)
        errors.seek(0)
        decoded = [stream.read().decode("utf-8", errors="replace") for stream in (output, errors)]
    return Done(code, *decoded)
