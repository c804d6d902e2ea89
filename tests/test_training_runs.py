"""Whole runs in processes of their own: what they leave behind, and what interrupting them changes (nothing)."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from mtscale.ds_config import ResolvedDsConfig
from mtscale.errors import EXIT_DATA, EXIT_STOPPED, MtscaleError
from mtscale.run_summary import summarize
from mtscale.runs import RunDirectory, State, write_atomically
from mtscale.serving import privacy
from mtscale.training.failures import explain_shortage
from tests.lab import (
    SECONDS,
    TASKS,
    Lab,
    files,
    mlflow_metrics,
    mlflow_status,
    recorded,
    steps_done,
    wait_until,
)

FAMILY = ("diseases", "evidence")
METRICS = {"diseases": "f1", "induction": "micro_f1", "likeness": "pearson", "evidence": "accuracy"}


def assert_equal_to_the_last_bit(found: RunDirectory, expected: RunDirectory) -> None:
    assert recorded(found) == recorded(expected)
    assert files(found) == files(expected)
    assert {path.name for path in (found.path / "predictions").iterdir()} == {
        f"{split}.{task}.jsonl" for split in ("dev", "test") for task in TASKS
    }


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("lab"))
    made.write(tiny_encoder)
    return made


@dataclass(frozen=True)
class Finished:
    run: RunDirectory
    again: RunDirectory
    printed: str


@pytest.fixture(scope="module")
def whole(lab: Lab) -> Finished:
    """A run that nothing disturbs, and one of the same recipe and seed beside it."""
    both = {name: lab.start(name) for name in ("whole", "again")}
    printed = {name: lab.end(process, name) for name, process in both.items()}
    return Finished(lab.run("whole"), lab.run("again"), printed["whole"])


def test_a_run_prints_its_results_and_where_to_look(whole: Finished) -> None:
    lines = whole.printed.splitlines()
    scores = summarize(whole.run)["scores"]
    for task, metric in METRICS.items():
        (row,) = (line.split() for line in lines if line.startswith(task))
        assert row == [task, metric, *(f"{scores[task][column]:.4f}" for column in ("dev", "test", "floor"))]
    assert any(line.split() == ["task", "metric", "dev", "test", "floor", "(test)"] for line in lines)
    assert f"run directory: {whole.run.path}" in lines
    assert lines[-1].endswith(f"mlflow ui --backend-store-uri sqlite:///{whole.run.path.parent}/mlflow.db")


def test_a_run_leaves_a_complete_directory(whole: Finished) -> None:
    run = whole.run
    assert run.status.step == run.status.steps == steps_done(run)
    assert run.status.epoch == 2
    assert {"run.json", "recipe.toml", "ds_config.json", "environment.txt", "train.log", "events.jsonl"} <= {
        path.name for path in run.path.iterdir()
    }
    for split in ("dev", "test"):
        for task in TASKS:
            report = json.loads((run.path / "reports" / split / f"{task}.json").read_text(encoding="utf-8"))
            assert report["values"]["score"] == summarize(run)["scores"][task]["dev" if split == "dev" else "test"]


def test_a_run_leaves_private_files_of_known_kinds_with_their_mark(whole: Finished) -> None:
    run = whole.run
    for path in [run.path, run.path.parent, *run.path.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    report = privacy.examine(run, [])
    assert report.findings == ()
    assert {one.access for one in report.tasks} == {"dua"}


def test_the_kept_encoder_loads_with_plain_transformers(whole: Finished) -> None:
    folder = whole.run.path / "checkpoints" / "best" / "encoder"
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    saved = load_file(folder / "model.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())
    assert AutoTokenizer.from_pretrained(folder).tokenize("heart") != ["[UNK]"]


def test_each_task_has_one_look_at_test_written_before_its_scores(lab: Lab, whole: Finished) -> None:
    lines = (lab.runs / "test_looks.jsonl").read_text(encoding="utf-8").splitlines()
    looks = [look for look in map(json.loads, lines) if look["run"] == "whole"]
    assert [look["task"] for look in looks] == list(TASKS)
    scored = next(event.time for event in whole.run.events() if event.kind == "test")
    assert all(look["time"] <= scored and look["protocol"] == "clean" for look in looks)
    reports = [(whole.run.path / "reports" / "test" / f"{task}.json").stat().st_mtime for task in TASKS]
    assert all(look["time"] <= written for look, written in zip(looks, reports, strict=True))


def test_mlflow_shows_what_the_events_say(whole: Finished) -> None:
    expected = sorted((name, event.step, value) for event in whole.run.events() for name, value in event.values.items())
    assert mlflow_metrics(whole.run) == expected
    assert {f"test/{task}/{metric}" for task, metric in METRICS.items()} <= {name for name, _, _ in expected}
    assert mlflow_status(whole.run) == "FINISHED"


def test_the_same_recipe_and_seed_give_the_same_bits(whole: Finished) -> None:
    assert_equal_to_the_last_bit(whole.again, whole.run)


def test_a_run_stopped_by_a_signal_goes_on_as_if_it_never_had(lab: Lab, whole: Finished) -> None:
    run = lab.run("stopped")
    process = lab.start("stopped")
    wait_until(lambda: steps_done(run) >= 3, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_STOPPED, errors
    assert f"`mtscale runs resume {run.path}` goes on" in errors
    assert run.state() is State.STOPPED
    assert 3 <= steps_done(run) < whole.run.status.steps // 2
    assert mlflow_status(run) == "KILLED"
    assert not list((run.path / "predictions").iterdir())

    lab.finish("stopped")
    assert_equal_to_the_last_bit(run, whole.run)
    assert mlflow_status(run) == "FINISHED"


@pytest.mark.slow
def test_a_stop_file_stops_a_run(lab: Lab) -> None:
    run = lab.run("asked")
    process = lab.start("asked")
    wait_until(lambda: steps_done(run) >= 1, process)
    run.stop_file.touch()
    assert process.wait(SECONDS) == EXIT_STOPPED
    process.communicate()
    assert run.state() is State.STOPPED
    assert [path.name for path in (run.path / "checkpoints").iterdir()] == [f"step-{steps_done(run)}"]


def test_a_failure_in_the_middle_is_told_everywhere(lab: Lab, tiny_encoder: Path, tmp_path: Path) -> None:
    own = Lab(tmp_path)
    own.write(tiny_encoder)
    own.runs.symlink_to(lab.runs)  # its MLflow store is ready
    process = own.start("failing")
    run = lab.run("failing")
    wait_until(lambda: steps_done(run) >= 1, process)
    (tmp_path / "evidence.dev.tsv").unlink()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_DATA, errors
    assert run.state() is State.FAILED
    assert str(tmp_path / "evidence.dev.tsv") in run.status.message
    assert run.status.message in errors
    assert "Traceback" not in errors
    assert mlflow_status(run) == "FAILED"


@pytest.fixture(scope="module")
def family(lab: Lab) -> RunDirectory:
    """Refine on two tasks, then a finetune run for each, at a learning rate that moves nothing."""
    content = tomllib.loads((lab.folder / "recipe.toml").read_text(encoding="utf-8"))
    content["tasks"] = [table for table in content["tasks"] if table["name"] in FAMILY]
    content |= {"stages": ["refine", "finetune"], "finetune": {"epochs": 1, "learning_rate": 1e-30}}
    content["refine"]["epochs"] = 1
    path = lab.folder / "family.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    lab.finish("family", "--recipe", str(path))
    return lab.run("family")


def test_finetune_starts_from_the_refined_encoder_with_a_fresh_head(lab: Lab, family: RunDirectory) -> None:
    refined = load_file(family.path / "checkpoints" / "best" / "encoder" / "model.safetensors")
    refined_heads = load_file(family.path / "checkpoints" / "best" / "heads.safetensors")
    for task in FAMILY:
        run = lab.run(f"family-finetune-{task}")
        assert run.state() is State.FINISHED
        assert (run.record.task, run.record.tasks, run.record.parent) == (task, (task,), "family")
        assert run.record.family == family.record.family == "family"
        best = run.path / "checkpoints" / "best"
        tuned = load_file(best / "encoder" / "model.safetensors")
        assert tuned.keys() == refined.keys()
        assert all(torch.equal(tuned[name], refined[name]) for name in refined)
        heads = load_file(best / "heads.safetensors")
        assert heads.keys() == {f"{task}_head.output.weight", f"{task}_head.output.bias"}
        assert not torch.equal(heads[f"{task}_head.output.weight"], refined_heads[f"{task}_head.output.weight"])
        assert mlflow_status(run) == "FINISHED"


@pytest.mark.slow
def test_patience_that_has_run_out_is_remembered(lab: Lab) -> None:
    """A run cut off between its last epoch and its end goes straight to test."""
    still = ["--set", "refine.epochs=4", "--set", "refine.patience=1", "--set", "refine.learning_rate=1e-30"]
    lab.finish("patient", *still)
    run = lab.run("patient")
    before = recorded(run)
    assert {event.epoch for event in run.events() if event.kind == "dev"} == {1, 2}
    longer = lab.run("patient-cut-off")
    shutil.copytree(run.path, longer.path)
    longer.update_record(name="patient-cut-off", mlflow_run_id=None)
    write_atomically(
        longer.path / "status.json", run.status.model_copy(update={"state": State.STOPPED}).model_dump_json()
    )
    lab.finish("patient-cut-off", *still)
    assert recorded(longer) == before


# Running out of memory


@pytest.mark.parametrize(
    "shortage",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_shortage_names_the_micro_batch(shortage: Exception) -> None:
    with pytest.raises(MtscaleError, match=r"micro-batch 8: .*\"train_micro_batch_size_per_gpu\": 4 "):
        _raise_inside(shortage, 8)
    with pytest.raises(MtscaleError, match=r"micro-batch 1: lower encoder\.max_pieces"):
        _raise_inside(shortage, 1)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"):
        _raise_inside(RuntimeError("shapes differ"), 8)


def _raise_inside(error: Exception, micro_batch: int) -> None:
    with explain_shortage(ResolvedDsConfig({}, "fp32", 0, micro_batch, 1)):
        raise error


def test_a_real_shortage_is_recognised() -> None:
    script = """
import resource, torch
from mtscale.ds_config import ResolvedDsConfig
from mtscale.errors import MtscaleError
from mtscale.training.failures import explain_shortage
from tests.lab import SECONDS, TASKS, Lab, steps_done, wait_until
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, -1))
try:
    with explain_shortage(ResolvedDsConfig({}, "fp32", 0, 8, 1)):
        torch.zeros(2**30)
except MtscaleError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("out of memory at micro-batch 8: set"), done.stdout + done.stderr
