"""The side of a worker: a training that goes a step when its parent asks for one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

import torch

from benchmarks.processes import ANSWER, Step


class Turns:
    """The worker's side: call ``wait`` before each of the planned steps."""

    def __init__(self, planned: Sequence[Step]) -> None:
        self._planned = iter(planned)
        self._left = 0
        self._marks: list[float] = []

    def wait(self) -> None:
        """Return when another step is asked for; end the process when the parent wants no more."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._marks.append(time.perf_counter())
        if self._left == 0:
            self._answer()
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            self._left = int(line)
            self._marks = [time.perf_counter()]
        self._left -= 1

    def _answer(self) -> None:
        spans = [end - start for start, end in pairwise(self._marks)]
        if spans:
            done = [next(self._planned)._replace(seconds=seconds) for seconds in spans]
            print(ANSWER + json.dumps(done), flush=True)
