"""A rank stops when a command above it is gone, also if that was so before the rank looked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest

from mtscale.processes import STARTER
from mtscale.runs import process_start
from mtscale.training.lifeline import HELPERS_MARK

# Prints whether the rank was asked to stop, once a line comes in.
RANK = """
import sys
from mtscale.training import lifeline
from mtscale.training.stop import StopRequest
stop = StopRequest()
lifeline.hold(stop)
print("held", flush=True)
sys.stdin.readline()
print(stop.reason, flush=True)
"""
# A command that starts a rank as its child and waits to be killed; its name is that of DeepSpeed's helper.
HELPER = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[2]])"


def start(arguments: list[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    inherited = {name: value for name, value in os.environ.items() if name not in {STARTER, HELPERS_MARK}}
    return subprocess.Popen(
        [sys.executable, *arguments], env=inherited | dict(environment), stdin=pipe, stdout=pipe, text=True
    )


def reason(rank: subprocess.Popen[str], seconds: float, *, killed: bool = False) -> str:
    """Why the rank was asked to stop, so long after it looked; "on request" stands for not at all.

    ``killed``: the process is a helper above the rank, and is killed meanwhile.
    """
    assert rank.stdin is not None
    assert rank.stdout is not None
    assert rank.stdout.readline() == "held\n"
    if killed:
        rank.kill()
    time.sleep(seconds)
    rank.stdin.write("\n")
    rank.stdin.flush()
    said = rank.stdout.readline().strip()
    rank.stdin.close()
    rank.stdout.close()
    rank.wait()
    return said


def this_process() -> str:
    return f"{os.getpid()}:{process_start(os.getpid())}"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "on request"),
        ({STARTER: this_process()}, "on request"),
        ({STARTER: f"{os.getpid()}:1"}, "because its launcher is gone"),  # another process had that id
        ({HELPERS_MARK: "0"}, "because its launcher is gone"),  # the helper is above no more
    ],
)
def test_what_was_gone_before_the_rank_looked(environment: Mapping[str, str], expected: str) -> None:
    assert reason(start(["-c", RANK], environment), seconds=1.5) == expected


@pytest.mark.parametrize(("killed", "expected"), [(False, "on request"), (True, "because its launcher is gone")])
def test_a_helper_that_is_killed_later(killed: bool, expected: str) -> None:
    helper = start(["-c", HELPER, "deepspeed.launcher.launch", RANK], {HELPERS_MARK: "0"})
    assert reason(helper, seconds=2.5, killed=killed) == expected
