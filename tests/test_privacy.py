"""`mtscale privacy`: what is in a run directory, and everything that should not be is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mtscale import cli
from mtscale.corpora.naming import Naming
from mtscale.encoders import ACCESS
from mtscale.errors import EXIT_DATA, EXIT_FINISHED
from mtscale.inputs.cache import open_split
from mtscale.inputs.encode import PieceVocabulary
from mtscale.predictions import Prediction, store
from mtscale.runs import RunDirectory, State
from mtscale.sealed import seal
from mtscale.tasks import TASKS
from tests.trained import make_trained_run

WARD = """
[[tasks]]
name = "ward"
kind = "tagging"
format = "conll"
files = { train = "a", dev = "b", test = "c" }
labels = ["Problem"]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    """A finished run as training leaves it, with a task under a use agreement."""
    run = make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder, own=WARD)
    best = run.path / "checkpoints" / "best"
    config = json.loads((best / "encoder" / "config.json").read_text(encoding="utf-8"))
    (best / "encoder" / "config.json").write_text(json.dumps({**config, ACCESS: "dua"}), encoding="utf-8")
    (best / "manifest.json").unlink()
    seal(best)
    state = run.path / "checkpoints" / "step-9"
    (state / "deepspeed").mkdir(parents=True)
    (state / "deepspeed" / "mp_rank_00_model_states.pt").write_bytes(b"moments")
    (state / "state.json").write_text("{}")
    seal(state)
    for folder in ("reports/dev", "reports/calibration"):
        (run.path / folder).mkdir(parents=True)
    for name in ("train.log", "events.jsonl", "environment.txt", "reports/dev/ward.json", "reports/dev/ward.png"):
        (run.path / name).write_text("")
    predict(run, "ward", hashed("08114-027513"))
    predict(run, "cdr-disease", "2234245")
    run.write_status(run.status.model_copy(update={"state": State.FINISHED}))
    close(run.path)
    return run


@pytest.fixture
def run(made: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy to plant something in."""
    shutil.copytree(made.path, tmp_path / "runs" / "trained")
    return RunDirectory(tmp_path / "runs" / "trained")


def hashed(name: str) -> str:
    return Naming(b"key").document(name)


def predict(run: RunDirectory, task: str, *documents: str) -> None:
    predictions = [Prediction(id=f"{name}.s0", document=name, spans=[]) for name in documents]
    store(predictions, run.path / "predictions" / f"test.{task}.jsonl")


def close(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)


@pytest.fixture
def privacy(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command says of the run as JSON; its text holds as much and no escape code."""

    def say(code: int) -> dict[str, Any]:
        assert cli.main(["privacy", str(run.path), "--json"]) == code
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert cli.main(["privacy", str(run.path)]) == code
        text = capsys.readouterr().out
        assert "\x1b" not in text
        assert ("no findings" in text) == (code == EXIT_FINISHED)
        assert all(one["found"] in text for one in report["findings"][:3])
        return report

    return say


def findings(report: dict[str, Any], kind: str) -> list[str]:
    """Where something of this kind was found, which is all that was found."""
    assert {one["kind"] for one in report["findings"]} == {kind}
    return [one["where"] for one in report["findings"]]


def test_a_run_as_training_leaves_it_has_no_findings(run: RunDirectory, privacy: Any) -> None:
    report = privacy(EXIT_FINISHED)
    assert report["access"] == "dua"
    tasks = {one["task"]: (one["access"], one["predictions"], one["documents"]) for one in report["tasks"]}
    assert tasks["ward"] == ("dua", 1, "hashed")
    assert tasks["cdr-disease"] == ("open", 1, "as in the corpus")
    assert tasks["cdr-relation"] == ("open", 0, "none stored")
    files = {one["kind"]: one["files"] for one in report["files"]}
    assert files["optimizer states"] == 3
    assert (files["predictions"], files["reports"], files["logs"], files["settings"]) == (2, 2, 2, 5)
    on_disk = [path for path in run.path.rglob("*") if path.is_file()]
    assert sum(files.values()) == len(on_disk)
    assert sum(one["bytes"] for one in report["files"]) == sum(path.stat().st_size for path in on_disk)


def test_files_that_no_run_writes(run: RunDirectory, privacy: Any) -> None:
    best = run.path / "checkpoints" / "best"
    planted = [
        best / "encoder" / "pytorch_model.bin",
        best / "notes.txt",
        run.path / "predictions" / "with-text.csv",
        run.path / "\x1b[31mnotes",
    ]
    for path in planted:
        path.write_text("x")
    close(run.path)
    assert sorted(findings(privacy(EXIT_DATA), "unknown file")) == sorted(map(str, planted))


def test_modes_that_let_others_in(run: RunDirectory, privacy: Any) -> None:
    opened = {run.path / "predictions" / "test.ward.jsonl": 0o640, run.path / "checkpoints": 0o701}
    for path, mode in opened.items():
        path.chmod(mode)
    report = privacy(EXIT_DATA)
    assert sorted(findings(report, "mode")) == sorted(map(str, opened))
    assert {one["do"] for one in report["findings"]} == {f"chmod -R go= {run.path}"}
    run.path.chmod(0o755)
    assert str(run.path) in findings(privacy(EXIT_DATA), "mode")


@pytest.mark.parametrize("name", ["08114-027513", "08114027513ABCDE", "123"])
def test_names_of_documents_under_an_agreement(run: RunDirectory, privacy: Any, name: str) -> None:
    predict(run, "ward", hashed("a"), name, "other")
    report = privacy(EXIT_DATA)
    assert findings(report, "document names") == [f"{run.path / 'predictions' / 'test.ward.jsonl'}:2"]
    assert name not in json.dumps(report["findings"])
    assert {one["task"]: one["documents"] for one in report["tasks"]}["ward"] == "as in the corpus"


def test_an_id_that_is_no_hash_beside_a_document_that_is(run: RunDirectory, privacy: Any) -> None:
    predictions = [Prediction(id="08114-027513.s0", document=hashed("a"), spans=[])]
    store(predictions, run.path / "predictions" / "dev.ward.jsonl")
    assert findings(privacy(EXIT_DATA), "document names") == [f"{run.path / 'predictions' / 'dev.ward.jsonl'}:1"]


def test_links_and_what_a_killed_process_left(run: RunDirectory, privacy: Any, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "note.txt").write_text("x")
    (run.path / "reports" / "corpus").symlink_to(tmp_path / "corpus")
    assert findings(privacy(EXIT_DATA), "link") == [str(run.path / "reports" / "corpus")]
    (run.path / "reports" / "corpus").unlink()
    left = run.path / "predictions" / ".test.ward.jsonl.abc.unfinished"
    left.write_text("x")
    left.chmod(0o600)
    assert findings(privacy(EXIT_DATA), "unfinished") == [str(left)]


def test_marks_that_have_to_go_on(run: RunDirectory, privacy: Any) -> None:
    run.update_record(access="open")
    assert findings(privacy(EXIT_DATA), "mark") == [str(run.path / "run.json")]
    run.update_record(access="dua")
    best = run.path / "checkpoints" / "best"
    config = json.loads((best / "encoder" / "config.json").read_text(encoding="utf-8"))
    del config[ACCESS]
    (best / "encoder" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert findings(privacy(EXIT_DATA), "mark") == [str(best / "encoder" / "config.json")]


def test_a_vocabulary_made_from_text_is_told(run: RunDirectory, privacy: Any) -> None:
    def could_hold() -> str:
        (found,) = (one["could_hold"] for one in privacy(EXIT_FINISHED)["files"] if one["kind"] == "vocabulary")
        return str(found)

    assert "that the run started from" in could_hold()
    path = run.path / "checkpoints" / "best" / "encoder" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), ACCESS: "open"}), encoding="utf-8")
    assert "frequent in the text" in could_hold()


def test_where_text_of_its_tasks_lies_encoded(
    run: RunDirectory, privacy: Any, tmp_path: Path, tiny_vocabulary: PieceVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path / "cache"))
    open_split(TASKS["cdr-similarity"], "dev", None, tiny_vocabulary, 64)
    (cache,) = privacy(EXIT_FINISHED)["caches"]
    assert (cache["folder"], cache["what"]) == (str(tmp_path / "cache" / "encoded"), "task cdr-similarity")
    assert (cache["access"], cache["files"]) == ("open", 2)
