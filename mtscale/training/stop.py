"""Stopping cleanly: SIGTERM, Ctrl-C or a ``stop`` file end the run at its next step, with a checkpoint."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

from mtscale.errors import EXIT_STOPPED

logger = logging.getLogger(__name__)


class StopRequest:
    """Whether this process was asked to stop. Signals only set a flag: nothing is saved inside a handler."""

    def __init__(self) -> None:
        self._first_interrupt = 0.0
        self._signalled = False
        self.reason = "on request"

    def listen(self) -> None:
        """Take over SIGTERM and SIGINT."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            # One Ctrl-C may arrive twice, from the terminal and from the launcher.
            if self._first_interrupt and time.monotonic() - self._first_interrupt > 1.0:
                os._exit(EXIT_STOPPED)
            self._first_interrupt = self._first_interrupt or time.monotonic()
        if not self._signalled:
            logger.info("asked to stop: ending at the next step with a checkpoint (Ctrl-C again to end at once)")
        self._signalled = True

    def request(self, reason: str) -> None:
        """Ask this process to stop, as a signal does; ``reason`` is told in the run's final state."""
        self.reason = reason
        self._signalled = True
        logger.warning("stopping %s: ending at the next step with a checkpoint", reason)

    @property
    def signalled(self) -> bool:
        """Whether a signal has come to this process."""
        return self._signalled

    def agreed(self, stop_file: Path, device: torch.device) -> bool:
        """Whether any rank was asked to stop; every rank must call it and gets the same answer."""
        wanted = self._signalled or stop_file.exists()
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return wanted
        flag = torch.tensor([float(wanted)], device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())
