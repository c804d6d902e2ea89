"""Ranks: examples a second of one rank with all cores against two that share them, on the same global mini-batches."""

from __future__ import annotations

import contextlib
from pathlib import Path

from benchmarks.processes import Step, Worker
from benchmarks.results import Report, ratio
from benchmarks.workload import per_task
from mtscale.training.machine import free_port
from mtscale.training.tables import table

RANKS = (1, 2)
BLOCKS = 5
STEPS = 3


def measure(data_root: Path | None, blocks: int = BLOCKS, steps: int = STEPS) -> Report:
    """Alternating blocks of steps of one rank and of two."""
    place = [] if data_root is None else [str(data_root)]
    done: dict[int, list[list[Step]]] = {count: [] for count in RANKS}
    with contextlib.ExitStack() as stack:
        leaders = {}
        for count in RANKS:
            port = str(free_port())
            # The last rank is entered first and left last: it ends when the first one has.
            workers = [
                stack.enter_context(
                    Worker("benchmarks.workload", "sample", *place, environment=_rank(rank, count, port))
                )
                for rank in reversed(range(count))
            ]
            leaders[count] = workers[-1]
        for leader in leaders.values():
            leader.steps(1)
        for _ in range(blocks):
            for count, leader in leaders.items():
                done[count].append(leader.steps(steps))
    seconds = {count: [sum(step.seconds for step in block) for block in found] for count, found in done.items()}
    how = f"seconds of one rank / of two on the same cores, {blocks} alternating blocks of {steps} steps, ZeRO 0"
    rates = {count: per_task([step for block in found for step in block])["all"] for count, found in done.items()}
    rows = [[str(count), "", f"{rate:.1f}"] for count, rate in rates.items()]
    return Report(
        {"speed_of_two_ranks": ratio(seconds[1], seconds[2], "x", how)},
        {"Ranks on one machine": table(["ranks", "", "examples/s"], rows)},
    )


def _rank(rank: int, count: int, port: str) -> dict[str, str]:
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    return {name: str(value) for name, value in places.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
