"""A disk that fills up: the run ends with one clear message, keeps all it had saved, and goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtscale.errors import EXIT_FAILED
from mtscale.runs import State
from tests.lab import SECONDS, Lab, files, held_at, recorded, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def lab(tmp_path: Path, tiny_encoder: Path) -> Iterator[Lab]:
    """A lab whose runs lie on a disk of 32 MB."""
    made = Lab(tmp_path)
    made.write(tiny_encoder)
    made.runs.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", made.runs],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield made
    subprocess.run(["umount", made.runs], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk has no byte left."""
    with open(path, "wb", buffering=0) as stream:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    stream.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "path"),
    [
        ("os.mkdir", r"\.saving-step-46/deepspeed$"),
        ("open", r"\.saving-step-46/manifest\.json$"),
        ("os.mkdir", r"\.saving-best/encoder$"),
        ("tempfile.mkstemp", r"/predictions/\.test\."),
    ],
)
def test_a_disk_that_fills_up_in_a_save(lab: Lab, event: str, path: str) -> None:
    mark, filler, run = lab.folder / "held", lab.runs / "filler", lab.run("full")
    # Elsewhere, so that the run need not wait for it.
    store = f"sqlite:///{lab.folder}/mlflow.db"
    process = lab.start("full", added={"MLFLOW_TRACKING_URI": store, **held_at(mark, event, path)})
    wait_until(mark.exists, process)
    states = sorted(run.path.glob("checkpoints/step-*"))
    fill(filler)
    mark.unlink()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_FAILED, errors
    assert f"no space left on the disk of {run.path}: make room there, then `mtscale runs resume {run.path}`" in errors
    assert "Traceback" not in errors
    assert run.state() in {State.FAILED, State.LOST}
    assert sorted(run.path.glob("checkpoints/step-*")) == states
    filler.unlink()
    both = {name: lab.start(name) for name in ("full", "undisturbed")}
    for name, started in both.items():
        lab.end(started, name)
    assert recorded(run) == recorded(lab.run("undisturbed"))
    assert files(run) == files(lab.run("undisturbed"))
