"""A thousand words of example texts are found nowhere but in the data root and in what may hold text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import tomli_w
from transformers import AutoTokenizer

from mtscale.errors import EXIT_DATA, EXIT_FAILED, EXIT_FINISHED, EXIT_REFUSED
from mtscale.runs import RunDirectory, State
from tests.canary import COUNT, CanaryLab, canaries
from tests.canary_errors import DONE, FORCED
from tests.lab import ROOT, SECONDS
from tests.leaks import Leak, Scanner
from tests.test_serve import started
from tests.tmux import Terminal

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


def mtscale(lab: CanaryLab, *arguments: str | Path, said: str, code: int | None = EXIT_FINISHED, **added: str) -> str:
    """Run a command; what it says goes into a file ``said`` beside the data root, to be looked through as any other."""
    command = [sys.executable, "-m", "mtscale.cli", *map(str, arguments)]
    return captured(lab, command, said, code, **added)


def captured(lab: CanaryLab, command: list[str], said: str, code: int | None = EXIT_FINISHED, **added: str) -> str:
    done = subprocess.run(
        command, cwd=lab.folder, env=lab.environment(**added), capture_output=True, timeout=2 * SECONDS, check=False
    )
    (lab.folder / f"{said}.said").write_bytes(done.stdout + done.stderr)
    assert done.returncode == code or (code is None and done.returncode), (done.stdout + done.stderr).decode()
    return done.stdout.decode()


def train(lab: CanaryLab, name: str, *options: str, code: int | None = EXIT_FINISHED, **added: str) -> Path:
    mtscale(lab, *training(lab, name), *options, said=f"train-{name}", code=code, **added)
    return lab.runs / name


def training(lab: CanaryLab, name: str) -> list[str | Path]:
    places = ["--recipe", lab.recipe, "--data", lab.data, "--runs", lab.runs, "--run", name]
    return ["train", *places, "--ds_config", "cpu-fp32"]


def train_with_little_room(lab: CanaryLab, name: str) -> None:
    """No file may have more than 64 KiB (`ulimit` counts in 1,024 bytes): the weights do not fit."""
    command = ["bash", "-c", 'ulimit -f 64; exec "$0" -m mtscale.cli "$@"', sys.executable]
    captured(lab, [*command, *map(str, training(lab, name))], f"train-{name}", code=None)


def study(lab: CanaryLab) -> None:
    """Train two tasks alone and together, and report."""
    recipe = tomllib.loads(lab.recipe.read_text(encoding="utf-8"))
    rows = [{"label": model, "model": model, "encoder": "tiny"} for model in ("single", "refined")]
    content = {
        "name": "trial",
        "seeds": [1],
        "one_seed": True,
        "settings": {"encoder": {"max_pieces": 96}, "refine": recipe["refine"]},
        "tasks": recipe["tasks"][::3],
        "encoders": {"tiny": recipe["encoder"]["name"]},
        "tables": {"table2": {"title": "Two", "baseline": "single", "rows": rows}},
        "figure": {"encoders": {"all": "tiny"}},
    }
    file = lab.folder / "trial.toml"
    file.write_text(tomli_w.dumps(content), encoding="utf-8")
    for command in ("plan", "run", "status", "report"):
        mtscale(lab, "study", command, file, "--runs", lab.runs, "--data", lab.data, said=f"study-{command}")


@pytest.fixture(scope="module")
def run(lab: CanaryLab) -> Path:
    return train(lab, "first")


def planted_in(lab: CanaryLab, name: str, leak: str) -> str:
    """A ``PYTHONPATH`` with which something is done for each row that a training encodes."""
    planted = lab.folder / name
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(PLANTED.format(leak=leak), encoding="utf-8")
    return os.pathsep.join([str(planted), os.environ.get("PYTHONPATH", str(ROOT))])


def found(scanner: Scanner, lab: CanaryLab, *allowed: Path) -> list[Leak]:
    return scanner.files(lab.folder, [lab.data, *lab.folder.glob("forced/*/data"), *allowed])


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
    told: dict[str, list[int | str]] = {}
    for line in printed.splitlines():
        if line.startswith(DONE):
            told |= json.loads(line.removeprefix(DONE))
    assert told.keys() == FORCED.keys()
    assert {code for codes in told.values() for code in codes} == {EXIT_DATA}
    assert found(scanner, lab) == []
    assert {leak.word for leak in scanner.files(folder)}, "the words were there to be told"


@pytest.mark.slow
@pytest.mark.parametrize("how", LEAKS)
def test_a_leak_that_is_put_in_is_found(tmp_path: Path, scanner: Scanner, tiny_encoder: Path, how: str) -> None:
    lab = CanaryLab(tmp_path)
    lab.write(tiny_encoder)
    train(lab, "leaky", PYTHONPATH=planted_in(lab, "planted", LEAKS[how]))
    assert {leak.how for leak in found(scanner, lab)} == {how}


ENDED = {
    "killed": "__import__('os').kill(__import__('os').getpid(), 9)",
    "raised": "raise KeyError('planted')",
}


def show(lab: CanaryLab) -> None:
    """Open the app in a terminal, whose screens stay in a file beside its socket."""
    with Terminal(lab.folder / "tmux", lab.folder, lab.environment(), (160, 45)) as terminal:
        terminal.write(f"{sys.executable} -m mtscale_tui.app --runs {lab.runs}")
        terminal.press("Enter")
        terminal.until("finished")
        for _ in range(3):
            terminal.press("Enter")
            terminal.until("dev score|failed|lost")
            for tab in ("2", "3", "4", "5", "6"):
                terminal.press(tab)
                time.sleep(0.7)
                terminal.until(".")
            terminal.press("Escape")
            terminal.press("j")
        terminal.press("q")


def ask(lab: CanaryLab, run: Path) -> None:
    """Ask a server about texts of every kind, rightly and wrongly."""
    first, second, third = lab.words[:3]
    inputs = [{"id": "1", "text": f"The {first} of {second}."}, {"sentence1": first, "sentence2": f"{second} {third}"}]
    with started(RunDirectory(run), lab.folder, **lab.environment()) as server:
        answers = [server.ask("POST", "/predict", {"inputs": inputs})]
        answers += [server.ask("POST", "/predict", wrong) for wrong in ({"inputs": [{first: second}]}, first.encode())]
        answers += [server.ask("POST", f"/{third}", {}), server.ask("GET", "/metrics"), server.ask("GET", "/")]
    assert answers[0][0] == 200, answers
    (lab.folder / "answers.said").write_bytes(b"\n".join(content for _, _, content in answers))


@pytest.mark.slow
def test_nothing_that_is_done_with_a_run_leaves_text(lab: CanaryLab, run: Path, scanner: Scanner) -> None:
    train(lab, "not-finite", "--set", "refine.learning_rate=1e30", "--set", "refine.epochs=9", code=EXIT_FAILED)
    for name, how in ENDED.items():
        fresh = str(lab.data / f"cache-{name}")  # rows that are in a cache are not encoded again
        train(lab, name, code=None, PYTHONPATH=planted_in(lab, f"{name}-path", how), MTSCALE_CACHE=fresh)
    train_with_little_room(lab, "full")
    left = RunDirectory(lab.runs / "full")
    left.write_status(left.status.model_copy(update={"state": State.RUNNING}))  # as a power cut leaves it
    mtscale(lab, "runs", "repair", left.path, said="repair")
    study(lab)
    runs, data = ("--runs", lab.runs), ("--data", lab.data)
    texts = [lab.data / f"{name}.test.txt" for name in ("ailments", "nature")]
    broken = lab.data / "broken.txt"
    broken.write_text(texts[0].read_text(encoding="utf-8").replace("\tDisease\t", "\t"), encoding="utf-8")
    mtscale(lab, "predict", "--model", run, "-o", lab.folder / "predicted", *texts, said="predict")
    mtscale(
        lab, "predict", "--model", run, "-o", lab.folder / "left-out", broken, said="predict-broken", code=EXIT_DATA
    )
    mtscale(lab, "predict", "--model", run, "-o", lab.folder / "allowed", "--allow-text", *texts, said="predict-text")
    mtscale(lab, "export", run, "-o", lab.folder / "exported", "--allow-dua", said="export")
    mtscale(lab, "export", run, "--task", "nature", "-o", lab.folder / "plain", "--allow-dua", said="export-task")
    mtscale(lab, "evaluate", run, *data, "--split", "test", said="evaluate")
    mtscale(lab, "corpora", "check", lab.recipe, *data, "--output", lab.folder / "check", said="check")
    mtscale(lab, "corpora", "stats", lab.recipe, *data, "--classes", said="stats")
    mtscale(lab, "runs", "list", *runs, said="list")
    mtscale(lab, "runs", "show", run, said="show")
    mtscale(lab, "errors", run, *data, "--task", "nature", said="errors", code=EXIT_REFUSED)
    ask(lab, run)
    show(lab)
    assert found(scanner, lab, lab.folder / "allowed") == []
    assert scanner.files(lab.folder / "allowed"), "and there the texts are"
