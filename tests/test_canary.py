"""A thousand words of example texts are found nowhere but in the data root and in what may hold text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from mtscale.errors import EXIT_DATA, EXIT_FINISHED
from tests.canary import COUNT, CanaryLab, canaries
from tests.canary_errors import DONE, FORCED
from tests.lab import ROOT, SECONDS
from tests.leaks import Leak, Scanner

ERRORS = Path(__file__).with_name("canary_errors.py")
# What must never be done, with each row that is encoded: its pieces into a file of the runs, or a text into the log.
PLANTED = """
import logging, sys
if any(word.endswith("mtscale/train.py") for word in sys.orig_argv):
    from mtscale.inputs import encode
    encoded = encode.TaskEncoder._encode
    def leaking(self, chunk):
        for row in encoded(self, chunk):
            {leak}
            yield row
    encode.TaskEncoder._encode = leaking
"""
PLACE = "sys.argv[sys.argv.index('--runs') + 1] + '/batch'"
LEAKS = {
    "word pieces": f"open({PLACE}, 'ab').write(bytes(memoryview(__import__('array').array('i', row['pieces']))))",
    "text": "logging.getLogger('mtscale').info('%s', chunk[0])",
}


@pytest.fixture(scope="module")
def scanner(tiny_encoder: Path) -> Scanner:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    return Scanner(canaries(), lambda word: tokenizer(word, add_special_tokens=False)["input_ids"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> CanaryLab:
    made = CanaryLab(tmp_path_factory.mktemp("canary"))
    made.write(tiny_encoder)
    return made


def mtscale(lab: CanaryLab, *arguments: str | Path, said: str, code: int = EXIT_FINISHED, **added: str) -> str:
    """Run a command; what it says goes into a file ``said`` beside the data root, to be looked through as any other."""
    command = [sys.executable, "-m", "mtscale.cli", *map(str, arguments)]
    return captured(lab, command, said, code, **added)


def captured(lab: CanaryLab, command: list[str], said: str, code: int = EXIT_FINISHED, **added: str) -> str:
    done = subprocess.run(
        command, cwd=lab.folder, env=lab.environment(**added), capture_output=True, timeout=2 * SECONDS, check=False
    )
    (lab.folder / f"{said}.said").write_bytes(done.stdout + done.stderr)
    assert done.returncode == code, (done.stdout + done.stderr).decode()
    return done.stdout.decode()


def train(lab: CanaryLab, name: str, *options: str, code: int = EXIT_FINISHED, **added: str) -> Path:
    places = ["--recipe", lab.recipe, "--data", lab.data, "--runs", lab.runs, "--run", name, "--ds_config", "cpu-fp32"]
    mtscale(lab, "train", *places, *options, said=f"train-{name}", code=code, **added)
    return lab.runs / name


@pytest.fixture(scope="module")
def run(lab: CanaryLab) -> Path:
    return train(lab, "first")


def found(scanner: Scanner, lab: CanaryLab, *allowed: Path) -> list[Leak]:
    return scanner.files(lab.folder, [lab.data, *allowed])


def test_a_training_leaves_no_text(lab: CanaryLab, run: Path, scanner: Scanner) -> None:
    assert found(scanner, lab) == []
    in_the_data = scanner.files(lab.data)
    assert {leak.word for leak in in_the_data} == set(canaries()), "every word was there to be found"
    encoded = {leak.word for leak in in_the_data if leak.how == "word pieces" and ".mtscale-cache" in leak.place}
    assert len(encoded) > COUNT // 2, "and in the cache by its pieces"


@pytest.mark.slow
def test_forced_errors_tell_no_text(lab: CanaryLab, scanner: Scanner, tiny_encoder: Path) -> None:
    assert len(FORCED) >= 20
    folder = lab.folder / "forced"
    printed = captured(lab, [sys.executable, str(ERRORS), str(folder), str(tiny_encoder), *canaries()], "forced")
    told: dict[str, list[object]] = {}
    for line in printed.splitlines():
        if line.startswith(DONE):
            told |= json.loads(line.removeprefix(DONE))
    assert told == dict.fromkeys(FORCED, [EXIT_DATA] * 3)
    assert found(scanner, lab, *(folder.glob("*/data"))) == []
    assert {leak.word for leak in scanner.files(folder)}, "the words were there to be told"


@pytest.mark.slow
@pytest.mark.parametrize("how", LEAKS)
def test_a_leak_that_is_put_in_is_found(tmp_path: Path, scanner: Scanner, tiny_encoder: Path, how: str) -> None:
    lab = CanaryLab(tmp_path)
    lab.write(tiny_encoder)
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(PLANTED.format(leak=LEAKS[how]), encoding="utf-8")
    path = os.pathsep.join([str(planted), os.environ.get("PYTHONPATH", str(ROOT))])
    train(lab, "leaky", PYTHONPATH=path)
    assert {leak.how for leak in found(scanner, lab)} == {how}
