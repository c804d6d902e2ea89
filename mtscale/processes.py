"""The living processes of a run, and how they are ended. From ``/proc`` alone: whoever only watches has no psutil.

A process belongs to a run if the run's record names it (pid and start time), if it carries the mark of the run's
command in its environment, or if it descends from such a one. Only processes of this host and this user are seen.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale.errors import ConfigError
from mtscale.runs import LIVE, RunDirectory, RunProcess, RunRecord, State, list_runs, process_start

# In the environment of launchers and ranks: process id and start time of the command that started them.
STARTER = "MTSCALE_STARTER"
COMMAND = "command"
LAUNCHER = "launcher"
DEEPSPEED = frozenset({"deepspeed", "deepspeed.launcher.runner", "deepspeed.launcher.launch"})

KILL_ROUNDS = 50
KILL_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Entry:
    """A process of this user: its parent and its start time."""

    parent: int
    start: int


def this_process(role: str) -> RunProcess:
    """This process, as a run's record names it."""
    start = process_start(os.getpid())
    assert start is not None
    return RunProcess(role=role, pid=os.getpid(), start=start)


def mark_of(process: RunProcess) -> str:
    """The value of ``MTSCALE_STARTER`` for what this process starts."""
    return f"{process.pid}:{process.start}"


def above_this_process() -> Iterator[RunProcess]:
    """The launchers above a rank and the command that started them, as far as they live.

    What stands above the command is not the run's: it may start other runs as well.
    """
    starter, _, starter_start = os.environ.get(STARTER, "").partition(":")
    pid = os.getppid()
    while (start := process_start(pid)) is not None and str(pid) != starter and DEEPSPEED & _names(pid):
        yield RunProcess(role=LAUNCHER, pid=pid, start=start)
        pid = _parent(pid)
    if starter and process_start(int(starter)) == int(starter_start):
        yield RunProcess(role=COMMAND, pid=int(starter), start=int(starter_start))


def is_queued_for_this_process(record: RunRecord) -> bool:
    """Whether the command that queued a run is the one that started this process, a rank."""
    if record.host != socket.gethostname():
        return True  # launchers hand no marks to other machines, and the command has looked itself
    return os.environ.get(STARTER) in {mark_of(process) for process in record.processes if process.role == COMMAND}


def living(run: RunDirectory) -> list[RunProcess]:
    """The processes of a run that live on this host: command and launchers first, then the ranks."""
    record = run.record
    here = [process for process in _recorded(record) if process.host == socket.gethostname()]
    found = {process.pid: process for process in here if process_start(process.pid) == process.start}
    marks = {f"{STARTER}={mark_of(process)}".encode() for process in here if process.role == COMMAND}
    table = _own_processes()
    for pid, entry in table.items():
        if pid not in found and marks and not marks.isdisjoint(_environment(pid)):
            found[pid] = RunProcess(role=_role(pid), pid=pid, start=entry.start)
    more = set(found)
    while more := {pid for pid, entry in table.items() if entry.parent in more and pid not in found}:
        found |= {pid: RunProcess(role=_role(pid), pid=pid, start=table[pid].start) for pid in more}
    own = [process for process in found.values() if process.pid in table and process.pid != os.getpid()]
    return sorted(own, key=lambda process: (_ORDER.get(process.role, 2), process.role, process.pid))


def ranks(processes: Sequence[RunProcess]) -> list[RunProcess]:
    """Those that train."""
    return [process for process in processes if process.role.startswith("rank ")]


def listed(processes: Sequence[RunProcess]) -> str:
    """Processes in words: what each does, and its id."""
    return ", ".join(f"{process.role} ({process.pid})" for process in processes) or "no process"


def require_own(run: RunDirectory) -> None:
    """Refuse to touch what is not this host's and this user's, or a queued run whose processes train another one.

    Raises:
        ConfigError: says which.
    """
    record = run.record
    if record.host != socket.gethostname():
        raise ConfigError(f"{run.path} belongs to the host {record.host}: its processes can be ended there only")
    if run.path.stat().st_uid != os.getuid():
        raise ConfigError(f"{run.path} belongs to another user")
    if run.state() is not State.QUEUED:
        return
    for other in list_runs(run.path.parent):
        if other.record.family == record.family and other.state() in LIVE - {State.QUEUED}:
            raise ConfigError(f"{run.path} waits for {other.path.name}, of the same command: stop that one")


def terminate(run: RunDirectory) -> list[RunProcess]:
    """Send SIGTERM to all processes of a run, the ranks first: they end with their next step and a checkpoint.

    Raises:
        ConfigError: the run is not this host's and this user's.
    """
    require_own(run)
    found = living(run)
    for process in sorted(found, key=lambda process: process.role in {COMMAND, LAUNCHER}):
        _send(process, signal.SIGTERM)
    return found


def kill(run: RunDirectory) -> list[RunProcess]:
    """Send SIGKILL to all processes of a run until none is left; returns those that live in spite of it.

    Raises:
        ConfigError: the run is not this host's and this user's.
    """
    require_own(run)
    for _ in range(KILL_ROUNDS):
        found = living(run)
        if not found:
            return []
        for process in found:
            _send(process, signal.SIGKILL)
        time.sleep(KILL_PAUSE_SECONDS)
    return living(run)


_ORDER: Mapping[str, int] = {COMMAND: 0, LAUNCHER: 1}


def _recorded(record: RunRecord) -> list[RunProcess]:
    """What the record names; rank 0 alone where it was written by something else."""
    if record.processes or record.pid_start is None:
        return list(record.processes)
    return [RunProcess(role="rank 0", pid=record.pid, start=record.pid_start, host=record.host)]


def _send(process: RunProcess, number: signal.Signals) -> None:
    """Send a signal to this very process, not to one that was given its id since."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if process_start(process.pid) == process.start:
            signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return
    finally:
        os.close(descriptor)


def _own_processes() -> dict[int, _Entry]:
    """All living processes of this user."""
    user, found = os.getuid(), {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        pid = int(entry.name)
        try:
            own = entry.stat().st_uid == user
        except OSError:
            continue
        start = process_start(pid)
        if own and start is not None:
            found[pid] = _Entry(_parent(pid), start)
    return found


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return []


def _names(pid: int) -> set[str]:
    """What a process runs: interpreter and options come first, a script or ``-m`` and a module then."""
    return {Path(word).name for word in _words(pid)[:4]}


def _role(pid: int) -> str:
    """What a process is by its command line."""
    if DEEPSPEED & _names(pid):
        return LAUNCHER
    rank = next((word for word in _words(pid) if word.startswith("--local_rank=")), None)
    return f"rank {rank.partition('=')[2]}" if rank is not None else "helper"
