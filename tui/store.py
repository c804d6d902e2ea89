"""What the terminal app shows, read from the run directories; no widgets here.

Run directories may be half written, broken, or vanish while they are read: none of that may stop the app.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mtscale import names
from mtscale.run_summary import RunSummary, history, summarize
from mtscale.runs import LIVE, RunDirectory

LOG_BYTES = 64 * 1024
LOG_LINES = 200

_TERMINAL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_WATCHED_FILES = ("run.json", "status.json", "events.jsonl")

Signature = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The runs, newest first. ``problem`` says what could not be read, and is mostly empty."""

    runs: tuple[RunSummary, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run. ``dev`` has each task's dev scores in the order of the epochs, ``log`` the last lines of its log."""

    summary: RunSummary
    dev: Mapping[str, tuple[float, ...]]
    log: tuple[str, ...]


def plain(text: str) -> str:
    """A text without anything that could steer the terminal: no escape sequences, no control characters."""
    return "".join(character for character in _TERMINAL_SEQUENCE.sub("", text).expandtabs(4) if character.isprintable())


def log_tail(path: Path) -> tuple[str, ...]:
    """The last lines of a log, each as it stood after its last carriage return; empty if there is none."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - LOG_BYTES))
            lines = stream.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ()
    if size > LOG_BYTES:
        lines = lines[1:]
    shown = [plain(line.rstrip("\r").rpartition("\r")[2]) for line in lines]
    if shown and not shown[-1]:
        shown.pop()
    return tuple(shown[-LOG_LINES:])


class RunStore:
    """Reads the runs directly under a folder; what has not changed on disk is not read again. For one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._summaries: dict[Path, tuple[Signature, RunSummary]] = {}
        self._dev: tuple[Path, Signature, Mapping[str, tuple[float, ...]]] | None = None

    def snapshot(self) -> Snapshot:
        """All runs as they are now."""
        try:
            paths = [Path(entry) for entry in os.scandir(self._root) if not entry.name.startswith(".")]
        except FileNotFoundError:
            return Snapshot((), "")
        except OSError as error:
            return Snapshot((), f"cannot read {self._root}: {error.strerror}")
        known = self._summaries
        self._summaries = {}
        unreadable = 0
        for path in paths:
            signature = _signature(path)
            if signature[0] == _MISSING:
                continue
            try:
                self._summaries[path] = (signature, self._summary(path, signature, known.get(path)))
            # Whatever stands in a damaged file, the other runs must be shown.
            except Exception:
                unreadable += path.exists()
        runs = sorted((summary for _, summary in self._summaries.values()), key=_created, reverse=True)
        return Snapshot(tuple(runs), f"{unreadable} unreadable" if unreadable else "")

    def detail(self, path: Path) -> RunDetail | None:
        """One of the runs of the last snapshot; None if it is not among them."""
        if path not in self._summaries:
            return None
        signature, summary = self._summaries[path]
        if self._dev is None or self._dev[:2] != (path, signature):
            self._dev = (path, signature, _dev_scores(path, summary))
        return RunDetail(summary, self._dev[2], log_tail(path / "train.log"))

    def _summary(self, path: Path, signature: Signature, known: tuple[Signature, RunSummary] | None) -> RunSummary:
        run = RunDirectory(path)
        if known is None or known[0] != signature:
            return summarize(run)
        summary = known[1]
        if summary["state"] in LIVE:
            # A process may be gone, or silent, without any file having changed.
            summary = summary.copy()
            summary["state"] = run.state().value
        return summary


_MISSING = (0, -1)


def _signature(path: Path) -> Signature:
    """Time and size of the files that a summary is made of."""

    def one(name: str) -> tuple[int, int]:
        try:
            stat = os.stat(path / name)
        except OSError:
            return _MISSING
        return stat.st_mtime_ns, stat.st_size

    return tuple(one(name) for name in _WATCHED_FILES)


def _dev_scores(path: Path, summary: RunSummary) -> Mapping[str, tuple[float, ...]]:
    series = history(RunDirectory(path).events())
    return {
        task: tuple(point["value"] for point in series.get(names.metric("dev", task, names.SCORE), []))
        for task in summary["tasks"]
    }


def _created(summary: RunSummary) -> float:
    return summary["created"]
