"""What the terminal app shows, read from the run directories; no widgets here.

Run directories may be half written, broken, or vanish while they are read: none of that may stop the app. With a
thousand of them a first reading takes seconds, so that it can be done in parts: first what runs are, then their scores.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mtscale.event_log import EventLog, Series
from mtscale.run_summary import RunSummary, is_summarized, summarize
from mtscale.runs import LIVE, RunDirectory

from .cells import plain
from .settings import Settings, read_settings

LOG_BYTES = 256 * 1024
LOG_LINES = 5000
KEPT_LOGS = 16
MAX_FILES = 2000

_WATCHED_FILES = ("run.json", "status.json", "events.jsonl")
_MISSING = (0, -1)

Signature = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The runs, newest first.

    ``problem`` says what could not be read, and is mostly empty. ``pending`` runs are shown without their scores, which
    are still to be read. ``left`` has the seconds that runs will still take, by run directory, where that is known.
    """

    runs: tuple[RunSummary, ...]
    problem: str
    pending: int = 0
    left: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run: every recorded series, the last lines of its log, its settings, its files with their sizes."""

    summary: RunSummary
    series: Mapping[str, Series]
    log: tuple[str, ...]
    settings: Settings
    files: tuple[tuple[str, int], ...]
    left: float | None


@dataclass(slots=True)
class _Known:
    """A run as it was last read; ``log`` is kept while the run is live, ``whole`` tells whether scores are in."""

    signature: Signature
    summary: RunSummary
    log: EventLog | None = None
    whole: bool = False


@dataclass(slots=True)
class _Opened:
    """A run of which everything is read, and its series as they were when ``log`` was at ``place``."""

    log: EventLog
    place: tuple[object, int] | None = None
    series: Mapping[str, Series] = field(default_factory=dict)


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
    shown = [plain(line.rstrip("\r").rpartition("\r")[2]) for line in lines[-LOG_LINES - 1 :]]
    if shown and not shown[-1]:
        shown.pop()
    return tuple(shown[-LOG_LINES:])


def list_files(directory: Path) -> tuple[tuple[str, int], ...]:
    """The files of a run directory with their sizes; what is in them is not looked at."""
    found = []
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                found.append((plain(os.path.relpath(path, directory)), os.lstat(path).st_size))
            except OSError:
                continue
            if len(found) == MAX_FILES:
                return tuple(found)
    return tuple(found)


class RunStore:
    """Reads the runs directly under a folder; what has not changed on disk is not read again. For one thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, _Known] = {}
        self._logs: OrderedDict[Path, _Opened] = OrderedDict()
        self._tails: dict[Path, tuple[Signature, tuple[str, ...]]] = {}

    def snapshot(self, seconds: float | None = None) -> Snapshot:
        """All runs as they are now. After so many ``seconds`` of reading the rest is left for the next time."""
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            with os.scandir(self._root) as entries:
                paths = [entry.path for entry in entries if not entry.name.startswith(".")]
        except FileNotFoundError:
            self._known = {}
            return Snapshot((), "")
        except OSError as error:
            return Snapshot((), f"cannot read {self._root}: {error.strerror}")
        signatures = {path: signature for path in paths if (signature := _signature(path))[0] != _MISSING}
        self._known = {path: known for path, known in self._known.items() if path in signatures}
        unreadable, unseen = self._look(signatures, deadline)
        waiting = [path for path, known in self._known.items() if not known.whole]
        # The newest runs come first in the table: theirs are the scores that are looked for.
        waiting.sort(key=lambda path: self._known[path].summary["created"], reverse=True)
        for path in waiting:
            unreadable += not self._read_scores(path, self._known[path])
            if deadline is not None and time.monotonic() >= deadline:
                break
        runs = sorted((known.summary for known in self._known.values()), key=_created, reverse=True)
        pending = unseen + sum(not known.whole for known in self._known.values())
        problem = f"{unreadable} unreadable" if unreadable else ""
        return Snapshot(tuple(runs), problem, pending, dict(self._times_left()))

    def _look(self, signatures: Mapping[str, Signature], deadline: float | None) -> tuple[int, int]:
        """Learn what runs there are and in which state; how many could not be read, and how many were left."""
        unreadable = unseen = 0
        late = False
        for path, signature in signatures.items():
            known = self._known.get(path)
            if known is not None and known.signature == signature:
                if known.summary["state"] in LIVE:
                    # A process may be gone, or silent, without any file having changed.
                    unreadable += not self._look_again(path, known)
            elif late:
                unseen += 1
            else:
                unreadable += not self._look_at(path, signature)
                # Asked after the first, so that a slow disk too is read to the end some time.
                late = deadline is not None and time.monotonic() >= deadline
        return unreadable, unseen

    def _look_at(self, path: str, signature: Signature) -> bool:
        before = self._known.get(path)
        run = RunDirectory(Path(path))
        try:
            if before is not None and before.summary["id"] == run.record.id:
                # Until its new scores are read, a run is shown with those that it had.
                summary = summarize(run, before.log.series if before.log else {})
                if before.log is None:
                    summary["scores"], summary["macro"] = before.summary["scores"], before.summary["macro"]
                self._known[path] = _Known(signature, summary, before.log)
            else:
                self._known[path] = _Known(signature, summarize(run, {}))
        # Whatever stands in a damaged file, the other runs must be shown.
        except Exception:
            self._known.pop(path, None)
            return not os.path.exists(path)
        return True

    def _look_again(self, path: str, known: _Known) -> bool:
        try:
            state = RunDirectory(Path(path)).state().value
        except Exception:
            self._known.pop(path)
            return not os.path.exists(path)
        if state != known.summary["state"]:
            known.summary = known.summary.copy()
            known.summary["state"] = state
        return True

    def _read_scores(self, path: str, known: _Known) -> bool:
        run = RunDirectory(Path(path))
        log = known.log or EventLog(run.path, training=False, wanted=is_summarized)
        try:
            while log.read():
                pass
            known.summary = summarize(run, log.series)
        except Exception:
            self._known.pop(path)
            return not os.path.exists(path)
        known.log = log if known.summary["state"] in LIVE else None
        known.whole = True
        return True

    def _times_left(self) -> Iterator[tuple[str, float]]:
        for known in self._known.values():
            left = _seconds_left(known.summary, known.log) if known.log else None
            if left is not None:
                yield known.summary["dir"], left

    def details(self, paths: Sequence[Path]) -> dict[Path, RunDetail]:
        """Those of these runs that can be read; what was appended since the last time is all that is read."""
        found = {path: self._detail(path) for path in paths}
        while len(self._logs) > max(KEPT_LOGS, len(paths)):
            self._logs.popitem(last=False)
        return {path: detail for path, detail in found.items() if detail is not None}

    def _detail(self, path: Path) -> RunDetail | None:
        opened = self._logs.setdefault(path, _Opened(EventLog(path)))
        self._logs.move_to_end(path)
        log = opened.log
        try:
            while log.read():
                pass
            if opened.place != log.place:
                # Copied once for all readings in which nothing came: who shows them sees that they are the same.
                opened.place, opened.series = log.place, {name: one.copy() for name, one in log.series.items()}
            summary = summarize(RunDirectory(path), opened.series)
        except Exception:
            return None
        return RunDetail(
            summary=summary,
            series=opened.series,
            log=self._tail(path / "train.log"),
            settings=read_settings(path),
            files=list_files(path),
            left=_seconds_left(summary, log),
        )

    def _tail(self, path: Path) -> tuple[str, ...]:
        signature = (_stamp(str(path)),)
        known = self._tails.get(path)
        if known is None or known[0] != signature:
            known = (signature, log_tail(path))
            self._tails = {**dict(list(self._tails.items())[-KEPT_LOGS:]), path: known}
        return known[1]


def _seconds_left(summary: RunSummary, log: EventLog) -> float | None:
    pace = log.seconds_per_step()
    steps = summary["steps"] - summary["step"]
    return pace * steps if pace is not None and pace > 0 and steps > 0 and summary["state"] in LIVE else None


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return _MISSING
    return status.st_mtime_ns, status.st_size


def _signature(path: str) -> Signature:
    """Time and size of the files that a summary is made of."""
    return tuple(_stamp(f"{path}/{name}") for name in _WATCHED_FILES)


def _created(summary: RunSummary) -> float:
    return summary["created"]
