"""``mtscale study run --detach``: started apart once it has the study to itself, or refused with the reason."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED, ConfigError
from mtscale.study import plan as planning
from mtscale.study import spec
from mtscale.study.store import StudyFolder
from tests.lab import ROOT
from tests.terminal import make_run
from tests.test_study_spec import STUDY, written


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "mtscale.cli", "study", "run", "mine.toml", "--runs", "runs", "--detach", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def wait_until_free(study: StudyFolder) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(ConfigError), study.locked():
            return
        time.sleep(0.05)
    raise AssertionError("the study was not given back")


def test_a_study_goes_on_without_its_terminal_unless_another_has_it(tmp_path: Path) -> None:
    path, root = written(tmp_path, STUDY), tmp_path / "runs"
    plan = planning.make(spec.load(path), tmp_path, root)
    study = StudyFolder(root, "mine")
    study.save(plan, tmp_path, {unit.name: 1.0 for unit in plan.units} | {"": 6.0})
    # Nothing is left to train, so that what is started ends at once.
    for unit in plan.units:
        for name in unit.runs:
            make_run(root, name, unit.seed, tasks=unit.tasks)
    done = run(tmp_path, "--workers", "1")
    assert done.returncode == EXIT_FINISHED, done.stderr
    process = study.holder()
    assert f"goes on without this terminal, process {process};" in done.stdout
    assert process != os.getpid()
    wait_until_free(study)
    log = study.path / "output.log"
    assert "0 of 6 units to train, 6 finished already" in log.read_text(encoding="utf-8")
    assert log.stat().st_mode & 0o777 == 0o600
    assert study.command() == [str(path), "--runs", str(root), "--workers", "1"]
    with study.locked():
        refused = run(tmp_path)
        assert study.holder() == os.getpid(), "who is refused leaves the holder's number"
    assert refused.returncode == EXIT_REFUSED
    assert "study mine: another process runs it" in refused.stderr
    assert "0 of 6" not in refused.stderr, "only what it printed itself"
