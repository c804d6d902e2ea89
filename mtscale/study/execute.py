"""Train the units of a study: several at once, each once, in workers that pay for their start once.

A unit that fails ends alone: the others go on, and the next `study run` tries it again. A worker is a process of its
own (``worker``); if it dies, its unit has failed and another takes its place. Workers end by themselves, with a
checkpoint, when this process is gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from mtscale.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_REFUSED, EXIT_STOPPED
from mtscale.study.plan import Plan, Unit
from mtscale.study.store import Outcome, StudyFolder
from mtscale.study.worker import ANSWER

logger = logging.getLogger(__name__)

# What is left of a study that was killed ends by itself within this time.
LEFT_BEHIND_SECONDS = 45.0
LOOK_EVERY_SECONDS = 0.5

Told = Callable[[Unit, Outcome], None]


class Slot:
    """A place for a worker: some of the cores, or one GPU."""

    def __init__(self, number: int, log: Path, *, cores: Sequence[int] = (), gpu: str | None = None) -> None:
        self._log, self._cores, self._gpu = log / f"worker-{number}.log", frozenset(cores), gpu
        self._process: subprocess.Popen[str] | None = None

    def train(self, words: Sequence[str]) -> tuple[int, str]:
        """Train a unit; the exit code, and what went wrong."""
        process = self._process if self._process and self._process.poll() is None else self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(list(words)) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(ANSWER):
                    code, message = json.loads(line.removeprefix(ANSWER))
                    if code == EXIT_FAILED:
                        self.close()  # it ends by itself after a failure
                    return code, message
        except OSError:
            pass
        process.wait()
        return EXIT_FAILED, f"its worker died with exit code {process.returncode}; see {self._log}"

    def _start(self) -> subprocess.Popen[str]:
        self.close()
        environment = dict(os.environ)
        if self._gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpu
        with open(self._log, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            # A session of its own: a Ctrl-C reaches it through this process, once.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mtscale.study.worker"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        if self._cores:
            os.sched_setaffinity(self._process.pid, self._cores)
        return self._process

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to the worker."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def close(self) -> None:
        """Let the worker end."""
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
            self._process.wait()
            self._process = None


def slots(gpus: int, workers: int | None, log: Path) -> list[Slot]:
    """A place for each GPU; without one, the cores divided among as many workers, by default one a core."""
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        return [Slot(number, log, gpu=gpu) for number, gpu in enumerate(visible[: workers or gpus], start=1)]
    cores = sorted(os.sched_getaffinity(0))
    count = min(workers or len(cores), len(cores))
    shares = [cores[first::count] for first in range(count)]
    return [Slot(number, log, cores=share) for number, share in enumerate(shares, start=1)]


class Execution:
    """One `study run`: hands the units to the slots."""

    def __init__(
        self,
        folder: StudyFolder,
        plan: Plan,
        units: Sequence[Unit],
        places: Sequence[Slot],
        words: Sequence[str],
        told: Told,
    ) -> None:
        """``units`` are those of the plan to train, ``words`` the options all share; ``told`` hears of each end."""
        self._folder, self._places, self._words, self._told = folder, places, tuple(words), told
        self._units: Mapping[str, Unit] = {unit.name: unit for unit in plan.units}
        self._left = [unit for unit in units if folder.state_of(unit) != "finished"]
        self._busy: set[str] = set()
        self._failed: dict[str, str] = {}
        self._changed = threading.Condition()
        self._asked = 0

    def run(self) -> int:
        """Train all that is left; the exit code."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        threads = [threading.Thread(target=self._serve, args=(place,)) for place in self._places]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(LOOK_EVERY_SECONDS)  # signals are handled between two looks
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._asked:
            return EXIT_STOPPED
        return EXIT_FAILED if self._failed else EXIT_FINISHED

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """The first asks the workers for a checkpoint at their next step, the second ends them at once."""
        self._asked += 1
        if self._asked == 1:
            logger.info("asked to stop: each worker ends at its next step with a checkpoint (again to end at once)")
        for place in self._places:
            place.stop(signal.SIGTERM if self._asked == 1 else signal.SIGKILL)

    def _serve(self, place: Slot) -> None:
        try:
            while (unit := self._next()) is not None:
                outcome = self._train(place, unit)
                with self._changed:
                    self._busy.discard(unit.name)
                    if outcome.code != EXIT_FINISHED:
                        self._failed[unit.name] = outcome.message
                    self._folder.add(outcome)
                    self._told(unit, outcome)
                    self._changed.notify_all()
        finally:
            place.close()

    def _next(self) -> Unit | None:
        """The first unit that can be trained now; waits while others may make one possible."""
        with self._changed:
            while self._left and not self._asked:
                for unit in self._left:
                    if all(self._is_made(name) for name in unit.needs):
                        self._left.remove(unit)
                        self._busy.add(unit.name)
                        return unit
                self._give_up_on_orphans()
                self._changed.wait(LOOK_EVERY_SECONDS)
            return None

    def _is_made(self, name: str) -> bool:
        return self._folder.state_of(self._units[name]) == "finished"

    def _give_up_on_orphans(self) -> None:
        """Units whose encoder could not be made, or that nobody makes here: one unit was asked for by itself."""
        for unit in list(self._left):
            coming = self._busy.union(other.name for other in self._left)
            missing = [name for name in unit.needs if name not in coming and not self._is_made(name)]
            if missing:
                self._left.remove(unit)
                how = "failed" if missing[0] in self._failed else "is not finished: train it first"
                outcome = Outcome(unit.name, EXIT_REFUSED, f"not started: it needs {missing[0]}, which {how}", 0.0)
                self._failed[unit.name] = outcome.message
                self._folder.add(outcome)
                self._told(unit, outcome)

    def _train(self, place: Slot, unit: Unit) -> Outcome:
        began = time.monotonic()
        while self._folder.state_of(unit) == "running" and time.monotonic() - began < LEFT_BEHIND_SECONDS:
            time.sleep(LOOK_EVERY_SECONDS)
        code, message = EXIT_FINISHED, ""
        # What was left behind may have come to its end before it saw that it was.
        if self._folder.state_of(unit) != "finished":
            words = [
                "--recipe",
                str(self._folder.recipe_of(unit)),
                "--seed",
                str(unit.seed),
                "--run",
                unit.name,
                "--beside",
                str(unit.beside),
            ]
            code, message = place.train([*words, "--runs", str(self._folder.runs), *self._words])
        if code == EXIT_FINISHED:
            _drop_states(self._folder.runs, unit)
        return Outcome(unit.name, code, message, round(time.monotonic() - began, 1))


def _drop_states(runs: Path, unit: Unit) -> None:
    """Remove what only a resume would need; the kept weights stay."""
    for name in unit.runs:
        for state in (runs / name / "checkpoints").glob("step-*"):
            shutil.rmtree(state, ignore_errors=True)
