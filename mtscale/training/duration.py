"""How long a run will take: operations and steps, at the speed of a matrix product measured on this machine.

    seconds = pieces x (operations a piece / speed + h x layers x ELEMENTWISE) + steps x (STEP + parameters x OPTIMIZER)

Operations a piece: 6 a weight of the layers in training (2 where only predictions are made), and attention. What is no
matrix product (dropout, layer norms, GELU, softmax, copies) goes with the units it touches. The constants come from
speeds measured on two cores of an AMD EPYC with MiniLM-L6-H384; those of GPUs are not measured. Elsewhere: a guess.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from transformers import PretrainedConfig

from mtscale.ds_config import Precision
from mtscale.inputs.cache import EncodedSplit
from mtscale.training.loop import Splits

ELEMENTWISE_SECONDS = {"cpu": 4e-8, "cuda": 4e-10}
OPTIMIZER_SECONDS = {"cpu": 1.4e-9, "cuda": 5e-11}
STEP_SECONDS = 0.015
# From the command to the first step, with a warm cache: imports, model, engine.
START_SECONDS = 12.0

MEASURE_SECONDS = 0.25
# Short enough to fit between two turns of something else.
ROWS = {"cpu": 256, "cuda": 4096}
# What a thread adds when there are several.
SCALING = 0.8
_DTYPES: Mapping[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "autocast-bf16": torch.bfloat16,
}

Device = Literal["cuda", "cpu"]


@dataclass(frozen=True, slots=True)
class Size:
    """The parameters of an encoder, and how many of them are multiplied with every piece: those of its layers."""

    parameters: int
    in_layers: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a run has to do: pieces to train on and to predict for, and steps."""

    trained: float
    predicted: float
    steps: int
    mean_length: float


def work_of(counts: Mapping[str, int], epochs: int, batch_size: int, splits: Splits, *, chosen_on: str) -> Work:
    """The work of a run; ``counts`` are an epoch's mini-batches of each task."""
    trained = {task: count * batch_size * _mean(splits[task]["train"]) for task, count in counts.items()}
    steps = sum(counts.values())
    every_epoch = sum(_pieces(splits[task]["dev" if chosen_on == "dev" else "test"]) for task in counts)
    once = sum(_pieces(splits[task]["test"]) for task in counts) if chosen_on == "dev" else 0
    total = sum(trained.values())
    return Work(epochs * total, epochs * every_epoch + once, epochs * steps, total / (steps * batch_size))


def affinity_work(work: Work, every: int | None, tasks: int, batch_size: int) -> Work:
    """What is added where the affinities of several tasks are sampled after each ``every`` steps of a run's work."""
    samples = work.steps // every if every is not None and tasks > 1 else 0
    pieces = samples * tasks * batch_size * work.mean_length
    return Work(pieces, (tasks - 1) * pieces, 0, work.mean_length)


def seconds(
    work: Work, config: PretrainedConfig, size: Size, precision: Precision, device: Device, ranks: int
) -> float:
    """The estimated seconds of a run, start included. Ranks on one CPU share it, so only those of GPUs count."""
    on_steps = work.steps * (STEP_SECONDS + size.parameters * OPTIMIZER_SECONDS[device])
    return START_SECONDS + on_steps + seconds_on_pieces(work, config, size, precision, device, ranks)


def seconds_on_pieces(
    work: Work, config: PretrainedConfig, size: Size, precision: Precision, device: Device, ranks: int
) -> float:
    """As ``seconds``, without what a start and each step cost whatever their size."""
    speed = matmul_speed(precision, config.hidden_size, device)
    attention = 4 * config.num_hidden_layers * config.hidden_size * work.mean_length
    forward = (2 * size.in_layers + attention) / speed
    elementwise = config.hidden_size * config.num_hidden_layers * ELEMENTWISE_SECONDS[device]
    found = work.trained * (3 * forward + elementwise) + work.predicted * (forward + elementwise / 3)
    return float(found / (ranks if device == "cuda" else 1))


@cache
def matmul_speed(precision: Precision, hidden_size: int, device: Device) -> float:
    """Operations a second of the encoder's largest product: the best of many short ones, as if nothing else ran.

    On a CPU of one thread, times the threads of a rank: several would wait for the one that something else holds up.
    """
    if device == "cuda":
        return _best(precision, hidden_size, device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = _best(precision, hidden_size, device)
    finally:
        torch.set_num_threads(threads)
    cores = len(os.sched_getaffinity(0))
    return alone * (1 if cores == 1 else SCALING * cores)


def _best(precision: Precision, hidden_size: int, device: Device) -> float:
    first = torch.randn(ROWS[device], hidden_size, device=device).to(_DTYPES[precision])
    second = torch.randn(hidden_size, 4 * hidden_size, device=device).to(_DTYPES[precision])
    best, began = 0.0, time.perf_counter()
    while best == 0.0 or time.perf_counter() - began < MEASURE_SECONDS:
        started = time.perf_counter()
        first @ second
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, 8 * ROWS[device] * hidden_size**2 / (time.perf_counter() - started))
    return best


def _mean(split: EncodedSplit) -> float:
    return float(split.lengths.mean())


def _pieces(split: EncodedSplit) -> int:
    return int(split.lengths.sum())
