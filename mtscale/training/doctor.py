"""What ``mtscale doctor`` tells: what this machine is, what is installed on it, and what stands in the way of a run."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from mtscale.ds_config import shipped_for
from mtscale.errors import ConfigError
from mtscale.model.sample import sample_encoder
from mtscale.training.machine import driver_problem, probe, torch_problem, visible_gpus

PACKAGES = ("torch", "deepspeed", "transformers", "datasets", "mlflow", "textual")
_NEEDED_TO_TRAIN = ("torch", "deepspeed", "transformers", "datasets")
_GIB = 2**30
# BERT-base with Adamax: 110 million parameters, 4 bytes each for the weights and the optimizer's two moments, are
# 1.2 GiB; the last checkpoint, the best one and the one being written lie side by side.
_DISK_FOR_A_RUN_GIB = 4


class Report(TypedDict):
    """The findings, ready for ``--json``; ``gpus`` holds one line a device, a missing package has version None."""

    python: str
    accelerator: str
    device: str
    gpus: list[str]
    cores: int
    memory_gib: float
    free_disk_gib: float
    cpu_bf16: bool
    versions: dict[str, str | None]
    sample_encoder: str
    ds_config: str
    problems: list[str]


def report(folder: Path = Path()) -> Report:
    """Examine the machine; ``folder`` is where runs are written. Imports torch only where there is a GPU."""
    machine = probe()
    versions = {name: _version(name) for name in PACKAGES}
    sample, sample_problem = _sample_encoder()
    free_disk_gib = shutil.disk_usage(folder).free / _GIB
    found = [
        *_package_problems(versions),
        driver_problem() if machine.accelerator == "cpu" else None,
        torch_problem(machine) if versions["torch"] else None,
        sample_problem,
        _disk_problem(folder, free_disk_gib),
    ]
    return Report(
        python=platform.python_version(),
        accelerator=machine.accelerator,
        device=machine.device_name,
        gpus=_gpu_lines(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB, 1),
        free_disk_gib=round(free_disk_gib, 1),
        cpu_bf16=machine.cpu_bf16,
        versions=versions,
        sample_encoder=sample,
        ds_config=shipped_for(machine),
        problems=[problem for problem in found if problem is not None],
    )


def render(found: Report) -> str:
    """The report as aligned lines, the problems last."""
    rows = {
        "device": f"{found['device']} ({found['accelerator']})",
        **{f"GPU {index}": line for index, line in enumerate(found["gpus"])},
        "cores": str(found["cores"]),
        "memory": f"{found['memory_gib']} GiB",
        "free disk": f"{found['free_disk_gib']} GiB",
        "CPU bfloat16": "yes" if found["cpu_bf16"] else "no (emulated, so training on the CPU uses fp32)",
        "python": found["python"],
        **{name: number or "not installed" for name, number in found["versions"].items()},
        "sample encoder": found["sample_encoder"],
        "fitting config": f"--ds_config {found['ds_config']}",
    }
    width = max(len(name) for name in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
    problems = [f"problem: {problem}" for problem in found["problems"]] or ["no problems found"]
    return "\n".join([*lines, "", *problems])


def _gpu_lines() -> list[str]:
    return [
        f"{gpu.name}, compute capability {gpu.compute_capability[0]}.{gpu.compute_capability[1]}, "
        f"{gpu.memory / _GIB:.1f} GiB"
        for gpu in visible_gpus()
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _package_problems(versions: dict[str, str | None]) -> list[str]:
    missing = [name for name in _NEEDED_TO_TRAIN if versions[name] is None]
    if not missing:
        return []
    return [f"Not installed, so this machine can watch runs but not train: {', '.join(missing)}. Run make install"]


def _sample_encoder() -> tuple[str, str | None]:
    """The state of the packaged encoder, and the problem with it if there is one."""
    try:
        sample_encoder()
    except ConfigError as error:
        return "not usable", str(error)
    return "present, hash right", None


def _disk_problem(folder: Path, free_gib: float) -> str | None:
    if free_gib >= _DISK_FOR_A_RUN_GIB:
        return None
    return (
        f"{folder.resolve()} has {free_gib:.1f} GiB free; a BERT-base run's checkpoints take "
        f"{_DISK_FOR_A_RUN_GIB} GiB. Delete old runs or choose another folder with --runs"
    )
