"""Kill runs at random moments, resume them, and compare what they end with: ``python -m tests.kills --count 100``.

Each run is killed up to five times in a row (a rank, a launcher, or the command itself; at least 30 % of the kills
inside a save), resumed each time, and must end as the run that nothing disturbed: the same weights, metrics and
predictions to the last bit, one finished run in MLflow, and no process left behind. Exit code 1 if anything deviates.
"""

from __future__ import annotations

import argparse
import functools
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from mtscale.runs import RunDirectory, State, process_start
from mtscale.training import looks
from mtscale.training.machine import free_port
from tests.kill_moments import ALONE, HALF_AN_EVENT, IN_A_SAVE, RESUMED, TWO, Delayed, Kill, Layout, Night, nights
from tests.lab import ROOT, SECONDS, TASKS, TRAIN, Lab, files, held_at, mlflow_metrics, mlflow_runs, recorded
from tests.tiny_encoder import write_tiny_encoder

K = TypeVar("K")
T = TypeVar("T")

TOKEN = "KILLS_TOKEN"
LEFT_SECONDS = 40.0
# Three epochs, so that states are saved, kept and removed.
SETTINGS = ("--set", "refine.epochs=3")


class DeviationError(Exception):
    """A run is not what it would have been without the kills."""


@dataclass(frozen=True)
class Expected:
    """The run that nothing disturbed, and how long its start-up took."""

    run: RunDirectory
    start_seconds: float


@dataclass
class Tally:
    """What has happened so far, shared by the workers."""

    wanted: int
    began: float = field(default_factory=time.monotonic)
    kills: list[Kill] = field(default_factory=list)
    missed: int = 0
    runs: int = 0
    deviations: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def killed(self, night: Night, kill: Kill, left: str, seconds: float) -> None:
        with self.lock:
            self.kills.append(kill)
            done = len(self.kills)
            to_come = (self.wanted - done) * (time.monotonic() - self.began) / done
            print(
                f"{done:>4}/{self.wanted}  run {night.number:<3} {night.layout.name:<16} {kill.target:<8} {kill!s:<52} "
                f"left: {left}; {seconds:.1f} s, ETA {to_come / 60:.0f} min",
                flush=True,
            )

    def ended(self, night: Night, kills: int, deviation: str) -> None:
        with self.lock:
            self.runs += 1
            if deviation:
                self.deviations.append(deviation)
            verdict = deviation or "equal to the last bit, one finished run in MLflow"
            print(f"           run {night.number:<3} after {kills} kills: {verdict}", flush=True)

    @property
    def is_full(self) -> bool:
        return len(self.kills) >= self.wanted


class Life:
    """The processes of one command, from its start to the end of the last of them."""

    def __init__(self, lab: Lab, command: Sequence[str], name: str, core: int, kill: Kill | None = None) -> None:
        token, log = f"{os.getpid()}-{name}-{time.monotonic_ns()}", lab.folder / f"{name}.log"
        self.token = f"{TOKEN}={token}\0".encode()
        self.mark = log.with_suffix(".held")
        added = {"PYTHONPATH": str(ROOT), TOKEN: token}
        if kill is not None and kill.point is not None:
            added |= held_at(self.mark, kill.point.event, kill.point.path, kill.nth, kill.rank)
        self.began = time.monotonic()
        with open(log, "ab") as stream:
            self.process = subprocess.Popen(
                command,
                env=lab.environment(**added),
                stdout=stream,
                stderr=stream,
                cwd=lab.folder,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )

    def pids(self) -> dict[int, str]:
        """The living processes of this command, whoever their parents are by now, with what they are."""
        return _marked(self.token)

    def kill_when(self, due: Callable[[], bool], target: str, damage: Callable[[], None]) -> bool:
        """Kill the target once it is due; False if the command has ended before."""
        while self.process.poll() is None:
            if due():
                victim = next((pid for pid, role in sorted(self.pids().items()) if role == target), None)
                if victim is not None:
                    damage()
                    os.kill(victim, signal.SIGKILL)
                    self.mark.unlink(missing_ok=True)
                    return True
            time.sleep(0.005)
        return False

    def end(self, seconds: float) -> None:
        """Wait until no process is left; what is left after so many seconds is killed, and a deviation."""
        end = time.monotonic() + seconds
        while (left := self.pids()) and time.monotonic() < end:
            self.process.poll()
            time.sleep(0.05)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if left:
            raise DeviationError(f"{', '.join(left.values())} left after {seconds:.0f} s")


def _marked(token: bytes) -> dict[int, str]:
    """The living processes that carry a mark in their environment, with what they are."""
    found = {}
    for pid in psutil.pids():
        with suppress(OSError):
            if token in Path(f"/proc/{pid}/environ").read_bytes() and process_start(pid) is not None:
                found[pid] = _role(Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0"))
    return found


def _role(words: Sequence[str]) -> str:
    line = " ".join(words)
    for name, sign in (("launcher", "deepspeed.launcher.launch"), ("runner", "deepspeed.launcher.runner")):
        if sign in line:
            return name
    if str(TRAIN) in words:
        return next((f"rank {word[-1]}" for word in words if word.startswith("--local_rank=")), "rank 0")
    return "command" if "mtscale.cli" in words else "other"


@dataclass(frozen=True)
class OwnPlaces(Lab):
    """The same recipe with a runs folder and a cache that nothing has used yet."""

    name: str

    @property
    def runs(self) -> Path:
        return self.folder / self.name / "runs"


class Bench:
    """Runs under kills, and the undisturbed ones they are compared with."""

    def __init__(self, lab: Lab, tally: Tally) -> None:
        self.lab = lab
        self.tally = tally
        self.expected: Mapping[int, Future[Expected]] = {}

    def undisturbed(self, ranks: int, core: int) -> Expected:
        """Train the run that nothing disturbs."""
        layout = TWO if ranks == TWO.ranks else ALONE
        name = f"undisturbed-{ranks}"
        run = self.lab.run(name)
        life = Life(self.lab, self._train(self.lab, layout, name), name, core)
        while life.process.poll() is None and not (run.path / "events.jsonl").exists():
            time.sleep(0.02)
        seconds = time.monotonic() - life.began
        life.end(SECONDS)
        if run.state() is not State.FINISHED:
            raise DeviationError(f"the undisturbed run failed: {self.lab.folder / name}.log")
        print(f"undisturbed, {layout.name}: {time.monotonic() - life.began:.1f} s, first step after {seconds:.1f} s")
        return Expected(run, seconds)

    def spend(self, night: Night, core: int) -> None:
        """Kill a run as planned, resume it each time, let it finish and compare."""
        lab, name = self.lab, f"night-{night.number}"
        if night.own_store:
            lab = OwnPlaces(self.lab.folder, name)
        kills = 0
        try:
            for kill in night.kills:
                # Who loses a launcher in its last evaluation may well finish.
                over = self.tally.is_full or _is_finished(lab.run(name))
                if over or not self._live(lab, night, kills, core, kill):
                    break
                kills += 1
            if not _is_finished(lab.run(name)):
                self._live(lab, night, kills, core, None)
            compare(lab.run(name), self.expected[night.layout.ranks].result().run)
            deviation = ""
        except DeviationError as found:
            deviation = f"DEVIATION: {found} ({self.lab.folder / name}.log)"
        self.tally.ended(night, kills, deviation)

    def _live(self, lab: Lab, night: Night, lives: int, core: int, kill: Kill | None) -> bool:
        """Start or resume the run, and kill it or let it finish; whether it was killed."""
        name = f"night-{night.number}"
        run = lab.run(name)
        # Now and then a run is resumed by the command for that, else by its own.
        by_command = lives % (2 if night.layout.above else 4) == 1 and (run.path / "run.json").exists()
        by_name = not by_command or (kill is not None and kill.target not in RESUMED[night.layout.ranks].targets)
        resume = [sys.executable, "-m", "mtscale.cli", "runs", "resume", str(run.path)]
        command = self._train(lab, night.layout, name) if by_name else resume
        if kill is not None and kill.point is None:
            self.expected[night.layout.ranks].result()  # tells when the moment comes; a life would not wait for it
        life = Life(lab, command, name, core, kill)
        if kill is not None and life.kill_when(
            self._moment(life, run, kill, night.layout.ranks), kill.target, lambda: _damage(run, kill)
        ):
            life.end(LEFT_SECONDS)
            self.tally.killed(night, kill, _left(run), time.monotonic() - life.began)
            return True
        life.end(SECONDS)
        if life.process.returncode != 0 or not _is_finished(run):
            raise DeviationError(f"exit code {life.process.returncode} without a kill, {_left(run)}")
        self.tally.missed += kill is not None
        return False

    def _train(self, lab: Lab, layout: Layout, name: str) -> list[str]:
        ranks = ["--num_gpus", str(layout.ranks)]
        starts = {
            "command": ["-m", "mtscale.cli", "train", *ranks],
            "runner": ["-m", "deepspeed.launcher.runner", *ranks, "--master_port", str(free_port()), str(TRAIN)],
        }
        start = starts[layout.above[0]] if layout.above else [str(TRAIN)]
        return [sys.executable, *start, *lab.options(name), *SETTINGS]

    def _moment(self, life: Life, run: RunDirectory, kill: Kill, ranks: int) -> Callable[[], bool]:
        if kill.point is not None:
            return life.mark.exists
        expected = self.expected[ranks].result()
        if kill.share is None:
            return lambda: time.monotonic() - life.began > kill.delay * expected.start_seconds
        step = max((int(path.name[5:]) for path in run.path.glob("checkpoints/step-*")), default=0)
        to_come = sum(event.step > step for event in expected.run.events()) + 1
        wanted = _lines(run) + 1 + round(kill.share * to_come)
        return Delayed(lambda: _lines(run) >= wanted, kill.delay)


def compare(found: RunDirectory, expected: RunDirectory) -> None:
    """Raise a DeviationError unless a run ended as the one that nothing disturbed."""
    points = [(name, event.step) for event in found.events() for name in event.values]
    if len(points) != len(set(points)):
        raise DeviationError("events hold a value twice")
    _require_equal("events", recorded(found), recorded(expected))
    _require_equal("files", files(found), files(expected))
    rest = [path.name for path in (found.path / "checkpoints").iterdir() if path.name.startswith(".")]
    if rest:
        raise DeviationError(f"left in checkpoints: {', '.join(rest)}")
    if mlflow_runs(found) != [(found.record.mlflow_run_id, "FINISHED")]:
        raise DeviationError(f"MLflow has the runs {mlflow_runs(found)}")
    curves = [(name, step, value) for name, step, value in mlflow_metrics(found) if not name.startswith("perf/")]
    if len(curves) != len({(name, step) for name, step, _ in curves}):
        raise DeviationError("MLflow has a step twice")
    _require_equal("MLflow", {(name, step): value for name, step, value in curves}, recorded(expected))
    own_looks = Counter(look.task for look in looks.read(found.path.parent) if look.id == found.record.id)
    if own_looks != Counter(list(TASKS)):
        raise DeviationError(f"looks at test: {dict(own_looks)}")


def _require_equal(what: str, found: Mapping[K, object], expected: Mapping[K, object]) -> None:
    differing = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
    if differing:
        raise DeviationError(f"{len(differing)} of {len(expected)} {what} differ, among them {differing[0]}")


def _damage(run: RunDirectory, kill: Kill) -> None:
    """Leave a write of the point half done."""
    if kill.point is None:
        return
    for path in run.path.glob(kill.point.torn) if kill.point.torn else ():
        os.truncate(path, path.stat().st_size // 2)
    if kill.point.half_line:
        with open(run.path / kill.point.half_line, "ab") as stream:
            stream.write(HALF_AN_EVENT)


def _lines(run: RunDirectory) -> int:
    """The lines of ``events.jsonl``."""
    try:
        return (run.path / "events.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _is_finished(run: RunDirectory) -> bool:
    return (run.path / "run.json").exists() and run.state() is State.FINISHED


def _left(run: RunDirectory) -> str:
    """What is left of a run: its state and the states saved."""
    if not (run.path / "run.json").exists():
        return "nothing"
    return " ".join([run.state(), *sorted(path.name for path in run.path.glob("checkpoints/step-*"))])


def main() -> int:
    """Kill, resume and compare; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="kills (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed and when (default 1)")
    parser.add_argument("--ranks", default="1,2", help="numbers of ranks (default 1,2)")
    parser.add_argument("--workers", type=int, default=2, help="runs at the same time (default 2)")
    options = parser.parse_args()
    ranks = tuple(int(part) for part in options.ranks.split(","))
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    lab = Lab(folder)
    lab.write(write_tiny_encoder(folder / "encoder"))
    tally = kill_runs(lab, nights(options.seed, ranks), options.count, ranks, options.workers)
    in_a_save = sum(kill.point in IN_A_SAVE for kill in tally.kills)
    targets = Counter(kill.target for kill in tally.kills)
    minutes = (time.monotonic() - tally.began) / 60
    print(
        f"\n{len(tally.kills)} kills of {tally.runs} runs in {minutes:.1f} min, {in_a_save} inside a save; targets: "
        f"{', '.join(f'{name} {number}' for name, number in sorted(targets.items()))}\n"
        f"{tally.missed} planned kills came after the end of their run; {len(tally.deviations)} deviations"
    )
    if tally.deviations:
        print("\n".join(tally.deviations))
        return 1
    shutil.rmtree(folder)
    return 0


def kill_runs(lab: Lab, plans: Iterator[Night], count: int, ranks: Iterable[int], workers: int) -> Tally:
    """So many kills, of runs that as many workers spend at the same time."""
    tally = Tally(count)
    bench = Bench(lab, tally)
    lock = threading.Lock()
    # A core for each worker, so that they do not hold each other up, and torch computes with one thread everywhere.
    available = sorted(os.sched_getaffinity(0))
    cores: queue.Queue[int] = queue.Queue()
    for worker in range(workers):
        cores.put(available[worker % len(available)])

    def on_a_core(work: Callable[[int], T]) -> T:
        core = cores.get()
        try:
            return work(core)
        finally:
            cores.put(core)

    def spend(core: int) -> None:
        while not tally.is_full:
            with lock:
                night = next(plans, None)
            if night is None:
                return
            bench.spend(night, core)

    with ThreadPoolExecutor(workers) as pool:
        bench.expected = {
            number: pool.submit(on_a_core, functools.partial(bench.undisturbed, number)) for number in ranks
        }
        working = [pool.submit(on_a_core, spend) for _ in range(workers)]
        try:
            wait(working)
        except KeyboardInterrupt:
            tally.wanted = 0  # the workers end with the lives that are ended here
            for pid in _marked(f"{TOKEN}={os.getpid()}-".encode()):
                os.kill(pid, signal.SIGKILL)
            raise
    for worker in working:
        worker.result()
    return tally


if __name__ == "__main__":
    sys.exit(main())
