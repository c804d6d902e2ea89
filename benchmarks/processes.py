"""Processes of their own for what is measured: clean memory, and turns, so that a machine's drift meets all alike.

Loads nothing heavy: what is measured here may be an import.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

# Libraries print too: by this a parent knows an answer of its worker.
ANSWER = "steps done: "
_SECONDS_TO_END = 120
_SHOWN_OF_ERRORS = 2000


class Step(NamedTuple):
    """A training step: its task, its examples, its word pieces without and with padding, and how long it took."""

    task: str
    examples: int
    pieces: int
    padded: int
    seconds: float = 0.0


def run(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """The JSON that is the last line printed by ``python -m MODULE ARGUMENTS``."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        command = [sys.executable, "-m", module, *arguments]
        where = {**os.environ, **(environment or {})}
        done = subprocess.run(command, env=where, stdout=subprocess.PIPE, stderr=errors, text=True)
        if done.returncode:
            raise _failed(command, errors)
    return json.loads(done.stdout.splitlines()[-1])


def _failed(command: Sequence[str], errors: IO[str]) -> RuntimeError:
    errors.seek(0)
    return RuntimeError(f"{' '.join(command)} failed:\n{errors.read()[-_SHOWN_OF_ERRORS:]}")


class Worker:
    """``python -m MODULE ARGUMENTS`` as one that takes steps when it is asked to, see ``turns``, and sleeps between."""

    def __init__(self, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            self._command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def steps(self, count: int) -> list[Step]:
        """The next steps, once they are done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise _failed(self._command, self._errors) from None
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return [Step(*step) for step in json.loads(line.removeprefix(ANSWER))]
        raise _failed(self._command, self._errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Let it end by itself; after an error, end it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if kind is None:
                self._process.stdin.close()
                self._process.wait(_SECONDS_TO_END)
        finally:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout, self._errors):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
