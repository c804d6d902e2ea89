"""One rank of a few optimizer steps under ZeRO 0 and 1: writes which parts of the model each step has moved.

Started alone or by the ``deepspeed`` launcher: ``equality_worker.py [--local_rank=N] ENCODER OUTPUT``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mtscale import ds_config
from mtscale.inputs.batches import Batch
from mtscale.model.encoder import load_encoder
from mtscale.model.heads import num_outputs
from mtscale.model.multitask import MultiTaskModel
from mtscale.model.packing import Layout
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.recipe_sections import StageSettings
from mtscale.tasks import SAMPLE_TASKS, Kind, Task
from mtscale.training import distributed
from mtscale.training.distributed import Ranks
from mtscale.training.engine import Engine
from mtscale.training.machine import probe

LENGTH = 6
ROWS = 4
SETTINGS = StageSettings(batch_size=2 * ROWS, learning_rate=1e-2, warmup=0.0, head_dropout=0.0)
# Every task twice, so that idle heads have a momentum that an update without a gradient would carry on.
STEPS = (*SAMPLE_TASKS, *reversed(SAMPLE_TASKS))


def make_batch(task: Task, generator: torch.Generator) -> Batch:
    """Random pieces and labels; a word at every second piece for tagging."""
    read = torch.arange(0, ROWS * LENGTH, 2 if task.kind is Kind.TAGGING else LENGTH)
    count = len(read)
    labels = (
        torch.rand(count, generator=generator)
        if task.kind is Kind.SIMILARITY
        else torch.randint(num_outputs(task), (count,), generator=generator)
    )
    return Batch(
        input_ids=torch.randint(5, 60, (ROWS * LENGTH,), generator=generator),
        token_type_ids=torch.zeros(ROWS * LENGTH, dtype=torch.long),
        layout=Layout.of(np.full(ROWS, LENGTH)),
        read=read,
        labels=labels,
    )


def owner(name: str) -> str:
    """The part of the model that a weight belongs to: ``encoder``, ``pooler`` or a task's name."""
    first, second, *_ = name.split(".")
    return second.removesuffix("_head") if first == "heads" else first


def digest(weights: Mapping[str, Tensor]) -> str:
    """A hash of all bits of the weights."""
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in weights.values())).hexdigest()


def train(
    zero_stage: int,
    encoder_folder: str,
    ranks: Ranks,
    device: torch.device,
    procedure: PaperSettings = CLEAN_PROCEDURE,
) -> list[dict[str, object]]:
    """A record of every step, on rank 0. In every second step the last slice of the last rank is empty."""
    encoder, _ = load_encoder(encoder_folder, 0.0, 128)
    model = MultiTaskModel(encoder, SAMPLE_TASKS, head_dropout=0.0, seed=1, mean_scores={})
    config = ds_config.load(ds_config.find("cpu-fp32")) | {
        "train_micro_batch_size_per_gpu": ROWS,
        "zero_optimization": {"stage": zero_stage},
    }
    resolved = ds_config.resolve(
        config, batch_size=SETTINGS.batch_size, clip=1.0, world_size=ranks.world_size, machine=probe()
    )
    engine = Engine(model, SETTINGS, resolved, len(STEPS), ranks, device, procedure)
    engine.train()
    records: list[dict[str, object]] = []
    for step, task in enumerate(STEPS):
        batches = [make_batch(task, torch.Generator().manual_seed(100 * step + number)) for number in range(2)]
        own = batches if ranks.world_size == 1 else [batches[ranks.rank]]
        if step % 2 and ranks.rank == ranks.world_size - 1:
            own[-1] = own[-1].without_labels()
        before = engine.weights()
        engine.step(task.name, own, terms=10, step=step)
        after = engine.weights()
        digests = distributed.gather(digest(after), ranks)
        moved = sorted({owner(name) for name in after if not torch.equal(before[name], after[name])})
        records.append({"zero": zero_stage, "task": task.name, "moved": moved, "digests": digests})
    engine.close()
    return records if ranks.is_main else []


def run(measure: Callable[[str, Ranks, torch.device], list[Any]]) -> None:
    """Be one rank of ``WORKER.py [--local_rank=N] ENCODER OUTPUT``; rank 0 writes what it measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("encoder")
    parser.add_argument("output", type=Path)
    parser.add_argument("--local_rank")
    options = parser.parse_args()
    ranks = distributed.ranks_from_environment()
    device = distributed.start(ranks, probe())
    records = measure(options.encoder, ranks, device)
    if ranks.is_main:
        options.output.write_text(json.dumps(records), encoding="utf-8")
    distributed.finish()


def both_stages(encoder: str, ranks: Ranks, device: torch.device) -> list[dict[str, object]]:
    """The records under ZeRO 0, then 1."""
    return [record for stage in (0, 1) for record in train(stage, encoder, ranks, device)]


if __name__ == "__main__":
    run(both_stages)
