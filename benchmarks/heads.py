"""Heads: the time of a step with 64 of them against that with one, on the same batches.

python -m benchmarks.heads ZERO HEADS STEPS     prints the seconds of each step with one head and with so many
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import workload
from benchmarks.processes import run
from benchmarks.results import Report, Result, ratio
from mtscale import ds_config, recipe
from mtscale.inputs.batches import Batch, collate
from mtscale.inputs.schedule import Schedule
from mtscale.model.encoder import load_encoder
from mtscale.model.multitask import MultiTaskModel
from mtscale.tasks import Task
from mtscale.training import distributed
from mtscale.training.engine import Engine
from mtscale.training.machine import probe

HEADS = 64
STEPS = 16
WARM_UP = 2
ZERO = (0, 1)
TASK = "cdr-disease"


def measure(_data_root: Path | None) -> Report:
    """Pairs of steps, one head and many, interleaved."""
    results: dict[str, Result] = {}
    for stage in ZERO:
        few, many = run("benchmarks.heads", str(stage), str(HEADS), str(STEPS))
        how = f"{STEPS} interleaved pairs of steps of {TASK}, {HEADS} heads against one, ZeRO {stage}, one rank"
        name = "heads_growth" if stage == 0 else f"heads_growth_zero_{stage}"
        results[name] = ratio(many, few, "ratio", f"seconds of a step, {how}")
    return Report(results)


def compare(zero: int, heads: int, steps: int) -> tuple[list[float], list[float]]:
    """The seconds of each step with one head and with ``heads``, which take turns."""
    workload.as_in_training()
    work = workload.load_sample(TASK)
    encoded = work.splits[TASK]["train"]
    schedule = Schedule({TASK: encoded.lengths}, work.recipe.refine.batch_size, seed=1)
    batches = [
        (collate(encoded.rows, entry.rows, encoded.task.kind), int(encoded.terms[entry.rows].sum()))
        for entry in schedule.epoch(1)[: WARM_UP + steps]
        if len(entry.rows) == work.recipe.refine.batch_size
    ]
    engines = [_engine(work.recipe, _heads(encoded.task, number), zero, len(batches)) for number in (1, heads)]
    seconds: tuple[list[float], list[float]] = [], []
    for number, (batch, terms) in enumerate(batches):
        for engine, count, taken in zip(engines, (1, heads), seconds, strict=True):
            task = f"head-{number % count}"
            taken.append(_step(engine, task, batch, terms, number))
    distributed.finish()
    return seconds[0][WARM_UP:], seconds[1][WARM_UP:]


def _heads(task: Task, count: int) -> list[Task]:
    return [replace(task, name=f"head-{number}") for number in range(count)]


def _engine(loaded: recipe.Recipe, tasks: Sequence[Task], zero: int, steps: int) -> Engine:
    machine, ranks = probe(), distributed.ranks_from_environment()
    device = distributed.start(ranks, machine)
    config = ds_config.load(ds_config.find(ds_config.shipped_for(machine))) | {"zero_optimization": {"stage": zero}}
    settings = loaded.refine
    resolved = ds_config.resolve(
        config, batch_size=settings.batch_size, clip=settings.clip, world_size=1, machine=machine
    )
    torch.manual_seed(1)
    encoder, _ = load_encoder("sample", loaded.encoder.dropout, loaded.encoder.max_pieces)
    engine = Engine(
        MultiTaskModel(encoder, tasks, settings.head_dropout, 1, {}), settings, resolved, steps, ranks, device
    )
    engine.train()
    return engine


def _step(engine: Engine, task: str, batch: Batch, terms: int, number: int) -> float:
    started = time.perf_counter()
    engine.step(task, [batch.to(engine.device)], terms, number)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(compare(*map(int, sys.argv[1:]))))
