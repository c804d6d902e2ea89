"""The watching extra alone, in an environment of its own without torch: all but launching works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtscale.tracking.replay import replay
from tests.lab import ROOT
from tests.terminal import make_run
from tests.tmux import Terminal

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "runs", "build", "*.egg-info", "__pycache__", ".*_cache")
TRAINING = ("torch", "deepspeed", "transformers", "datasets")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment with ``mtscale[tui]`` and nothing else; needs a package index."""
    folder = tmp_path_factory.mktemp("alone")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    binaries = folder / "venv" / "bin"
    pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", f"{source}[tui]"]
    done = subprocess.run(pip, capture_output=True, text=True, env=environment(), check=False)
    if "No matching distribution" in done.stderr or "connection" in done.stderr.casefold():
        pytest.skip("no package index to install from")
    assert done.returncode == 0, done.stderr
    return binaries


def environment() -> dict[str, str]:
    """Without what would let the environment under test see another's packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"TERM": "xterm-256color"}


def output(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_all_but_launching_works_without_torch(alone: Path, tmp_path: Path) -> None:
    looked_for = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    assert output(alone / "python", "-c", looked_for, *TRAINING) == "[]\n"
    assert "cdr-disease" in output(alone / "mtscale-tui", "--demo", "--once")
    runs = tmp_path / "runs"
    make_run(runs, "here", 1)
    elsewhere = make_run(runs, "elsewhere", 2)
    assert any(replay(elsewhere) for _ in range(5))
    shutil.rmtree(elsewhere.path)
    assert "here" in output(alone / "mtscale-tui", "--runs", runs, "--once")
    assert "here" in output(alone / "mtscale", "runs", "list", "--runs", runs)
    compared = [alone / "mtscale", "runs", "compare", "here", "here", "--runs", runs]
    refused = subprocess.run(compared, capture_output=True, text=True, env=environment(), check=False)
    assert "comparing needs more packages" in refused.stderr
    with Terminal(tmp_path / "tmux", tmp_path, environment(), (160, 40)) as terminal:
        terminal.write(f"{alone}/mtscale-tui --runs {runs}")
        terminal.press("Enter")
        terminal.until(r"elsewhere \(MLflow\)")
        terminal.press("g", "Enter")
        terminal.until(r"in MLflow alone")
        terminal.press("Escape", "G", "Enter")
        terminal.until("dev score")
        terminal.press("Escape", "Space", "k", "Space", "c")
        terminal.until("compare +2 runs")
        terminal.press("p")
        terminal.until("known to MLflow alone")
        terminal.press("Escape", "t")
        terminal.until("No studies in")
        terminal.press("Escape", "n")
        terminal.until(r"\$ mtscale train")
        terminal.press("C-s")
        # What follows is broken into the lines of a narrow pane.
        terminal.until(r"training needs more packages \(torch")
        terminal.press("Escape", "q")
        terminal.until(r"[$#]\s*$")
