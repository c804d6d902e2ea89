"""The loop of mtscale under DeepSpeed against a bare PyTorch loop on the same batches, and against the matmul peak."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.results import Result
from mtscale import ds_config, recipe
from mtscale.inputs.batches import Batch, collate
from mtscale.inputs.schedule import Schedule, ScheduledBatch
from mtscale.model.encoder import load_encoder, load_tokenizer
from mtscale.model.heads import loss_sum
from mtscale.model.multitask import MultiTaskModel
from mtscale.tasks import TASKS
from mtscale.training import distributed
from mtscale.training.engine import Engine
from mtscale.training.loop import Splits
from mtscale.training.machine import probe
from mtscale.training.stages import encode_tasks, mean_scores

PAIRS = 20
STEPS_PER_PAIR = 4
WARM_UP = 8


def measure() -> dict[str, Result]:
    """Interleaved pairs of short stretches of one epoch of the sample."""
    machine = probe()
    sample = recipe.load(recipe.find("sample"))
    settings = sample.refine
    tasks = tuple(TASKS[table.name] for table in sample.tasks)
    tokenizer = load_tokenizer("sample")
    splits = encode_tasks(sample, tasks, None, tokenizer)
    config = ds_config.load(ds_config.find(ds_config.shipped_for(machine)))
    resolved = ds_config.resolve(
        config, batch_size=settings.batch_size, clip=settings.clip, world_size=1, machine=machine
    )
    ranks = distributed.ranks_from_environment()
    device = distributed.start(ranks, machine)
    schedule = Schedule({task.name: splits[task.name]["train"].lengths for task in tasks}, settings.batch_size, seed=1)
    scheduled = schedule.epoch(1)
    batches = [
        (entry.task, int(splits[entry.task]["train"].terms[entry.rows].sum()), collate_entry(splits, entry).to(device))
        for entry in scheduled[: WARM_UP + PAIRS * STEPS_PER_PAIR]
    ]
    torch.manual_seed(1)
    encoder, _ = load_encoder("sample", sample.encoder.dropout, sample.encoder.max_pieces)
    model = MultiTaskModel(encoder, tasks, settings.head_dropout, 1, mean_scores(tasks, splits))
    bare = BareLoop(copy.deepcopy(model).to(device), autocast=resolved.precision == "autocast-bf16", clip=settings.clip)
    engine = Engine(model, settings, resolved, len(batches), ranks, device)
    engine.train()
    ratios, rates = [], []
    for task, terms, batch in batches[:WARM_UP]:
        engine.step(task, [batch], terms, 0)
        bare.step(task, batch, terms)
    for pair in range(PAIRS):
        part = batches[WARM_UP + pair * STEPS_PER_PAIR :][:STEPS_PER_PAIR]
        with stopwatch() as ours:
            for task, terms, batch in part:
                engine.step(task, [batch], terms, 0)
        with stopwatch() as theirs:
            for task, terms, batch in part:
                bare.step(task, batch, terms)
        ratios.append(theirs[0] / ours[0])
        rates.append(sum(batch.pieces for _, _, batch in part) / ours[0])
    distributed.finish()
    # Forward and backward: 6 operations a weight and piece, without the embeddings, which are looked up.
    weights = sum(tensor.numel() for name, tensor in encoder.named_parameters() if "embeddings" not in name)
    peak = matmul_peak(torch.float32 if resolved.precision == "fp32" else torch.bfloat16)
    how = f"{PAIRS} interleaved pairs of {STEPS_PER_PAIR} steps, sample recipe, {resolved.precision}"
    return {
        "speed_vs_bare_loop": interval(ratios, "x", f"bare PyTorch loop's time / ours; {how}"),
        "fraction_of_matmul_peak": interval(
            [6 * weights * rate / peak for rate in rates], "of peak", f"real pieces only, 22 M encoder; {how}"
        ),
    }


class BareLoop:
    """What one would write without DeepSpeed: the same model, loss, clip and Adamax."""

    def __init__(self, model: MultiTaskModel, *, autocast: bool, clip: float) -> None:
        self._model = model.train()
        self._autocast = autocast
        self._clip = clip
        self._optimizer = torch.optim.Adamax(model.parameters(), lr=1e-4)

    def step(self, task: str, batch: Batch, terms: int) -> None:
        """One step on a whole mini-batch."""
        with torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self._autocast):
            logits = self._model(task, batch.input_ids, batch.token_type_ids, batch.layout, batch.read)
        assert batch.labels is not None
        loss = loss_sum(self._model.tasks[task].kind, logits, batch.labels) / terms
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._model.parameters(), self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad()


def matmul_peak(dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product, the best of several."""
    first, second = torch.randn(4096, 768).to(dtype), torch.randn(768, 3072).to(dtype)
    best = 0.0
    for _ in range(20):
        with stopwatch() as seconds:
            first @ second
        best = max(best, 2 * 4096 * 768 * 3072 / seconds[0])
    return best


def collate_entry(splits: Splits, entry: ScheduledBatch) -> Batch:
    """The tensors of a scheduled mini-batch."""
    encoded = splits[entry.task]["train"]
    return collate(encoded.rows, entry.rows, encoded.task.kind)


@contextlib.contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Seconds, in a list that is filled at the end."""
    seconds: list[float] = []
    started = time.perf_counter()
    yield seconds
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - started)


def interval(values: list[float], unit: str, how: str) -> Result:
    """The median, and the range of the middle 90 % of the values."""
    ordered = sorted(values)
    edge = len(ordered) // 20
    return Result(value=statistics.median(ordered), low=ordered[edge], high=ordered[-1 - edge], unit=unit, how=how)
