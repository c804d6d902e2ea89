"""What a run will need, before it starts: steps, pieces, truncation, memory, time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig

from mtscale import names
from mtscale.ds_config import ResolvedDsConfig
from mtscale.model.encoder import locate
from mtscale.pretraining.text import PretrainText
from mtscale.training import duration
from mtscale.training.job import Job, Member
from mtscale.training.loop import Splits, schedule_of
from mtscale.training.pretrain_run import new_config, pretrain_plan

# A process with torch, DeepSpeed, transformers and Arrow loaded, before any model. Measured on Linux x86_64, CPU build.
LIBRARIES_GIB = 0.7
# What a process on a CPU comes to hold beside the libraries, over what the largest step needs: freed memory stays with
# it (training/host_memory.py), and slices of other lengths do not fit the holes. Measured over whole runs of the sample
# (3.2 to 3.4 GiB resident) and of one epoch of BC5CDR (2.6).
KEPT_ON_CPU = 2.5


def describe(job: Job, splits: Splits, world_size: int, text: PretrainText | None = None) -> dict[str, Any]:
    """The whole plan of a job as plain data, for ``--dry-run``; ``text`` is that of a family with stage pretrain."""
    runs = [
        _describe_run(job, member, splits, world_size, text)
        if member.stage != "pretrain" or text is None
        else _describe_pretraining(job, member, text, world_size)
        for member in job.members
    ]
    tasks = {
        name: {
            split: {
                **encoded.counts.as_dict(),
                "longest": int(encoded.lengths.max()),
                "mean": float(encoded.lengths.mean()),
            }
            for split, encoded in by_split.items()
        }
        for name, by_split in splits.items()
    }
    return {
        "family": job.family,
        "runs": runs,
        "tasks": tasks,
        "text": None if text is None else {**asdict(text.corpus.total), "shards": len(text.corpus.counts)},
        "seconds": sum(run["seconds"] for run in runs),
        "seconds_are_a_guess": job.machine.accelerator != "cpu",
    }


def _describe_run(
    job: Job, member: Member, splits: Splits, world_size: int, text: PretrainText | None
) -> dict[str, Any]:
    settings = job.recipe.settings(member.stage)
    resolved = job.resolved(member.stage, world_size)
    schedule = schedule_of(member.tasks, settings, member.seed, splits)
    per_epoch = schedule.steps_per_epoch
    config = _config(job, text)
    counts = schedule.counts(1)
    chosen_on = names.chosen_on(job.recipe.protocol)
    work = duration.work_of(counts, settings.epochs, settings.batch_size, splits, chosen_on=chosen_on)
    sampled = duration.affinity_work(work, settings.affinity_every, len(member.tasks), settings.batch_size)
    gradients = len(member.tasks) if sampled.trained else 0
    longest = longest_slice([splits[task.name]["train"].lengths for task in member.tasks], resolved.micro_batch)
    return {
        **_facts(job, member, resolved, world_size),
        "epochs": settings.epochs,
        "steps_per_epoch": per_epoch,
        "steps": per_epoch * settings.epochs,
        "steps_by_task": {epoch: schedule.counts(epoch) for epoch in sorted({1, settings.epochs})},
        "batch_size": settings.batch_size,
        "memory_gib": round(memory_gib(config, resolved, job.machine.accelerator, world_size, longest, gradients), 2),
        "seconds": _seconds(job, work, config, size_of(config), resolved, world_size)
        + round(
            # Affinities are computed in float32, whatever the precision.
            duration.seconds_on_pieces(sampled, config, size_of(config), "fp32", job.machine.accelerator, world_size)
        ),
    }


def _describe_pretraining(job: Job, member: Member, text: PretrainText, world_size: int) -> dict[str, Any]:
    """A pretraining run; its size counts the output layer for the share of pieces that are predicted."""
    plan = pretrain_plan(job, member, text, world_size)
    settings, total = plan.settings, text.corpus.total
    config, per_epoch = _config(job, text), plan.schedule.steps_per_epoch
    epochs = plan.steps / per_epoch
    looks = 1 + (plan.steps // settings.evaluate_every if settings.evaluate_every else round(epochs))
    pieces, heldout = total.pieces + 2 * total.rows, total.heldout_pieces + 2 * total.heldout_rows
    work = duration.Work(epochs * pieces, looks * heldout, plan.steps, pieces / total.rows)
    size = size_of(config)
    output = round(settings.mask_rate * config.vocab_size * config.hidden_size)
    slice_pieces = plan.resolved.micro_batch * job.recipe.encoder.max_pieces
    # The logits in float32, their gradient, and the probabilities between them.
    logits = 3 * 4 * settings.mask_rate * slice_pieces * config.vocab_size / 2**30
    memory = memory_gib(config, plan.resolved, job.machine.accelerator, world_size, slice_pieces) + logits
    return {
        **_facts(job, member, plan.resolved, world_size),
        "epochs": round(epochs, 2) if plan.steps % per_epoch else plan.steps // per_epoch,
        "steps_per_epoch": per_epoch,
        "steps": plan.steps,
        "batch_size": settings.batch_size,
        "memory_gib": round(memory, 2),
        "seconds": _seconds(
            job, work, config, duration.Size(size.parameters, size.in_layers + output), plan.resolved, world_size
        ),
    }


def _facts(job: Job, member: Member, resolved: ResolvedDsConfig, world_size: int) -> dict[str, Any]:
    return {
        "run": member.name,
        "stage": member.stage,
        "seed": member.seed,
        "tasks": [task.name for task in member.tasks],
        "micro_batch": resolved.micro_batch,
        "accumulation": resolved.accumulation,
        "world_size": world_size,
        "precision": resolved.precision,
        "zero_stage": resolved.zero_stage,
    }


def _seconds(
    job: Job,
    work: duration.Work,
    config: PretrainedConfig,
    size: duration.Size,
    resolved: ResolvedDsConfig,
    world_size: int,
) -> int:
    return round(duration.seconds(work, config, size, resolved.precision, job.machine.accelerator, world_size))


def _config(job: Job, text: PretrainText | None) -> PretrainedConfig:
    """The configuration of the encoder that the first run of the family starts from."""
    if text is not None and job.recipe.pretrain.start == "scratch":
        return new_config(job.recipe, text)
    config: PretrainedConfig = AutoConfig.from_pretrained(locate(job.recipe.encoder.name), trust_remote_code=False)
    return config


def size_of(config: PretrainedConfig) -> duration.Size:
    """How large an encoder is."""
    with torch.device("meta"):
        model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    named = [(name, parameter.numel()) for name, parameter in model.named_parameters()]
    looked_up = sum(number for name, number in named if "embeddings" in name or "pooler" in name)
    total = sum(number for _, number in named)
    return duration.Size(total, total - looked_up)


def longest_slice(lengths: Sequence[np.ndarray[Any, Any]], micro_batch: int) -> int:
    """Pieces, padding included, of the largest slice that can come up."""
    return max(int(of_task.max()) * min(micro_batch, len(of_task)) for of_task in lengths)


def memory_gib(
    config: PretrainedConfig,
    resolved: ResolvedDsConfig,
    accelerator: str,
    world_size: int,
    slice_pieces: int,
    gradients: int = 0,
) -> float:
    """Estimated peak memory of one rank in GiB: libraries, weights with optimizer, activations.

    Weights: float32 weight, gradient and two Adamax moments, 16 bytes a parameter; with fp16 or bf16 and ZeRO, 2 + 2
    bytes and the 12 of the float32 copy and moments divided by the ranks. Activations: 34 h + 5 a L bytes a piece and
    layer in 16 bit, twice that in float32 (Korthikanti et al. 2022, arXiv:2205.05198, equation 2). Where affinities are
    sampled, so many ``gradients`` and one or two copies in float32. On a CPU ``KEPT_ON_CPU`` times that. An estimate:
    it has been within a factor of 2 of what was measured at the end of runs.
    """
    parameters = size_of(config).parameters
    if resolved.precision in ("fp16", "bf16"):
        state = parameters * (4 + 12 / world_size)
    else:
        state = parameters * (8 + 8 / (world_size if resolved.zero_stage else 1))
    width = 1 if resolved.precision != "fp32" else 2
    if gradients:
        state += parameters * 4 * (gradients + (2 if resolved.precision in ("fp16", "bf16") else 1))
    length = min(config.max_position_embeddings, 128)
    per_piece = 34 * config.hidden_size + 5 * config.num_attention_heads * length
    activations = slice_pieces * config.num_hidden_layers * per_piece * width
    kept = KEPT_ON_CPU if accelerator == "cpu" else 1.0
    return LIBRARIES_GIB + kept * float(state + activations) / 2**30
