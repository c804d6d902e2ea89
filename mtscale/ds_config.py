"""The DeepSpeed JSON: found, read, checked against the machine and completed from the recipe. Without torch.

The JSON says *on which hardware*: precision, ZeRO, buckets and the largest micro-batch. The recipe owns the global
batch size and the clipping, so those keys stand as ``"auto"`` in the JSON and a conflicting number is refused.
What is refused here is what DeepSpeed 0.19.8 accepts and then trains wrongly, ignores silently, or refuses only
after the model has loaded.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mtscale.errors import ConfigError

JsonObject = dict[str, object]
Precision = Literal["fp32", "fp16", "bf16", "autocast-bf16"]

_PACKAGE = Path(__file__).parent
# Installed, the files travel inside the package; in a checkout they lie beside it.
SHIPPED = _PACKAGE / "ds_configs" if (_PACKAGE / "ds_configs").is_dir() else _PACKAGE.parent / "ds_configs"

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
_BLOCKS = ("fp16", "bf16", "torch_autocast", "data_types", "zero_optimization", "checkpoint", "timers")
_AUTOCAST_KEYS = ("enabled", "dtype", "lower_precision_safe_modules")
_BFLOAT16 = ("bf16", "bfloat16", "torch.bfloat16")
_FLOAT32 = ("fp32", "float32", "float", "torch.float32")
_BF16_CAPABILITY = (8, 0)
_FP16_CAPABILITY = (7, 0)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the checks must know of the hardware; ``mtscale.training.machine.probe`` finds it out.

    With several GPUs ``device_name`` and ``compute_capability`` are those of the weakest. ``compute_capability`` is
    None and ``gpu_count`` 0 on the CPU. ``cpu_bf16``: the processor multiplies bfloat16 (AVX512_BF16 or AMX).
    """

    accelerator: Literal["cuda", "cpu"]
    device_name: str
    compute_capability: tuple[int, int] | None
    gpu_count: int
    cpu_bf16: bool

    def has_gpu(self, capability: tuple[int, int]) -> bool:
        """Whether every GPU has at least this compute capability."""
        return self.compute_capability is not None and self.compute_capability >= capability

    @property
    def fast_bf16(self) -> bool:
        """Whether bfloat16 is computed by instructions of its own and not emulated."""
        return self.cpu_bf16 if self.accelerator == "cpu" else self.has_gpu(_BF16_CAPABILITY)


@dataclass(frozen=True, slots=True)
class ResolvedDsConfig:
    """A checked JSON with every ``"auto"`` replaced.

    ``config`` goes to ``deepspeed.initialize``. The global batch is cut into world size x ``accumulation`` slices
    of at most ``micro_batch`` examples.
    """

    config: JsonObject
    precision: Precision
    zero_stage: int
    micro_batch: int
    accumulation: int


def find(name_or_path: str) -> Path:
    """The file meant by ``--ds_config``: a shipped name (``cpu``, ``cpu.json``, ``ds_configs/cpu.json``) or a path.

    A bare name means the shipped file even if the current folder has one of that name (write ``./cpu.json`` for it).

    Raises:
        ConfigError: there is neither a shipped config nor a file of that name.
    """
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.json"))}
    path = Path(name_or_path).expanduser()
    if "/" in name_or_path and path.is_file():
        return path
    stem = name_or_path.removeprefix("ds_configs/").removesuffix(".json")
    if stem in shipped:
        return shipped[stem]
    if path.is_file():
        return path
    close = difflib.get_close_matches(stem, shipped, n=1)
    hint = f"; did you mean {close[0]}.json?" if close else ""
    raise ConfigError(
        f"--ds_config {name_or_path}: no such file and no shipped config{hint} "
        f"(shipped: {', '.join(f'{name}.json' for name in shipped)})"
    )


def load(path: Path) -> JsonObject:
    """Read a DeepSpeed JSON.

    Raises:
        ConfigError: the file cannot be read, is not JSON (with file:line), gives a key twice or is not an object.
    """

    def unique(pairs: list[tuple[str, object]]) -> JsonObject:
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ConfigError(f"{path}: key {twice[0]!r} is given twice in one object; keep one")
        return dict(pairs)

    try:
        config = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: expected JSON, found an error: {error.msg}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: expected JSON in UTF-8, found other bytes") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected a JSON object {{...}}, found a {type(config).__name__}")
    return config


def shipped_for(machine: Machine) -> str:
    """The shipped config that fits a machine, e.g. ``"ds_configs/v100.json"``; every name is valid for ``find``."""
    if machine.has_gpu(_BF16_CAPABILITY):
        return "ds_configs/a100.json"
    if machine.has_gpu(_FP16_CAPABILITY):
        return "ds_configs/v100.json"
    # Older GPUs have no usable half precision, but plain fp32 runs on any device.
    return "ds_configs/cpu-fp32.json" if machine.accelerator == "cuda" else "ds_configs/cpu.json"


def check(config: JsonObject, *, path: Path, machine: Machine) -> list[str]:
    """All problems of a config on a machine, one line each: what, why, and what to use instead."""
    where = f"ds_configs/{path.name}" if path.parent.resolve() == SHIPPED.resolve() else str(path)
    return [f"{where} {problem}" for rule in _RULES for problem in rule(config, machine)]


def resolve(config: JsonObject, *, batch_size: int, clip: float, world_size: int, machine: Machine) -> ResolvedDsConfig:
    """Complete a checked config: the recipe's batch size and clipping, the derived accumulation, the precision.

    ``batch_size`` is global, in examples; ``world_size`` counts ranks.

    Raises:
        ConfigError: the JSON gives a number that conflicts with the recipe, or no largest micro-batch.
    """
    largest = _largest_micro_batch(config)
    if largest is None:
        raise ConfigError(f"the DeepSpeed config {_NO_MICRO_BATCH}")
    accumulation = -(-batch_size // (world_size * largest))
    micro_batch = -(-batch_size // (world_size * accumulation))
    owned = {
        "train_batch_size": batch_size,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": clip,
    }
    conflicts = [
        f"the DeepSpeed config sets {key} to {config[key]!r}, but the recipe makes it {number}; write "
        f'"auto" there and change the recipe if {number} is not what you want'
        for key, number in owned.items()
        if config.get(key, "auto") not in ("auto", number)
    ]
    if conflicts:
        raise ConfigError("\n".join(conflicts))

    precision = _precision(config, machine)
    resolved = copy.deepcopy(config)
    # DeepSpeed insists on batch = micro-batch x accumulation x ranks, which an uneven cut does not satisfy.
    # Left out, it is computed from the other two; it only feeds DeepSpeed's own counters.
    resolved.pop("train_batch_size", None)
    resolved["train_micro_batch_size_per_gpu"] = micro_batch
    resolved["gradient_accumulation_steps"] = accumulation
    resolved["gradient_clipping"] = clip
    resolved["zero_allow_untested_optimizer"] = True
    resolved.pop("torch_autocast", None)
    if precision == "autocast-bf16":
        # Without a dtype torch.autocast takes float16 on CUDA.
        resolved["torch_autocast"] = {**_block(config, "torch_autocast"), "enabled": True, "dtype": "bfloat16"}
    # The throughput timer is on by default and synchronises the device at every step.
    resolved.setdefault("timers", {"throughput": {"enabled": False}})
    resolved.setdefault("log_level", "warning")
    return ResolvedDsConfig(resolved, precision, _zero_stage(config), micro_batch, accumulation)


def _precision(config: JsonObject, machine: Machine) -> Precision:
    """What the forward pass computes in; ``"auto"`` autocast is on where bfloat16 is fast."""
    if _enabled(config, "fp16"):
        return "fp16"
    if _enabled(config, "bf16"):
        return "bf16"
    autocast = _block(config, "torch_autocast").get("enabled", False)
    return "autocast-bf16" if autocast is True or (autocast == "auto" and machine.fast_bf16) else "fp32"


def _block(config: JsonObject, name: str) -> JsonObject:
    """A sub-object; empty where it is absent or, which ``_types`` reports, not an object."""
    block = config.get(name)
    return block if isinstance(block, dict) else {}


def _enabled(config: JsonObject, name: str) -> bool:
    return _block(config, name).get("enabled") is True


def _whole(value: object) -> int | None:
    """A JSON whole number; ``true`` is an int in Python but not one in JSON."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _zero_stage(config: JsonObject) -> int:
    return _whole(_block(config, "zero_optimization").get("stage", 0)) or 0


def _largest_micro_batch(config: JsonObject) -> int | None:
    number = _whole(config.get("train_micro_batch_size_per_gpu"))
    return number if number is not None and number > 0 else None


_NO_MICRO_BATCH = (
    "must give train_micro_batch_size_per_gpu, the largest number of examples one device takes at once, as a whole "
    "number above 0; start from 32"
)


def _keys(config: JsonObject, machine: Machine) -> Iterator[str]:
    """DeepSpeed ignores unknown top-level keys silently; optimizer and scheduler belong to the recipe."""
    for key in config:
        if key in ("optimizer", "scheduler"):
            yield f"has a block {key!r}, but the recipe owns it; delete the block"
        elif key in REMOVED_KEYS:
            yield f"has the key {key!r}, which was removed from DeepSpeed; delete it"
        elif key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "delete it"
            yield f"has the key {key!r}, which mtscale does not pass on to DeepSpeed; {hint}"


def _types(config: JsonObject, machine: Machine) -> Iterator[str]:
    """A block of another type, or a misspelt autocast key, would leave a setting silently off."""
    if _largest_micro_batch(config) is None:
        yield _NO_MICRO_BATCH
    for name in _BLOCKS:
        if not isinstance(config.get(name, {}), dict):
            yield f"must give {name!r} as an object {{...}}, found {config[name]!r}"
    for name in ("fp16", "bf16", "torch_autocast"):
        enabled = _block(config, name).get("enabled", False)
        if not isinstance(enabled, bool) and not (name == "torch_autocast" and enabled == "auto"):
            yield f"must set {name}.enabled to true or false, found {enabled!r}"
    for key in _block(config, "torch_autocast"):
        if key not in _AUTOCAST_KEYS:
            yield f"has the key torch_autocast.{key}, expected one of {', '.join(_AUTOCAST_KEYS)}"


def _half_precision(config: JsonObject, machine: Machine) -> Iterator[str]:
    """fp16 and bf16 blocks: one at most, on a GPU that computes in it, and with ZeRO's fp32 master weights."""
    instead = f"Use --ds_config {shipped_for(machine)}"
    chosen = [name for name in ("fp16", "bf16", "torch_autocast") if _enabled(config, name)]
    if len(chosen) > 1:
        yield f"asks for {' and '.join(chosen)} at once, expected one precision. {instead}"
    for name, needed in (("fp16", _FP16_CAPABILITY), ("bf16", _BF16_CAPABILITY)):
        if not _enabled(config, name):
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
    if _zero_stage(config) > 0:
        return
    if _enabled(config, "fp16"):
        # DeepSpeed pull request 8393, open at 0.19.8: the loss is not scaled, the gradients are divided by the scale.
        yield f"asks for fp16 with ZeRO stage 0, where DeepSpeed's loss scaling is broken: set stage 1. {instead}"
    if _enabled(config, "bf16"):
        # DeepSpeed's wrapper takes a real optimizer step with zero gradients before the first batch.
        yield (
            "asks for bf16 with ZeRO stage 0, where DeepSpeed moves the weights before the first batch: set "
            f'stage 1, or replace the block by "torch_autocast": {{"enabled": true}}. {instead}'
        )


def _autocast(config: JsonObject, machine: Machine) -> Iterator[str]:
    """Autocast is for bfloat16. On a CPU without the instructions it is allowed: slow, but right."""
    block = _block(config, "torch_autocast")
    if "dtype" in block and block["dtype"] not in _BFLOAT16:
        # float16: gradients are clipped while still scaled, and an overflow never lowers the scale (stages 1 and 2).
        yield (
            f'sets torch_autocast.dtype to {block["dtype"]!r}, expected "bfloat16" (DeepSpeed clips float16 gradients '
            f"before it unscales them). Use --ds_config {shipped_for(machine)}"
        )
    if _enabled(config, "torch_autocast") and machine.accelerator == "cuda" and not machine.fast_bf16:
        yield (
            f"asks for bfloat16 autocast, but {machine.device_name} has compute capability {_capability(machine)} and "
            f"would emulate it. Use --ds_config {shipped_for(machine)}"
        )


def _zero(config: JsonObject, machine: Machine) -> Iterator[str]:
    """ZeRO 0 to 2 on the device itself, with the gradient reduction that multi-task training needs."""
    zero = _block(config, "zero_optimization")
    stage = zero.get("stage", 0)
    instead = f"Use --ds_config {shipped_for(machine)}"
    if stage == 3:
        # A head without a gradient on some rank never joins stage 3's collectives.
        yield f"asks for ZeRO stage 3, which can hang when heads are idle and shards a model that is small. {instead}"
    elif _whole(stage) not in (0, 1, 2):
        yield f"must set zero_optimization.stage to 0, 1 or 2, found {stage!r}. {instead}"
    for key in sorted(zero):
        if ("offload" in key or key == "zenflow") and zero[key]:
            # Offloading replaces the recipe's optimizer by DeepSpeed's CPU Adam, or raises.
            yield f"asks for zero_optimization.{key}, but only DeepSpeed's own optimizers can be offloaded: delete it"
        elif key.startswith("mics_") or key == "zeropp_loco_param":
            yield f"has the key zero_optimization.{key}, which was removed from DeepSpeed; delete it"
    for key, wrong, why in _ZERO_VALUES:
        if zero.get(key) is wrong:
            yield f"sets zero_optimization.{key} to {json.dumps(wrong)}, which {why}: delete it"
    grad_accum_dtype = _block(config, "data_types").get("grad_accum_dtype")
    if _enabled(config, "bf16") and stage == 1 and grad_accum_dtype in _FLOAT32:
        yield (
            "combines bf16, ZeRO stage 1 and grad_accum_dtype fp32, which selects DeepSpeed's BF16_Optimizer, whose "
            f"checkpoints cannot be converted to fp32: delete grad_accum_dtype or set stage 2. {instead}"
        )
    if stage != 0 and config.get("zero_allow_untested_optimizer", True) is not True:
        # DeepSpeed's list of tested optimizers goes by exact type and has no Adamax.
        yield 'must leave "zero_allow_untested_optimizer" true with ZeRO: the optimizer is mtscale\'s own; delete it'


_ZERO_VALUES: tuple[tuple[str, bool, str], ...] = (
    ("overlap_comm", True, "leaves the gradients of heads that are idle in the last micro-batch unreduced"),
    ("contiguous_gradients", False, "skipped the gradient reduction on CPU before DeepSpeed 0.19.8"),
    ("compute_grad_norm", False, "turns off the recipe's gradient clipping"),
)


def _capability(machine: Machine) -> str:
    return ".".join(str(part) for part in machine.compute_capability or ())


_RULES: tuple[Callable[[JsonObject, Machine], Iterator[str]], ...] = (_keys, _types, _half_precision, _autocast, _zero)
