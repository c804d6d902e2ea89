"""The loop of mtscale under DeepSpeed against a bare PyTorch loop: the same model, batches and attention.

python -m benchmarks.bare_loop PAIRS [DATA_ROOT]     prints the seconds of both, pair by pair
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks import workload
from benchmarks.processes import run
from benchmarks.results import Report, interval
from benchmarks.workload import SEED, Workload
from mtscale.inputs.batches import Batch, collate
from mtscale.inputs.schedule import Rows
from mtscale.model.heads import loss_sum
from mtscale.model.multitask import MultiTaskModel
from mtscale.training import distributed
from mtscale.training.stop import StopRequest

PAIRS = 20
STEPS_PER_PAIR = 2
WARM_UP = 4

TaskBatch = tuple[str, Batch, int]


def measure(data_root: Path | None) -> Report:
    """Interleaved pairs of short stretches of one epoch."""
    found = run("benchmarks.bare_loop", str(PAIRS), *([] if data_root is None else [str(data_root)]))
    ratios = [bare / ours for ours, bare in found["seconds"]]
    how = (
        f"bare PyTorch loop's time / ours; {PAIRS} interleaved pairs of {STEPS_PER_PAIR} steps, {found['precision']}, "
        f"dropout 0.1, the same attention on both sides"
    )
    return Report({"speed_vs_bare_loop": interval(ratios, "x", how)})


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


def compare(data_root: Path | None, pairs: int) -> dict[str, object]:
    """The seconds of both loops on the same batches; each is the first of every other pair."""
    workload.as_in_training()
    work = workload.load(data_root)
    with tempfile.TemporaryDirectory() as folder:
        loop = workload.mtscale_loop(work, SEED, Path(folder), StopRequest())
    engine = loop.engine
    batches = [
        (entry.task, _batch(work, entry.task, entry.rows).to(engine.device), _terms(work, entry.task, entry.rows))
        for entry in work.epoch(SEED)[: WARM_UP + pairs * STEPS_PER_PAIR]
    ]
    resolved = loop.plan.resolved
    bare = BareLoop(
        copy.deepcopy(loop.model), autocast=resolved.precision == "autocast-bf16", clip=work.recipe.refine.clip
    )
    engine.train()

    def our_step(task: str, batch: Batch, terms: int) -> None:
        engine.step(task, [batch], terms, 0)

    _seconds(our_step, batches[:WARM_UP])
    _seconds(bare.step, batches[:WARM_UP])
    seconds = []
    for pair in range(pairs):
        part = batches[WARM_UP + pair * STEPS_PER_PAIR :][:STEPS_PER_PAIR]
        if pair % 2:
            theirs, ours = _seconds(bare.step, part), _seconds(our_step, part)
        else:
            ours, theirs = _seconds(our_step, part), _seconds(bare.step, part)
        seconds.append((ours, theirs))
    distributed.finish()
    return {"seconds": seconds, "precision": resolved.precision}


def _batch(work: Workload, task: str, rows: Rows) -> Batch:
    encoded = work.splits[task]["train"]
    return collate(encoded.rows, rows, encoded.task.kind)


def _terms(work: Workload, task: str, rows: Rows) -> int:
    return int(work.splits[task]["train"].terms[rows].sum())


def _seconds(step: Callable[[str, Batch, int], None], batches: Sequence[TaskBatch]) -> float:
    started = time.perf_counter()
    for task, batch, terms in batches:
        step(task, batch, terms)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(compare(Path(sys.argv[2]) if sys.argv[2:] else None, int(sys.argv[1]))))
