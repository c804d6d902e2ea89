"""What this machine can compute in, found out without torch: GPUs from the CUDA driver, the CPU from the kernel."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale.ds_config import Machine

LIBCUDA = "libcuda.so.1"
CPUINFO = Path("/proc/cpuinfo")
# CUdevice_attribute in NVIDIA's cuda.h.
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76
_NAME_BYTES = 256
_ERROR_NO_DEVICE = 100
# CUDA 13 builds have no Volta (7.0): https://github.com/pytorch/pytorch/issues/172352.
_FIRST_CAPABILITY_OF_CUDA_13 = (7, 5)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One visible GPU; ``memory`` is its total in bytes."""

    name: str
    compute_capability: tuple[int, int]
    memory: int


class _Driver:
    """The few calls of the CUDA driver API that are needed, each with its result instead of an error code."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def _call(self, function: str, *arguments: object) -> None:
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise OSError(code, function)

    def count(self) -> int:
        number = ctypes.c_int()
        self._call("cuInit", 0)
        self._call("cuDeviceGetCount", ctypes.byref(number))
        return number.value

    def gpu(self, ordinal: int) -> Gpu:
        device, memory = ctypes.c_int(), ctypes.c_size_t()
        name = ctypes.create_string_buffer(_NAME_BYTES)
        self._call("cuDeviceGet", ctypes.byref(device), ordinal)
        self._call("cuDeviceGetName", name, _NAME_BYTES, device)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        major = self._attribute(_COMPUTE_CAPABILITY_MAJOR, device)
        minor = self._attribute(_COMPUTE_CAPABILITY_MINOR, device)
        return Gpu(name.value.decode(errors="replace"), (major, minor), memory.value)

    def _attribute(self, attribute: int, device: ctypes.c_int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        return value.value


def visible_gpus() -> list[Gpu]:
    """The GPUs that DeepSpeed would use; none with ``DS_ACCELERATOR=cpu``, without a driver or without a device.

    The driver itself applies ``CUDA_VISIBLE_DEVICES``. No context is created, so no GPU memory is taken.
    """
    if os.environ.get("DS_ACCELERATOR") == "cpu":
        return []
    try:
        driver = _Driver(ctypes.CDLL(LIBCUDA))
        return [driver.gpu(ordinal) for ordinal in range(driver.count())]
    except OSError:
        return []


def driver_problem() -> str | None:
    """Why an installed CUDA driver does not answer, or None where it does, sees no device, or is not installed."""
    try:
        library = ctypes.CDLL(LIBCUDA)
    except OSError:
        return None
    try:
        _Driver(library).count()
    except OSError as error:
        if error.errno != _ERROR_NO_DEVICE:
            return (
                f"The CUDA driver is installed, but {error.strerror} returned {error.errno} (CUresult in cuda.h): "
                "check nvidia-smi, and that library and kernel module have the same version"
            )
    return None


def probe() -> Machine:
    """Describe this machine in a few milliseconds; several GPUs count as the weakest of them."""
    gpus = visible_gpus()
    fields = _cpu_fields()
    cpu_bf16 = not {"avx512_bf16", "amx_bf16"}.isdisjoint(fields.get("flags", "").split())
    if not gpus:
        name = fields.get("model name") or platform.processor() or platform.machine()
        return Machine("cpu", name, None, 0, cpu_bf16)
    weakest = min(gpus, key=lambda gpu: gpu.compute_capability)
    return Machine("cuda", weakest.name, weakest.compute_capability, len(gpus), cpu_bf16)


def _cpu_fields() -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo; empty on systems without the file."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def torch_problem(machine: Machine) -> str | None:
    """Why the installed torch cannot use the machine's GPU, or None. Imports torch only where there is a GPU."""
    if machine.compute_capability is None:
        return None
    import torch

    install = "cu126" if machine.compute_capability < _FIRST_CAPABILITY_OF_CUDA_13 else "cu13"
    remedy = f"Install a build that does: make install TORCH={install}"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} does not see the {machine.device_name}. {remedy}"
    built_for = torch.cuda.get_arch_list()
    if not runs_on(machine.compute_capability, built_for):
        wanted = "sm_{}{}".format(*machine.compute_capability)
        return (
            f"torch {torch.__version__} is built for {', '.join(built_for)}, not for the {machine.device_name} "
            f"({wanted}). {remedy}"
        )
    return None


def runs_on(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether a torch built for ``built_for`` (as in ``torch.cuda.get_arch_list()``) runs on a GPU.

    Machine code (``sm_86``) runs on its own major version from its minor version on, PTX (``compute_90``) on
    anything as new; a letter at the end ties either to that very GPU. Source: NVIDIA, CUDA C++ Programming Guide,
    "Binary compatibility" and "PTX compatibility".
    """
    for arch in built_for:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", arch)
        if match is None:
            continue
        kind, major, minor, tied = match[1], int(match[2]), int(match[3]), bool(match[4])
        if capability == (major, minor):
            return True
        newer = capability > (major, minor) and not tied
        if newer and (kind == "compute" or capability[0] == major):
            return True
    return False


def free_port() -> int:
    """A TCP port that is free on this host at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
