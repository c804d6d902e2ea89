"""No model hub is asked by a process that reads data under a use agreement, unless the user says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from mtscale.tasks import Access, Task

# What Hugging Face's libraries read when they are imported, here and in the processes that this one starts.
VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
# The user's word that the hub may be asked: `HF_HUB_OFFLINE=0`.
_ALLOWED = {"0", "false", "off", "no"}


def keep_off_hubs(tasks: Iterable[Task], *, sealed: bool = False) -> None:
    """Go offline if a task is of access ``dua``, or the caller knows that data are (``sealed``)."""
    allowed = os.environ.get("HF_HUB_OFFLINE", "").lower() in _ALLOWED
    if allowed or not (sealed or any(task.access is Access.DUA for task in tasks)):
        return
    for name in VARIABLES:
        os.environ[name] = "1"
    # A library that is loaded already has read them, but asks this before each request.
    loaded = sys.modules.get("huggingface_hub.constants")
    if loaded is not None:
        loaded.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


def is_offline() -> bool:
    """Whether hubs are not asked, by the user's or by our own word."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "on", "yes"}
