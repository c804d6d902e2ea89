"""Runs that MLflow alone knows, for the app: asked of ``mlflow_reader``, which can be killed when it does not answer.

For one thread, but for what it hands out. A store that is locked, missing or broken, or a server that cannot be
reached, is a problem to be told, and is asked again later.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mtscale.event_log import Series
from mtscale.run_summary import RunSummary

from .cells import plain
from .places import mlflow_run
from .settings import Settings, lines_of
from .store import RunDetail, Snapshot

ANSWER_SECONDS = 30.0
LIST_SECONDS = 15.0
# A store with many runs is asked more rarely: what watches must not take the cores from what trains.
_RESTS = 20
_SLICE_SECONDS = 0.1
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What MLflow shows: its runs, those that are open, by their places, and what is the matter with it."""

    runs: tuple[RunSummary, ...] = ()
    details: Mapping[Path, RunDetail] = field(default_factory=dict)
    problem: str = ""

    def beside(self, snapshot: Snapshot) -> Snapshot:
        """The run directories, and the runs that are in none of them."""
        here = {summary["id"] for summary in snapshot.runs}
        others = [summary for summary in self.runs if summary["id"] not in here]
        runs = sorted((*snapshot.runs, *others), key=lambda summary: summary["created"], reverse=True)
        problem = "  ".join(filter(None, (snapshot.problem, self.problem)))
        return replace(snapshot, runs=tuple(runs), problem=problem)


class MlflowStore:
    """The store beside a folder of runs, or that of ``MLFLOW_TRACKING_URI``."""

    def __init__(self, root: Path) -> None:
        given = os.environ.get("MLFLOW_TRACKING_URI")
        self._uri = given or f"sqlite:///{root.resolve()}/mlflow.db"
        self._default = None if given else root / "mlflow.db"
        self._experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "mtscale"
        self._reader: subprocess.Popen[bytes] | None = None
        self._known: dict[str, RunSummary] = {}
        self._problem = ""
        self.due = 0.0
        """When to list the runs again, by ``time.monotonic``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process that reads."""
        if self._reader is not None:
            self._reader.kill()
            for stream in (self._reader.stdin, self._reader.stdout):
                # What could not be handed over any more is lost with the process.
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
            self._reader.wait()
            self._reader = None

    def read(self, snapshot: Snapshot, watched: Sequence[Path], is_wanted: Callable[[], bool]) -> Elsewhere:
        """All runs, listed anew when that is due, and those watched in detail. Ends soon when not wanted any more."""
        problem = self._list(snapshot, is_wanted) if time.monotonic() >= self.due else self._problem
        details = {}
        for place in watched:
            if (run_id := mlflow_run(place)) is None:
                continue
            answer = self._ask({"run": run_id}, is_wanted)
            if "problem" in answer:
                problem = _told(answer)
            else:
                details[place] = _detail(answer)
        return Elsewhere(tuple(self._known.values()), details, problem)

    def _list(self, snapshot: Snapshot, is_wanted: Callable[[], bool]) -> str:
        """Learn what runs there are; what is the matter, if anything."""
        seconds = 0.0
        if self._default is not None and not self._default.exists():
            self._known = {}
            mirrored = any(summary["mlflow_run_id"] for summary in snapshot.runs)
            self._problem = "MLflow: no mlflow.db beside these runs" if mirrored else ""
        else:
            answer = self._ask({"runs": True}, is_wanted)
            self._problem = _told(answer) if "problem" in answer else ""
            seconds = answer.get("seconds", 0.0)
            # Who shows them sees that a run is the same as before.
            found: dict[str, RunSummary] = {summary["dir"]: summary for summary in answer.get("runs", [])}
            if not self._problem:
                self._known = {key: old if (old := self._known.get(key)) == new else new for key, new in found.items()}
        self.due = time.monotonic() + max(LIST_SECONDS, _RESTS * seconds)
        return self._problem

    def _ask(self, question: Mapping[str, object], is_wanted: Callable[[], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            reader = self._reader = self._reader or self._start()
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(json.dumps(question).encode() + b"\n")
            reader.stdin.flush()
            said = b""
            while not said.endswith(b"\n"):
                if select.select([reader.stdout], [], [], _SLICE_SECONDS)[0]:
                    part = os.read(reader.stdout.fileno(), _READ_BYTES)
                    if not part:
                        self.close()
                        return {"problem": "its reader has ended"}
                    said += part
                if not is_wanted() or time.monotonic() > deadline:
                    self.close()
                    return {"problem": f"no answer within {ANSWER_SECONDS:.0f} seconds"}
            answer: dict[str, Any] = json.loads(said)
        except (OSError, ValueError) as error:
            self.close()
            return {"problem": str(error)}
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        # In a session of its own: a Ctrl-C in the terminal is for the app.
        return subprocess.Popen(
            [sys.executable, "-m", "mtscale_tui.mlflow_reader", self._uri, self._experiment],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _told(answer: Mapping[str, Any]) -> str:
    return f"MLflow: {plain(str(answer['problem']))}"


def _detail(answer: Mapping[str, Any]) -> RunDetail:
    summary: RunSummary = answer["summary"]
    series: dict[str, Series] = {}
    for name, points in answer["series"].items():
        series[name] = Series()
        for step, moment, value in points:
            series[name].put(step, 0, moment, value)
    summary["step"] = max((one.steps[-1] for one in series.values() if one), default=0)
    recipe, ds_config = (lines_of(text) for text in answer["settings"])
    log = ("train.log and the files of a run are in its directory alone.", plain(summary["message"]))
    return RunDetail(summary, series, log, Settings(recipe, ds_config), files=(), left=None)
