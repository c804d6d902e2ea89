"""The DeepSpeed JSON: found, read and completed from the recipe. Without torch. ``ds_rules`` checks it.

The JSON says *on which hardware*: precision, ZeRO, buckets and the largest micro-batch. The recipe owns the global
batch size and the clipping, so those keys stand as ``"auto"`` in the JSON and a conflicting number is refused.
"""

from __future__ import annotations

import copy
import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mtscale.errors import ConfigError

JsonObject = dict[str, object]
Precision = Literal["fp32", "fp16", "bf16", "autocast-bf16"]

_PACKAGE = Path(__file__).parent
# Installed, the files travel inside the package; in a checkout they lie beside it.
SHIPPED = _PACKAGE / "ds_configs" if (_PACKAGE / "ds_configs").is_dir() else _PACKAGE.parent / "ds_configs"

BF16_CAPABILITY = (8, 0)
FP16_CAPABILITY = (7, 0)
NO_MICRO_BATCH = (
    "must give train_micro_batch_size_per_gpu, the largest number of examples one device takes at once, as a whole "
    "number above 0; start from 32"
)


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
        return self.cpu_bf16 if self.accelerator == "cpu" else self.has_gpu(BF16_CAPABILITY)


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
    if machine.has_gpu(BF16_CAPABILITY):
        return "ds_configs/a100.json"
    if machine.has_gpu(FP16_CAPABILITY):
        return "ds_configs/v100.json"
    # Older GPUs have no usable half precision, but plain fp32 runs on any device.
    return "ds_configs/cpu-fp32.json" if machine.accelerator == "cuda" else "ds_configs/cpu.json"


def resolve(config: JsonObject, *, batch_size: int, clip: float, world_size: int, machine: Machine) -> ResolvedDsConfig:
    """Complete a checked config: the recipe's batch size and clipping, the derived accumulation, the precision.

    ``batch_size`` is global, in examples; ``world_size`` counts ranks.

    Raises:
        ConfigError: the JSON gives a number that conflicts with the recipe, or no largest micro-batch.
    """
    largest = largest_micro_batch(config)
    if largest is None:
        raise ConfigError(f"the DeepSpeed config {NO_MICRO_BATCH}")
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
        resolved["torch_autocast"] = {**block(config, "torch_autocast"), "enabled": True, "dtype": "bfloat16"}
    # The throughput timer is on by default and synchronises the device at every step.
    resolved.setdefault("timers", {"throughput": {"enabled": False}})
    resolved.setdefault("log_level", "warning")
    return ResolvedDsConfig(resolved, precision, zero_stage(config), micro_batch, accumulation)


def _precision(config: JsonObject, machine: Machine) -> Precision:
    """What the forward pass computes in; ``"auto"`` autocast is on where bfloat16 is fast."""
    if enabled(config, "fp16"):
        return "fp16"
    if enabled(config, "bf16"):
        return "bf16"
    autocast = block(config, "torch_autocast").get("enabled", False)
    return "autocast-bf16" if autocast is True or (autocast == "auto" and machine.fast_bf16) else "fp32"


def block(config: JsonObject, name: str) -> JsonObject:
    """A sub-object; empty where it is absent or, which the check reports, not an object."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def enabled(config: JsonObject, name: str) -> bool:
    """Whether a sub-object is switched on."""
    return block(config, name).get("enabled") is True


def whole(value: object) -> int | None:
    """A JSON whole number; ``true`` is an int in Python but not one in JSON."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def zero_stage(config: JsonObject) -> int:
    """The ZeRO stage; 0 where none is given."""
    return whole(block(config, "zero_optimization").get("stage", 0)) or 0


def largest_micro_batch(config: JsonObject) -> int | None:
    """Examples that one device takes at once; None where the JSON does not say so."""
    number = whole(config.get("train_micro_batch_size_per_gpu"))
    return number if number is not None and number > 0 else None
