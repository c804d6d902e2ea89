"""The commands as a user types them: refusals, `mtscale train`, runs, doctor, dry runs, terminals and files."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from mtscale import recipe
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, EXIT_REFUSED, EXIT_STOPPED
from mtscale.run_summary import RunSummary, TaskScores
from mtscale.runs import RunDirectory, State, Status
from mtscale.training.doctor import Report
from mtscale.training.machine import free_port

TRAIN = Path(recipe.__file__).parent / "train.py"
SECONDS = 240
SECRET = "xylophone"  # stands in every text of the corpora, so must never be printed
RECIPE = """name = "two"

[encoder]
name = "{encoder}"

[refine]
epochs = 3
batch_size = 8
learning_rate = 1e-3

[[tasks]]
name = "places"
kind = "tagging"
format = "pubtator"
labels = ["Chemical"]
files = {{ train = "docs.train.txt", dev = "docs.dev.txt", test = "docs.test.txt" }}

[[tasks]]
name = "scores"
kind = "similarity"
format = "tsv"
files = {{ train = "pairs.train.tsv", dev = "pairs.dev.tsv", test = "pairs.test.tsv" }}
"""


def documents(count: int) -> str:
    parts = []
    for number in range(1, count + 1):
        drug = ("aspirin", "heparin", "lithium")[number % 3]
        title, abstract = f"The {SECRET} of {drug}.", f"We gave {drug} {number % 7} times."
        mentions = [match.span() for match in re.finditer(drug, f"{title} {abstract}")]
        lines = [f"{number}\t{start}\t{end}\t{drug}\tChemical\tC{number}" for start, end in mentions]
        parts.append("\n".join([f"{number}|t|{title}", f"{number}|a|{abstract}", *lines]) + "\n")
    return "\n".join(parts)


def pairs(count: int) -> str:
    rows = [f"{n}\tthe {SECRET} number {n % 5}\tthe number {n % 3}\t{n % 4}.5" for n in range(count)]
    return "\n".join(["index\tsentence1\tsentence2\tscore", *rows]) + "\n"


def write_recipe(folder: Path, encoder: Path) -> Path:
    for split, count in (("train", 20), ("dev", 8), ("test", 7)):
        (folder / f"docs.{split}.txt").write_text(documents(count), encoding="utf-8")
        (folder / f"pairs.{split}.tsv").write_text(pairs(2 * count), encoding="utf-8")
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(encoder=encoder), encoding="utf-8")
    return path


def environment(cache: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MTSCALE_", "MLFLOW_"))}
    return kept | {"MTSCALE_CACHE": str(cache), "DS_ACCELERATOR": "cpu"}


def start(command: Sequence[str | Path], cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(command: Sequence[str | Path], cache: Path) -> subprocess.CompletedProcess[str]:
    with start(command, cache) as process:
        printed, errors = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, printed, errors)


# Refusals


class Refusal:
    """A recipe with its corpora, to be spoilt, and the command that must refuse it."""

    def __init__(self, folder: Path, encoder: Path) -> None:
        self.folder = folder
        self.recipe = write_recipe(folder, encoder)
        self.runs = folder / "runs"
        self.cache = folder / "cache"

    def replace(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def expect(self, code: int, message: str, *options: str) -> None:
        """The command ends with this code and tells this, once, no text of the corpora, and leaves nothing."""
        arguments = ["--ds_config", "cpu-fp32", "--recipe", str(self.recipe), "--runs", str(self.runs), *options]
        done = call([TRAIN, *arguments], self.cache)
        assert done.returncode == code, done.stderr
        assert len(re.findall(message, done.stderr)) == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert not (self.runs.is_dir() and list(self.runs.iterdir()))


@pytest.fixture
def refusal(tmp_path: Path, tiny_encoder: Path) -> Refusal:
    return Refusal(tmp_path, tiny_encoder)


def test_an_unknown_key_is_refused_with_its_line(refusal: Refusal) -> None:
    refusal.replace("recipe.toml", "epochs = 3", "epoch = 3")
    refusal.expect(EXIT_REFUSED, r"recipe\.toml:7: refine\.epoch: unknown key, did you mean 'epochs'\?")


def test_a_value_of_the_wrong_type_is_refused(refusal: Refusal) -> None:
    refusal.replace("recipe.toml", "epochs = 3", 'epochs = "3"')
    refusal.expect(EXIT_REFUSED, r"recipe\.toml:7: refine\.epochs: .*integer, found '3'")


def test_a_missing_corpus_file_is_refused(refusal: Refusal) -> None:
    (refusal.folder / "pairs.dev.tsv").unlink()
    refusal.expect(EXIT_DATA, r"task scores: expected the dev file at .*pairs\.dev\.tsv, found nothing there")


def test_a_corpus_cut_in_the_middle_is_refused(refusal: Refusal) -> None:
    path = refusal.folder / "docs.train.txt"
    path.write_bytes(path.read_bytes()[: -len("Chemical\tC20\n")])
    refusal.expect(EXIT_DATA, r"docs\.train\.txt:\d+: expected a line end, found the end of the file")
    assert {path.name for path in refusal.cache.rglob("*") if path.is_file()} == {".lock", "CACHEDIR.TAG"}


@pytest.mark.slow
def test_offsets_beside_the_mention_are_refused(refusal: Refusal) -> None:
    refusal.replace("docs.train.txt", "\t17\t24\t", "\t16\t23\t")
    refusal.expect(EXIT_DATA, r"docs\.train\.txt:3: the text at 16-23 is not the mention's text")
    assert {path.name for path in refusal.cache.rglob("*") if path.is_file()} == {".lock", "CACHEDIR.TAG"}


@pytest.mark.slow
def test_an_encoder_folder_without_weights_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    encoder = f'encoder.name="{tmp_path / "bare"}"'
    refusal.expect(EXIT_REFUSED, r"bare: no weights in it, expected one of model\.safetensors", "--set", encoder)
    assert not refusal.cache.exists()


@pytest.mark.slow
def test_a_file_in_place_of_the_runs_folder_is_refused(refusal: Refusal) -> None:
    refusal.runs.write_text("mine", encoding="utf-8")
    refusal.expect(EXIT_REFUSED, r"cannot write runs into .*runs: .*--runs or MTSCALE_RUNS")
    assert refusal.runs.read_text(encoding="utf-8") == "mine"


def test_without_a_gpu_v100_json_is_refused_by_the_launcher_once(tmp_path: Path) -> None:
    options = ["--num_gpus", "2", "--master_port", str(free_port()), str(TRAIN), "--ds_config", "ds_configs/v100.json"]
    done = call(["-m", "deepspeed.launcher.runner", *options, "--runs", tmp_path / "runs"], tmp_path / "cache")
    assert done.returncode == EXIT_REFUSED
    assert done.stderr.count("asks for fp16, but this machine has no CUDA GPU") == 1, done.stderr
    assert "Use --ds_config ds_configs/cpu.json" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_refusal_does_not_wait_for_torch(rank: str, tmp_path: Path) -> None:
    script = f"""
import os, sys
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "{rank}"
from mtscale.train import main
sys.argv = ["train.py", "--ds_config", "ds_configs/v100.json", "--local_rank={rank}"]
print(main(), "torch" in sys.modules, "deepspeed" in sys.modules, "transformers" in sys.modules)
"""
    done = call(["-c", script], tmp_path / "cache")
    assert done.stdout == f"{EXIT_REFUSED} False False False\n", done.stderr
    assert done.stderr.count("no CUDA GPU") == (rank == "0")


def test_no_library_reports_home(tmp_path: Path) -> None:
    # DeepSpeed's autotuner imports MLflow, whose client starts its telemetry on import.
    script = """
from mtscale.training.console import log_to_console
log_to_console(is_main=True)
import deepspeed, mlflow.telemetry
print(mlflow.telemetry.get_telemetry_client())
"""
    quiet = {"MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "PYTEST_CURRENT_TEST"}
    clean = {name: value for name, value in environment(tmp_path).items() if name not in quiet}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout.endswith("None\n")


# Training through `mtscale train`


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A folder with a recipe, its corpora and a run ``first`` that `mtscale train` has finished on two ranks."""
    folder = tmp_path_factory.mktemp("commands")
    write_recipe(folder, tiny_encoder)
    done = call(train_command(folder, "first", "--num_gpus", "2", "--set", "refine.epochs=1"), folder / "cache")
    assert done.returncode == EXIT_FINISHED, done.stderr
    (folder / "first.out").write_text(done.stdout, encoding="utf-8")
    (folder / "first.err").write_text(done.stderr, encoding="utf-8")
    return folder


def train_command(folder: Path, run: str, *options: str) -> list[str]:
    places = ["--recipe", str(folder / "recipe.toml"), "--runs", str(folder / "runs"), "--run", run]
    return ["-m", "mtscale.cli", "train", "--ds_config", "cpu-fp32", *places, *options]


def test_mtscale_train_is_the_launcher_with_its_results(lab: Path) -> None:
    run = RunDirectory(lab / "runs" / "first")
    assert run.state() is State.FINISHED
    assert run.record.world_size == 2
    printed = (lab / "first.out").read_text(encoding="utf-8")
    assert "refine, seed 1\ntask " in printed
    assert f"run directory: {run.path}" in printed
    everything = printed + (lab / "first.err").read_text(encoding="utf-8")
    assert SECRET not in everything
    assert "\x1b" not in everything, "escape codes where no terminal is"


def test_no_text_of_the_corpora_leaves_the_cache(lab: Path) -> None:
    written = [path for path in (lab / "runs").rglob("*") if path.is_file() and path.name != "tokenizer.json"]
    assert len(written) > 20
    assert [path for path in written if SECRET.encode() in path.read_bytes()] == []


def test_a_finished_run_is_not_run_again(lab: Path) -> None:
    done = call(train_command(lab, "first", "--set", "refine.epochs=1"), lab / "cache")
    assert done.returncode == EXIT_REFUSED
    assert "first is finished: choose another --run name" in done.stderr


def test_a_live_run_is_not_started_twice(lab: Path, tmp_path: Path) -> None:
    write_recipe(tmp_path, Path("unused"))
    first = RunDirectory(lab / "runs" / "first")
    record = first.record.model_copy(update={"name": "live", "pid": os.getpid()})
    live = RunDirectory.create(tmp_path / "runs" / "live", record, "", "")
    before = {path: path.stat().st_mtime_ns for path in live.path.rglob("*")}
    done = call(train_command(tmp_path, "live"), tmp_path / "cache")
    assert done.returncode == EXIT_REFUSED
    assert "live is running: choose another --run name, or wait, or stop it" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in live.path.rglob("*")} == before


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def start_and_wait_for_steps(lab: Path, name: str) -> subprocess.Popen[str]:
    process = start(train_command(lab, name, "--num_gpus", "2", "--set", "refine.epochs=500"), lab / "cache")
    end = time.monotonic() + SECONDS
    while not (lab / "runs" / name / "events.jsonl").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_sigterm_to_mtscale_train_stops_all_ranks_with_a_checkpoint(lab: Path) -> None:
    process = start_and_wait_for_steps(lab, "stopped")
    started = descendants(process)
    assert len([one for one in started if any("--local_rank" in word for word in one.cmdline())]) >= 2
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_STOPPED, errors
    gone, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []
    assert len(gone) == len(started)
    run = RunDirectory(lab / "runs" / "stopped")
    assert run.state() is State.STOPPED
    assert any((run.path / "checkpoints").glob("step-*"))
    assert errors.count("asked to stop") >= 1


# Looking


def test_runs_list_and_show_have_the_promised_keys(lab: Path) -> None:
    listed = call(["-m", "mtscale.cli", "runs", "list", "--json", "--runs", lab / "runs"], lab / "cache")
    summary = next(found for found in json.loads(listed.stdout) if found["dir"].endswith("/first"))
    assert summary.keys() == RunSummary.__annotations__.keys()
    promised = "id dir family group recipe stage task seed protocol tasks state step steps macro scores"
    assert set(promised.split()) | {"mlflow_run_id", "ds_config"} <= summary.keys()
    assert summary["state"] == "finished"
    assert summary["scores"].keys() == {"places", "scores"}
    for scores in summary["scores"].values():
        assert scores.keys() == TaskScores.__annotations__.keys() == {"dev", "test", "floor", "best_epoch"}
        assert None not in scores.values()
    shown = call(["-m", "mtscale.cli", "runs", "show", summary["id"], "--json", "--runs", lab / "runs"], lab / "cache")
    details = json.loads(shown.stdout)
    history = details.pop("history")
    assert details == summary
    assert history["dev/macro/score"][-1]["value"] == summary["macro"]
    assert history["train/loss"][-1]["step"] == summary["steps"]


def test_runs_list_and_show_as_tables(lab: Path) -> None:
    listed = call(["-m", "mtscale.cli", "runs", "list", "--runs", lab / "runs"], lab / "cache").stdout.splitlines()
    assert listed[0].split()[:4] == ["run", "state", "id", "recipe"]
    assert any(line.split()[:2] == ["first", "finished"] for line in listed)
    shown = call(["-m", "mtscale.cli", "runs", "show", "first", "--runs", lab / "runs"], lab / "cache").stdout
    assert re.search(r"^state +finished$", shown, re.MULTILINE)
    assert re.search(r"^places +1 +\d\.\d{4} +\d\.\d{4} +\d\.\d{4}$", shown, re.MULTILINE)
    missing = call(["-m", "mtscale.cli", "runs", "show", "absent", "--runs", lab / "runs"], lab / "cache")
    assert (missing.returncode, missing.stdout) == (EXIT_REFUSED, "")
    assert "'absent'; `mtscale runs list` shows them" in missing.stderr


def test_a_run_whose_process_is_gone_is_listed_as_lost(lab: Path, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(SECONDS)
    record = RunDirectory(lab / "runs" / "first").record.model_copy(update={"name": "gone", "pid": ended.pid})
    run = RunDirectory.create(tmp_path / "gone", record, "", "")
    run.write_status(Status(state=State.RUNNING, step=3, steps=9))
    listed = call(["-m", "mtscale.cli", "runs", "list", "--json", "--runs", tmp_path], lab / "cache")
    (summary,) = json.loads(listed.stdout)
    assert (summary["state"], summary["step"], summary["steps"]) == ("lost", 3, 9)


def test_doctor_as_json(tmp_path: Path) -> None:
    done = call(["-m", "mtscale.cli", "doctor", "--json"], tmp_path)
    assert done.returncode == EXIT_FINISHED
    report = json.loads(done.stdout)
    assert report.keys() == Report.__annotations__.keys()
    assert (report["accelerator"], report["ds_config"]) == ("cpu", "ds_configs/cpu.json")


def test_a_dry_run_tells_the_plan_and_writes_no_run(lab: Path) -> None:
    before = sorted((lab / "runs").iterdir())
    with start(train_command(lab, "planned", "--dry-run"), lab / "cache") as process:
        done = call(train_command(lab, "planned", "--dry-run", "--json"), lab / "cache")
        text, _ = process.communicate(timeout=SECONDS)
    assert (done.returncode, process.returncode) == (EXIT_FINISHED, EXIT_FINISHED), done.stderr
    plan = json.loads(done.stdout)
    (run,) = plan["runs"]
    # 20 documents of two sentences and 40 pairs, 8 at a time.
    assert (run["steps_per_epoch"], run["steps"], run["batch_size"], run["precision"]) == (10, 30, 8, "fp32")
    assert 0.7 <= run["memory_gib"] < 1.0
    assert plan["seconds"] == run["seconds"] > 0
    assert not plan["seconds_are_a_guess"]
    assert plan["tasks"]["places"]["train"]["examples"] == 40
    assert plan["tasks"]["scores"]["dev"]["rows"] == 16
    assert plan["tasks"]["places"]["train"]["truncated_examples"] == 0
    assert re.search(r"10 x 3 = 30 .* GiB .* (s|min)$", text, re.MULTILINE)
    assert re.search(r"^places +train +40 +40 ", text, re.MULTILINE)
    assert sorted((lab / "runs").iterdir()) == before


def read_terminal(handle: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(handle, 65536)
        except OSError:  # the other side is closed
            return
        if not part:
            return
        yield part


def test_a_terminal_gets_a_progress_bar(lab: Path) -> None:
    ours, theirs = pty.openpty()
    options = ["--recipe", str(lab / "recipe.toml"), "--runs", str(lab / "runs"), "--run", "seen", "--ds_config"]
    command = [sys.executable, str(TRAIN), *options, "cpu-fp32", "--set", "refine.epochs=1"]
    terminal = environment(lab / "cache") | {"TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(command, env=terminal, stdout=theirs, stderr=theirs, stdin=theirs) as process:
        os.close(theirs)
        seen = b"".join(read_terminal(ours)).decode(errors="replace")
        assert process.wait(SECONDS) == EXIT_FINISHED, seen
    os.close(ours)
    assert "\x1b[" in seen
    assert "10/10 steps" in seen
    assert "macro average" in seen
