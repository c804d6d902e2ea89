"""One rank of steps that go wrong in one way or another, in every precision and ZeRO stage: writes what they changed.

Started alone or by the ``deepspeed`` launcher: ``nonfinite_worker.py [--local_rank=N] ENCODER OUTPUT``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mtscale.ds_config import JsonObject, Precision, ResolvedDsConfig
from mtscale.inputs.batches import Batch
from mtscale.model.encoder import load_encoder
from mtscale.model.multitask import MultiTaskModel
from mtscale.tasks import SAMPLE_TASKS, Kind, Task
from mtscale.training import distributed
from mtscale.training.distributed import Ranks
from mtscale.training.engine import Engine
from tests.equality_worker import SETTINGS, digest, make_batch, run

SIMILARITY = next(task for task in SAMPLE_TASKS if task.kind is Kind.SIMILARITY)
TAGGING = next(task for task in SAMPLE_TASKS if task.kind is Kind.TAGGING)
PRECISIONS: dict[Precision, JsonObject] = {
    "fp32": {},
    "autocast-bf16": {"torch_autocast": {"enabled": True, "dtype": "bfloat16"}},
    "bf16": {"bf16": {"enabled": True}},
    # The loss scale is at its minimum after the second fault.
    "fp16": {"fp16": {"enabled": True, "loss_scale": 0, "initial_scale_power": 1, "hysteresis": 1}},
}
# Autocast comes last, because DeepSpeed's stays on in the process.
CASES: tuple[tuple[Precision, int], ...] = (
    ("fp32", 0),
    ("fp32", 1),
    ("fp32", 2),
    ("bf16", 1),
    ("bf16", 2),
    ("fp16", 1),
    ("autocast-bf16", 0),
    ("autocast-bf16", 1),
)
# Two slices a rank: a fault in the first one has to survive the accumulation.
ACCUMULATION = 2
FAULTS = ("nan loss", "nan loss in one slice", "infinite loss, finite gradient", "infinite gradient", "nan everywhere")


def config(precision: Precision, stage: int) -> ResolvedDsConfig:
    content: JsonObject = {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": ACCUMULATION,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "log_level": "error",
        "timers": {"throughput": {"enabled": False}},
        **PRECISIONS[precision],
    }
    return ResolvedDsConfig(content, precision, stage, 4, ACCUMULATION)


def build(encoder_folder: str, precision: Precision, stage: int, ranks: Ranks, device: torch.device) -> Engine:
    if precision == "fp16":
        # DeepSpeed asks the processor, which multiplies fp16 slowly but well enough for a few steps of a tiny model.
        from deepspeed.accelerator import get_accelerator

        type(get_accelerator()).is_fp16_supported = lambda self: True
    encoder, _ = load_encoder(encoder_folder, 0.0, 128)
    model = MultiTaskModel(encoder, SAMPLE_TASKS, head_dropout=0.0, seed=1, mean_scores={})
    engine = Engine(model, SETTINGS, config(precision, stage), 40, ranks, device)
    engine.train()
    return engine


def everything(engine: Engine) -> dict[str, Tensor]:
    """A copy of this rank's weights, the float32 weights behind them, and the optimizer's moments and counters."""
    found = dict(engine.weights())
    inner: Any = engine._engine.optimizer
    for number, partition in enumerate(getattr(inner, "single_partition_of_fp32_groups", [])):
        found[f"float32 {number}"] = partition.detach().clone()
    states: Any = getattr(inner, "optimizer", inner).state
    for number, state in enumerate(states.values()):
        found |= {f"{name} {number}": torch.as_tensor(value).float().clone() for name, value in state.items()}
    return found


def slices(task: Task, step: int, ranks: Ranks) -> list[Batch]:
    return [
        make_batch(task, torch.Generator().manual_seed(1000 * step + 10 * ranks.rank + number))
        for number in range(ACCUMULATION)
    ]


def faulty_step(engine: Engine, fault: str, step: int, ranks: Ranks) -> bool:
    """A step of the similarity task with the fault in the last rank's slices (unless it is everywhere)."""
    own = slices(SIMILARITY, step, ranks)
    guilty = ranks.rank == ranks.world_size - 1 or fault == "nan everywhere"
    hook = None
    if guilty and fault == "infinite gradient":
        weight = engine.model.head(SIMILARITY.name).output.weight
        hook = weight.register_hook(lambda gradient: gradient * math.inf)
    elif guilty and fault == "infinite loss, finite gradient":
        # The square of the error is beyond float32, its gradient is not.
        own[0].labels[0] = 1.9e19  # type: ignore[index]
    elif guilty:
        for batch in own[:1] if fault == "nan loss in one slice" else own:
            batch.labels[0] = math.nan  # type: ignore[index]
    result = engine.step(SIMILARITY.name, own, terms=10, step=step)
    if hook is not None:
        hook.remove()
    return result.applied


def good_step(engine: Engine, task: Task, step: int, ranks: Ranks) -> bool:
    return engine.step(task.name, slices(task, step, ranks), terms=10, step=step).applied


def train(engine: Engine, ranks: Ranks) -> list[dict[str, object]]:
    """For each fault: what it changed, whether ranks agree, and whether the step behind it trains as usual."""
    records: list[dict[str, object]] = []
    for step, task in enumerate(SAMPLE_TASKS):  # so that every head has moments
        assert good_step(engine, task, step, ranks)
    for number, fault in enumerate(FAULTS):
        step = len(SAMPLE_TASKS) + 2 * number
        before = everything(engine)
        applied = faulty_step(engine, fault, step, ranks)
        after = everything(engine)
        changed = sorted(name for name in before if not torch.equal(before[name], after[name]))
        went_on = good_step(engine, TAGGING if number % 2 else SIMILARITY, step + 1, ranks)
        end = engine.weights()
        record = {
            "fault": fault,
            "applied": applied,
            "changed": changed,
            "new": sorted(after.keys() - before.keys()),
            "went on": went_on,
            "moved": any(not torch.equal(end[name], before[name]) for name in end),
            "finite": all(bool(torch.isfinite(tensor).all()) for tensor in end.values()),
            "digest": digest(end),
        }
        gathered = distributed.gather(record, ranks)
        records.append({"fault": fault, "ranks": gathered})
    return records if ranks.is_main else []


def all_cases(encoder: str, ranks: Ranks, device: torch.device) -> list[Any]:
    """The records of each case."""
    records = []
    for precision, stage in CASES:
        engine = build(encoder, precision, stage, ranks, device)
        records.append(train(engine, ranks))
        engine.close()
    return records


if __name__ == "__main__":
    run(all_cases)
