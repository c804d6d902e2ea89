"""No hub is asked where a task lies under a use agreement; a process tells what it tried to reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtscale.errors import EXIT_REFUSED
from mtscale.offline import is_offline, keep_off_hubs
from mtscale.tasks import TASKS
from tests.lab import ROOT

# Python imports this at its start, and the hook hears of each connection and each name that is looked up.
WATCH = """
import os, sys
def heard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and os.environ.get("HEARD"):
        with open(os.environ["HEARD"], "a") as stream:
            stream.write(f"{event} {arguments[1] if event == 'socket.connect' else arguments[0]}\\n")
sys.addaudithook(heard)
"""
RECIPE = """
name = "mine"
[encoder]
name = "owner/no-such-encoder"
[[tasks]]
name = "ward"
kind = "tagging"
format = "conll"
files = { train = "ward.conll", dev = "ward.conll", test = "ward.conll" }
labels = ["Problem"]
access = "ACCESS"
"""


def tried(folder: Path, access: str, *command: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """A command on a recipe whose encoder is on a hub, and what it tried to reach."""
    (folder / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    (folder / "ward.conll").write_text("Fever B-Problem\nagain O\n\n", encoding="utf-8")
    recipe = folder / f"{access}.toml"
    recipe.write_text(RECIPE.replace("ACCESS", access), encoding="utf-8")
    heard = folder / "heard"
    given = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    given |= {"PYTHONPATH": f"{folder}:{ROOT}", "HEARD": str(heard), "HF_HOME": str(folder / "hf")}
    words = [str(recipe) if word == "RECIPE" else word for word in command]
    done = subprocess.run(
        [sys.executable, *words], env={**given, **environment}, cwd=folder, capture_output=True, text=True, check=False
    )
    return done, heard.read_text(encoding="utf-8") if heard.exists() else ""


CHECK = ("-m", "mtscale.cli", "corpora", "check", "RECIPE")
TRAIN = (str(ROOT / "mtscale" / "train.py"), "--ds_config", "cpu-fp32", "--recipe", "RECIPE", "--run", "r")


@pytest.mark.parametrize("command", [CHECK, pytest.param(TRAIN, marks=pytest.mark.slow)], ids=["check", "train"])
def test_tasks_under_an_agreement_keep_the_hub_out(tmp_path: Path, command: tuple[str, ...]) -> None:
    done, heard = tried(tmp_path, "dua", *command)
    assert done.returncode == EXIT_REFUSED, done.stderr
    assert "HF_HUB_OFFLINE=0" in done.stderr
    assert "huggingface" not in heard


@pytest.mark.slow  # the hub's client tries again for half a minute
@pytest.mark.parametrize(("access", "environment"), [("open", {}), ("dua", {"HF_HUB_OFFLINE": "0"})])
def test_the_hub_is_asked_where_it_may_be(tmp_path: Path, access: str, environment: dict[str, str]) -> None:
    # Proves that the hook hears: without it the tests above would pass on anything.
    done, heard = tried(tmp_path, access, *CHECK, **environment)
    assert done.returncode == EXIT_REFUSED, done.stderr
    assert "huggingface" in heard


def test_open_tasks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    keep_off_hubs([TASKS["cdr-disease"]])
    assert not is_offline()
    assert "HF_HUB_OFFLINE" not in os.environ
