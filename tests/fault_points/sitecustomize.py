"""Python loads this by itself where its folder is on PYTHONPATH: a rank waits at a chosen point of its work.

``FAULT_POINT`` is a JSON object: at the ``nth`` call that raises the audit event ``event`` with a path that ``path`` (a
regular expression) finds something in, and before that call does anything, rank ``rank`` makes the file ``mark`` and
waits until it is gone. Whoever set the point kills processes, damages files or fills the disk meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time

PATIENCE_SECONDS = 300.0


def _hold_at(event: str, path: str, nth: int, mark: str) -> None:
    wanted = re.compile(path)
    left = nth

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if name != event or left == 0:
            return
        if any(isinstance(given, str | os.PathLike) and wanted.search(os.fspath(given)) for given in arguments[:2]):
            left -= 1
            if left == 0:
                os.close(os.open(mark, os.O_CREAT | os.O_WRONLY))
                end = time.monotonic() + PATIENCE_SECONDS
                while os.path.exists(mark):
                    time.sleep(0.005)
                    if time.monotonic() > end:
                        os._exit(1)  # whoever set the point is gone

    sys.addaudithook(hook)


def _is_rank(rank: int) -> bool:
    """Whether this is that process which trains, and not a launcher, whose command names train.py too."""
    words = sys.orig_argv
    trains = any(word.endswith("mtscale/train.py") for word in words)
    return trains and "deepspeed.launcher" not in " ".join(words) and int(os.environ.get("LOCAL_RANK", "0")) == rank


if "FAULT_POINT" in os.environ:
    point = json.loads(os.environ["FAULT_POINT"])
    if _is_rank(point.pop("rank")):
        _hold_at(**point)
