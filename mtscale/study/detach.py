"""``mtscale study run --detach``: a study that is trained without this terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from mtscale.errors import EXIT_FINISHED
from mtscale.runs import OUTPUT
from mtscale.study.store import StudyFolder
from mtscale.training.detach import LOOK_EVERY_SECONDS, NotStartedError, start_apart


def detach(words: Sequence[str], folder: StudyFolder) -> int:
    """Start ``mtscale study run WORDS`` apart and wait until it has the study to itself; its process id.

    What it prints is added to ``output.log`` in the folder of the study.

    Raises:
        NotStartedError: it was refused.
    """
    path = folder.path / OUTPUT
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        before = stream.tell()
        child = start_apart(["study", "run", *words], stream)
    while folder.holder() != child.pid:
        if child.poll() is not None and folder.holder() != child.pid:
            if child.returncode == EXIT_FINISHED:
                break
            with open(path, "rb") as stream_again:
                stream_again.seek(before)
                raise NotStartedError(stream_again.read().decode("utf-8", errors="replace").strip(), child.returncode)
        time.sleep(LOOK_EVERY_SECONDS)
    return child.pid
