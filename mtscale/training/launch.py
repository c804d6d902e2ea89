"""``mtscale train``: check the command, start the ``deepspeed`` launcher, pass a stop on, and tell how it ended.

One rank needs no launcher and gets none.

The launcher alone has two traps (DeepSpeed 0.19.8): a SIGTERM or Ctrl-C to it may leave its ranks behind, and it exits
with 0 when its own helper dies by a signal. So it gets a session of its own, signals go to the ranks, and the exit
code is checked against the run directories.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psutil

from mtscale.ds_config import Machine
from mtscale.errors import EXIT_DATA, EXIT_FAILED, EXIT_FINISHED, EXIT_REFUSED, EXIT_STOPPED, ConfigError
from mtscale.processes import COMMAND, STARTER, mark_of, this_process
from mtscale.runs import RunDirectory, State, is_finished, process_start
from mtscale.tracking.repair import repair
from mtscale.training.job import Job
from mtscale.training.machine import free_port
from mtscale.training.queued import Queue

logger = logging.getLogger(__name__)

NUMA_NODES = Path("/sys/devices/system/node")
# Where the launcher looks for other machines (DLTS_HOSTFILE in DeepSpeed's launcher/runner.py).
HOSTFILE = Path("/job/hostfile")
# More than what a rank gives itself to stop once its launcher is gone.
LEFT_BEHIND_SECONDS = 40.0
# Where a rank ends with one of these, it has said why.
_TOLD = frozenset({EXIT_REFUSED, EXIT_DATA, EXIT_FAILED, EXIT_STOPPED})

TRAIN = Path(__file__).resolve().parent.parent / "train.py"


def launch(job: Job, arguments: Sequence[str], num_gpus: int | None) -> int:
    """Run a checked job, several ranks under the launcher; returns the exit code.

    ``arguments`` are those of ``mtscale/train.py``; ``num_gpus`` is the number of ranks on this machine (default: the
    launcher's, a rank per GPU).
    """
    if job.dry_run:
        code, _ = _run([sys.executable, str(TRAIN), *arguments])
        return code if code >= 0 else EXIT_FAILED
    own = [str(TRAIN), *arguments, "--run", job.family]
    world_size = num_gpus or _default_ranks(job.machine)
    if world_size == 1 and not HOSTFILE.exists():
        # The launcher is two processes that each import torch before the one that trains: seconds of every start.
        command = [sys.executable, *own, "--local_rank=0"]
    else:
        ranks = [] if num_gpus is None else ["--num_gpus", str(num_gpus)]
        launcher = ["-m", "deepspeed.launcher.runner", "--master_port", str(free_port()), *ranks]
        command = [sys.executable, *launcher, *own]
    with Queue(job, own, world_size):
        code, asked = _run(command)
        return _settle(job, code, asked)


def _run(command: Sequence[str]) -> tuple[int, bool]:
    """Run to the end of the last process, passing stops on; the exit code, and whether a stop was asked for."""
    marked = os.environ | {STARTER: mark_of(this_process(COMMAND))}
    child = subprocess.Popen(command, env=marked, start_new_session=True)
    relay = _Relay(child)
    relay.listen()
    code = child.wait()
    _wait_for_session(child.pid)
    return code, relay.asked


def _settle(job: Job, code: int, asked: bool) -> int:
    """The exit code, by what the run directories say; a run whose processes died without a word gets a final state."""
    for member in job.members:
        run = RunDirectory(job.runs / member.name)
        if (run.path / "run.json").exists() and run.state() is State.LOST:
            why = "ended on request, before its first step" if asked else "its process was killed"
            try:
                repair(run, State.STOPPED if asked else State.FAILED, why)
            except ConfigError as error:
                logger.error("%s", error)
    if code in _TOLD:
        return code
    unfinished = [member.name for member in job.members if not is_finished(job.runs / member.name)]
    if unfinished:
        logger.error(
            "training was killed before these runs were finished: %s. `mtscale runs resume` goes on from the last "
            "checkpoint",
            ", ".join(unfinished),
        )
        return EXIT_FAILED
    return EXIT_FINISHED


def _default_ranks(machine: Machine) -> int:
    """The launcher's own number of ranks on this machine: one a GPU; without one, one a NUMA node that has cores.

    Source: ``device_count`` in DeepSpeed's accelerator/cpu_accelerator.py.
    """
    if machine.accelerator == "cuda":
        return machine.gpu_count
    return max(1, sum(bool(cores.read_text(encoding="ascii").strip()) for cores in NUMA_NODES.glob("node*/cpulist")))


def _wait_for_session(session: int) -> None:
    """Wait for ranks that a killed launcher has left behind: they stop by themselves, with a checkpoint."""
    end = time.monotonic() + LEFT_BEHIND_SECONDS
    while time.monotonic() < end and any(_session_of(pid) == session for pid in psutil.pids()):
        time.sleep(0.1)


def _session_of(pid: int) -> int | None:
    """The session of a living process."""
    try:
        return os.getsid(pid) if process_start(pid) is not None else None
    except OSError:
        return None


class _Relay:
    """Hands the first signal to the ranks, which stop at their next step; the second ends everything at once."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.asked = False

    def listen(self) -> None:
        """Take over SIGINT, SIGTERM and SIGHUP."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        ranks = self._ranks()
        at_once = self.asked or not ranks
        self.asked = True
        if at_once:
            # Nothing to save yet, or asked twice.
            os.killpg(self._child.pid, signal.SIGKILL)
            return
        for rank in ranks:
            rank.send_signal(signal.SIGTERM)

    def _ranks(self) -> list[psutil.Process]:
        """The processes that train: the innermost ones that run train.py."""
        found = []
        started = psutil.Process(self._child.pid)
        for process in (started, *started.children(recursive=True)):
            try:
                if str(TRAIN) in process.cmdline() and any(
                    part.startswith("--local_rank") for part in process.cmdline()
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found
