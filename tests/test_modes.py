"""Whatever a command writes is for its owner alone, under the most open umask too."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtscale import cli
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from tests.trained import make_trained_run


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    assert os.umask(before) == 0, "a command leaves the umask as it was"


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_commands_write_for_their_owner_alone(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_trained_run(tmp_path / "runs", tiny_encoder)
    corpus = tmp_path / "corpus"
    shutil.copytree(SAMPLE_FOLDER / "cdr", corpus)
    (tmp_path / "note.txt").write_text("Iron caused a tremor.")
    made = tmp_path / "made"
    made.mkdir(mode=0o700)
    monkeypatch.chdir(made)
    monkeypatch.setenv("MTSCALE_CACHE", str(made / "cache"))
    for command in (
        ["evaluate", str(run.path), "--task", "cdr-disease", "--task", "cdr-similarity"],
        ["export", str(run.path), "--task", "cdr-disease", "-o", "deep/er/head"],
        ["export", str(run.path), "-o", "whole"],
        ["predict", "--model", str(run.path), str(tmp_path / "note.txt"), "-o", "deep/predictions"],
        ["corpora", "new", str(corpus), "--output", "own.toml"],
        ["corpora", "check", "sample", "--output", "deep/check"],
        ["encoders", "convert", str(tiny_encoder), "-o", "converted"],
        ["study", "plan", "sample-table2", "--runs", "studied/runs"],
        ["study", "script", "sample-table2", "--runs", "studied/runs", "--out", "deep/jobs.sh"],
    ):
        cli.main(command)
    for written in ("deep/er/head", "whole", "deep/predictions", "own.toml", "deep/check", "cache", "studied", "deep"):
        assert (made / written).exists(), written
    assert open_to_others(made) == []
    assert open_to_others(run.path / "reports") == []


@pytest.mark.slow
def test_training_and_its_mirror_are_for_their_owner_alone(tmp_path: Path, tiny_encoder: Path) -> None:
    made = tmp_path / "made"
    made.mkdir(mode=0o700)
    train = ["train", "--recipe", "sample", "--run", "one", "--runs", "runs/of/mine", "--ds_config", "cpu-fp32"]
    train += ["--set", f'encoder.name="{tiny_encoder}"', "--set", "refine.epochs=1", "--set", "refine.batch_size=64"]
    environment = {**os.environ, "MTSCALE_CACHE": str(made / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "mtscale.cli", *train], cwd=made, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    runs = made / "runs" / "of" / "mine"
    assert json.loads((runs / "one" / "status.json").read_text())["state"] == "finished"
    assert (runs / "mlflow.db").exists()
    assert list((runs / "mlflow-artifacts").rglob("*.json"))
    assert open_to_others(made) == []
