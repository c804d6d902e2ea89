"""Whether all machines of a run see the same runs folder: each rank writes its part of a checkpoint there."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from mtscale.errors import ConfigError
from mtscale.training.distributed import Ranks, broadcast, gather

# A network filesystem may show a new file some seconds late.
PATIENCE_SECONDS = 30.0


def require_shared(runs: Path, ranks: Ranks, patience: float = PATIENCE_SECONDS) -> None:
    """Check that what rank 0 writes into the runs folder is seen by every rank. Every rank must call it.

    Raises:
        ConfigError: rank 0 cannot write there, or a machine does not see what it wrote.
    """
    if ranks.world_size == ranks.local_world_size:
        return
    probe: Path | str = ""
    if ranks.is_main:
        try:
            runs.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = runs / f".seen-by-all-{time.time_ns()}"
            probe.touch(mode=0o600)
        except OSError as error:
            probe = error.strerror or str(error)
    probe = broadcast(probe, ranks)
    if isinstance(probe, str):
        raise ConfigError(f"cannot write runs into {runs}: {probe}. Choose another folder with --runs or MTSCALE_RUNS")
    end = time.monotonic() + patience
    while not (seen := probe.exists()) and time.monotonic() < end:
        time.sleep(0.2)
    blind = broadcast(gather("" if seen else socket.gethostname(), ranks), ranks)
    if ranks.is_main:
        probe.unlink()
    hosts = sorted(set(blind) - {""})
    if hosts:
        raise ConfigError(
            f"{runs.resolve()} on {', '.join(hosts)} is not the folder of that name on the first machine: the runs "
            "folder must lie, under the same path, on a filesystem that all machines share"
        )
