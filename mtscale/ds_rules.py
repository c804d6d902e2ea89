"""What is wrong with a DeepSpeed JSON, found before torch is loaded.

Refused is what DeepSpeed 0.19.8 accepts and then trains wrongly, ignores silently, or refuses only after the model has
loaded. ``tests/test_deepspeed_claims.py`` measures the facts behind the rules.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from mtscale.ds_config import (
    BF16_CAPABILITY,
    FP16_CAPABILITY,
    NO_MICRO_BATCH,
    SHIPPED,
    JsonObject,
    Machine,
    block,
    enabled,
    largest_micro_batch,
    shipped_for,
    whole,
    zero_stage,
)

# Keys of DeepSpeed that have a meaning in this project; every other top-level key is refused.
KEYS = (
    "train_batch_size",
    "train_micro_batch_size_per_gpu",
    "gradient_accumulation_steps",
    "gradient_clipping",
    "fp16",
    "bf16",
    "torch_autocast",
    "data_types",
    "communication_data_type",
    "zero_optimization",
    "zero_allow_untested_optimizer",
    "checkpoint",
    "comms_logger",
    "flops_profiler",
    "timers",
    "wall_clock_breakdown",
    "memory_breakdown",
    "dump_state",
    "steps_per_print",
    "log_level",
    "disable_python_gc",
)
# DeepSpeed raises on these (runtime/config.py, _REMOVED_TOP_LEVEL_CONFIG_KEYS), but only after the model has loaded.
REMOVED_KEYS = (
    "nebula",
    "compression_training",
    "amp",
    "quantize_training",
    "sparse_gradients",
    "eigenvalue",
    "sparse_attention",
    "elasticity",
    "graph_harvesting",
    "curriculum_learning",
    "progressive_layer_drop",
)
# The keys of each block that have a meaning here; blocks that only measure are left to DeepSpeed.
BLOCK_KEYS: Mapping[str, tuple[str, ...]] = {
    "fp16": (
        "enabled",
        "loss_scale",
        "initial_scale_power",
        "loss_scale_window",
        "hysteresis",
        "consecutive_hysteresis",
        "min_loss_scale",
    ),
    "bf16": ("enabled", "check_grad_overflow"),
    "torch_autocast": ("enabled", "dtype", "lower_precision_safe_modules"),
    "data_types": ("grad_accum_dtype",),
    "zero_optimization": (
        "stage",
        "contiguous_gradients",
        "overlap_comm",
        "reduce_scatter",
        "reduce_bucket_size",
        "use_multi_rank_bucket_allreduce",
        "allgather_partitions",
        "allgather_bucket_size",
        "round_robin_gradients",
        "parameter_alignment",
        "compute_grad_norm",
        "ignore_unused_parameters",
    ),
    "checkpoint": ("tag_validation",),
}
_BFLOAT16 = ("bf16", "bfloat16", "torch.bfloat16")
_FLOAT32 = ("fp32", "float32", "float", "torch.float32")


def check(config: JsonObject, *, path: Path, machine: Machine) -> list[str]:
    """All problems of a config on a machine, one line each: what, why, and what to use instead."""
    where = f"ds_configs/{path.name}" if path.parent.resolve() == SHIPPED.resolve() else str(path)
    return [f"{where} {problem}" for rule in _RULES for problem in rule(config, machine)]


def _keys(config: JsonObject, machine: Machine) -> Iterator[str]:
    """DeepSpeed ignores unknown top-level keys silently; optimizer and scheduler belong to the recipe."""
    for key in config:
        if key in ("optimizer", "scheduler"):
            yield f"has a block {key!r}, but the recipe owns it; delete the block"
        elif key in REMOVED_KEYS:
            yield f"has the key {key!r}, which was removed from DeepSpeed; delete it"
        elif key not in KEYS:
            yield f"has the key {key!r}, which mtscale does not pass on to DeepSpeed; {_nearest(key, KEYS)}"
    for name, known in BLOCK_KEYS.items():
        for key in block(config, name):
            if key not in known and (name, key) not in _WRONG_VALUES and not _is_explained(name, key):
                yield (
                    f"has the key {name}.{key}, which mtscale does not pass on to DeepSpeed; "
                    f"{_nearest(key, known)} (expected {', '.join(known)})"
                )


def _nearest(key: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "delete it"


def _is_explained(name: str, key: str) -> bool:
    """Whether a key that is not known has a refusal of its own, or says no to what would be refused."""
    return name == "zero_optimization" and ("offload" in key or key == "zenflow" or _was_removed(key))


def _was_removed(key: str) -> bool:
    return key.startswith("mics_") or key == "zeropp_loco_param"


def _types(config: JsonObject, machine: Machine) -> Iterator[str]:
    """A block of another type would leave a setting silently off."""
    if largest_micro_batch(config) is None:
        yield NO_MICRO_BATCH
    for name in (*BLOCK_KEYS, "timers"):
        if not isinstance(config.get(name, {}), dict):
            yield f"must give {name!r} as an object {{...}}, found {config[name]!r}"
    for name in ("fp16", "bf16", "torch_autocast"):
        enabled = block(config, name).get("enabled", False)
        if not isinstance(enabled, bool) and not (name == "torch_autocast" and enabled == "auto"):
            yield f"must set {name}.enabled to true or false, found {enabled!r}"
    validation = block(config, "checkpoint").get("tag_validation", "FAIL")
    if not isinstance(validation, str) or validation.upper() not in ("IGNORE", "WARN", "FAIL"):
        yield f'must set checkpoint.tag_validation to "FAIL", "WARN" or "IGNORE", found {validation!r}'


def _half_precision(config: JsonObject, machine: Machine) -> Iterator[str]:
    """fp16 and bf16 blocks: one at most, on a GPU that computes in it, and with ZeRO's fp32 master weights."""
    instead = f"Use --ds_config {shipped_for(machine)}"
    chosen = [name for name in ("fp16", "bf16", "torch_autocast") if enabled(config, name)]
    if len(chosen) > 1:
        yield f"asks for {' and '.join(chosen)} at once, expected one precision. {instead}"
    for name, needed in (("fp16", FP16_CAPABILITY), ("bf16", BF16_CAPABILITY)):
        if not enabled(config, name):
            continue
        if machine.accelerator == "cpu":
            # bf16 would run, but whoever writes this block expects a GPU and should hear that there is none.
            where = "on the CPU, whose fp16 is unusable" if name == "fp16" else "on the CPU without a word"
            yield f"asks for {name}, but this machine has no CUDA GPU (DeepSpeed would train {where}). {instead}"
        elif not machine.has_gpu(needed):
            # torch.cuda.is_bf16_supported() says yes on a V100 because it counts emulation, so it is not asked.
            yield (
                f"asks for {name}, but {machine.device_name} has compute capability {_capability(machine)} and "
                f"{name} needs {needed[0]}.{needed[1]}. {instead}"
            )
    if zero_stage(config) > 0:
        return
    if enabled(config, "fp16"):
        # DeepSpeed pull request 8393, open at 0.19.8: the loss is not scaled, the gradients are divided by the scale.
        yield f"asks for fp16 with ZeRO stage 0, where DeepSpeed's loss scaling is broken: set stage 1. {instead}"
    if enabled(config, "bf16"):
        # DeepSpeed's wrapper takes a real optimizer step with zero gradients before the first batch.
        yield (
            "asks for bf16 with ZeRO stage 0, where DeepSpeed moves the weights before the first batch: set "
            f'stage 1, or replace the block by "torch_autocast": {{"enabled": true}}. {instead}'
        )


def _autocast(config: JsonObject, machine: Machine) -> Iterator[str]:
    """Autocast is for bfloat16. On a CPU without the instructions it is allowed: slow, but right."""
    autocast = block(config, "torch_autocast")
    if "dtype" in autocast and autocast["dtype"] not in _BFLOAT16:
        # float16: gradients are clipped while still scaled, and an overflow never lowers the scale (stages 1 and 2).
        yield (
            f'sets torch_autocast.dtype to {autocast["dtype"]!r}, expected "bfloat16" (DeepSpeed clips float16 '
            f"gradients before it unscales them). Use --ds_config {shipped_for(machine)}"
        )
    if enabled(config, "torch_autocast") and machine.accelerator == "cuda" and not machine.fast_bf16:
        yield (
            f"asks for bfloat16 autocast, but {machine.device_name} has compute capability {_capability(machine)} and "
            f"would emulate it. Use --ds_config {shipped_for(machine)}"
        )


def _zero(config: JsonObject, machine: Machine) -> Iterator[str]:
    """ZeRO 0 to 2 on the device itself, with the gradient reduction that multi-task training needs."""
    zero = block(config, "zero_optimization")
    stage = zero.get("stage", 0)
    instead = f"Use --ds_config {shipped_for(machine)}"
    if stage == 3:
        # A head without a gradient on some rank never joins stage 3's collectives.
        yield f"asks for ZeRO stage 3, which can hang when heads are idle and shards a model that is small. {instead}"
    elif whole(stage) not in (0, 1, 2):
        yield f"must set zero_optimization.stage to 0, 1 or 2, found {stage!r}. {instead}"
    for key in sorted(zero):
        if ("offload" in key or key == "zenflow") and zero[key]:
            # Offloading replaces the recipe's optimizer by DeepSpeed's CPU Adam, or raises.
            yield f"asks for zero_optimization.{key}, but only DeepSpeed's own optimizers can be offloaded: delete it"
        elif _was_removed(key):
            yield f"has the key zero_optimization.{key}, which was removed from DeepSpeed; delete it"
    if stage == 1 and zero.get("overlap_comm") is True:
        yield (
            "sets zero_optimization.overlap_comm to true with ZeRO stage 1, which leaves the gradients of heads that "
            "are idle in the last micro-batch unreduced: delete it"
        )
    grad_accum_dtype = block(config, "data_types").get("grad_accum_dtype")
    if enabled(config, "bf16") and stage == 1 and grad_accum_dtype in _FLOAT32:
        yield (
            "combines bf16, ZeRO stage 1 and grad_accum_dtype fp32, which selects DeepSpeed's BF16_Optimizer, whose "
            f"checkpoints cannot be converted to fp32: delete grad_accum_dtype or set stage 2. {instead}"
        )
    if stage != 0 and config.get("zero_allow_untested_optimizer", True) is not True:
        # DeepSpeed's list of tested optimizers goes by exact type and has no Adamax.
        yield 'must leave "zero_allow_untested_optimizer" true with ZeRO: the optimizer is mtscale\'s own; delete it'


def _values(config: JsonObject, machine: Machine) -> Iterator[str]:
    """Single values that are never right here, whatever stands beside them."""
    for (name, key), (right, why) in _WRONG_VALUES.items():
        value = block(config, name).get(key)
        if value is not None and value != right:
            yield f"sets {name}.{key} to {json.dumps(value)}, which {why}: delete it"


def _communication(config: JsonObject, machine: Machine) -> Iterator[str]:
    """Gradients are reduced in float32 or in the precision they have: only that is scaled for its range."""
    chosen = config.get("communication_data_type")
    own = next((name for name in ("fp16", "bf16") if enabled(config, name)), None)
    allowed = {None: (), "fp16": ("fp16", "float16", "half"), "bf16": ("bf16", "bfloat16")}[own]
    if chosen is not None and chosen not in (*_FLOAT32, *allowed):
        yield (
            f"sets communication_data_type to {json.dumps(chosen)}, expected "
            f'"fp32"{f" or {json.dumps(own)}" if own else ""}: gradients would leave the range of that type'
        )


# The value that is right, and what any other one does.
_WRONG_VALUES: Mapping[tuple[str, str], tuple[object, str]] = {
    ("zero_optimization", "compute_grad_norm"): (True, "leaves no norm to clip by and to record"),
    ("zero_optimization", "elastic_checkpoint"): (
        False,
        "does not make a checkpoint fit another number of ranks (mtscale goes on with any number by itself)",
    ),
    ("checkpoint", "load_universal"): (
        False,
        "needs a converted checkpoint, and DeepSpeed's converter knows Adam's moments only",
    ),
    ("checkpoint", "use_node_local_storage"): (False, "scatters a checkpoint over machines"),
    ("bf16", "check_grad_overflow"): (True, "lets gradients that are not finite reach the weights"),
    ("bf16", "bf16_master_weights_and_grads"): (False, "rounds away updates that are small against the weights"),
    ("bf16", "bf16_optimizer_states"): (False, "rounds away updates that are small against the moments"),
    ("fp16", "fp16_master_weights_and_grads"): (False, "only DeepSpeed's own CPU Adam can do"),
    ("fp16", "loss_scale"): (0, "fixes the scale, so that a gradient which overflows once overflows in every step"),
}


def _capability(machine: Machine) -> str:
    return ".".join(str(part) for part in machine.compute_capability or ())


_RULES: tuple[Callable[[JsonObject, Machine], Iterator[str]], ...] = (
    _keys,
    _types,
    _half_precision,
    _autocast,
    _zero,
    _values,
    _communication,
)
