"""Pretraining by the real command: what it reaches and leaves, stopped and resumed, and what may follow it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from mtscale import names
from mtscale.corpora import pubtator
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.encoders import is_marked
from mtscale.errors import EXIT_DATA, EXIT_STOPPED
from mtscale.pretraining.masking import Masking
from mtscale.pretraining.shards import is_held_out
from mtscale.run_summary import history
from mtscale.runs import RunDirectory, State
from tests.lab import SECONDS, Lab, files, mlflow_metrics, recorded, steps_done, wait_until

pytestmark = pytest.mark.slow

ROOM = 64
HELD_OUT = 0.2
EPOCHS = 8
TEXT = SAMPLE_FOLDER / "cdr" / "train.pubtator.txt"


@dataclass(frozen=True)
class TextLab(Lab):
    """A lab whose recipe pretrains on the sample's documents, from scratch."""

    def write(self, encoder: Path) -> None:
        self.describe({})

    def describe(self, settings: dict[str, object], **more: object) -> None:
        pretrain = {
            "files": ["sample:cdr/train.pubtator.txt"],
            "format": "pubtator",
            "access": "open",
            "heldout": HELD_OUT,
            "epochs": EPOCHS,
            "batch_size": 8,
            "learning_rate": 1e-2,
            "start": "scratch",
            "scratch": {"layers": 2, "hidden": 32, "heads": 2, "intermediate": 64, "vocabulary": 900},
        }
        content = {
            "name": "text",
            "stages": ["pretrain"],
            "encoder": {"max_pieces": ROOM},
            "pretrain": {key: value for key, value in {**pretrain, **settings}.items() if value is not None},
            **more,
        }
        (self.folder / "recipe.toml").write_text(tomli_w.dumps(content), encoding="utf-8")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> TextLab:
    made = TextLab(tmp_path_factory.mktemp("text-lab"))
    made.describe({})
    return made


@dataclass(frozen=True)
class Finished:
    run: RunDirectory
    printed: str


@pytest.fixture(scope="module")
def whole(lab: TextLab) -> Finished:
    """A run that nothing disturbs."""
    printed = lab.finish("whole")
    return Finished(lab.run("whole"), printed)


def series(run: RunDirectory, name: str) -> list[float]:
    return [point["value"] for point in history(run.events())[name]]


def test_the_held_out_perplexity_falls_below_that_of_the_unigram_model(whole: Finished) -> None:
    found = series(whole.run, names.HELDOUT_PERPLEXITY)
    floors = series(whole.run, names.UNIGRAM_PERPLEXITY)
    assert len(found) == 1 + EPOCHS, "before the first step, and after every epoch"
    assert len(set(floors)) == 1
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(900, rel=0.2), "an untrained head knows nothing"
    assert found[-1] < floors[0]
    assert series(whole.run, names.BEST_PERPLEXITY)[-1] == min(found)
    assert series(whole.run, names.TRAIN_LOSS)[-1] < series(whole.run, names.TRAIN_LOSS)[0]
    assert [math.exp(loss) for loss in series(whole.run, names.HELDOUT_LOSS)] == pytest.approx(found)
    (row,) = (line.split() for line in whole.printed.splitlines() if line.startswith("held-out text"))
    assert row[2:] == ["perplexity", f"{found[0]:.4f}", f"{min(found):.4f}", f"{floors[0]:.4f}"]


def test_the_perplexities_are_those_computed_by_hand_with_plain_transformers(whole: Finished) -> None:
    folder = whole.run.path / "checkpoints" / "best" / "encoder"
    model, found = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vocabulary = tokenizer.get_vocab()
    continues = np.zeros(len(vocabulary), dtype=bool)
    for piece, number in vocabulary.items():
        continues[number] = piece.startswith("##")
    special = set(tokenizer.all_special_ids)
    ordinary = np.array([number for number in range(len(vocabulary)) if number not in special], dtype=np.int32)
    masking = Masking(0.15, 0.8, 0.1, False, tokenizer.mask_token_id, ordinary, continues)
    counts = np.ones(len(vocabulary))
    held_out: list[list[int]] = []
    for document in pubtator.read_documents(TEXT):
        pieces = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
        if not is_held_out(document.text, HELD_OUT):
            np.add.at(counts, pieces, 1)
            continue
        while len(pieces) > ROOM - 2:
            end = next(place for place in range(ROOM - 2, 0, -1) if not continues[pieces[place]])
            held_out.append(pieces[:end])
            pieces = pieces[end:]
        held_out.append(pieces)
    loss = unigram = terms = 0.0
    for number, row in enumerate(held_out):
        seen, chosen = masking.draw(np.array(row, dtype=np.int32), 0, 0, number)
        ids = torch.tensor([[tokenizer.cls_token_id, *seen.tolist(), tokenizer.sep_token_id]])
        with torch.no_grad():
            scores = torch.log_softmax(model(input_ids=ids).logits[0].double(), dim=-1)
        for place in chosen:
            loss -= float(scores[place + 1, row[place]])
            unigram -= math.log(counts[row[place]] / counts.sum())
            terms += 1
    assert math.exp(loss / terms) == pytest.approx(series(whole.run, names.BEST_PERPLEXITY)[-1], rel=1e-4)
    assert math.exp(unigram / terms) == pytest.approx(series(whole.run, names.UNIGRAM_PERPLEXITY)[0], rel=1e-9)


def test_a_pretraining_run_leaves_a_complete_directory(whole: Finished) -> None:
    run = whole.run
    assert run.status.step == run.status.steps == steps_done(run)
    assert run.status.epoch == EPOCHS
    record = run.record
    assert (record.stage, record.tasks, record.access) == ("pretrain", (), "open")
    assert set(record.data_hashes) == {"text"}
    expected = sorted((name, event.step, value) for event in run.events() for name, value in event.values.items())
    assert mlflow_metrics(run) == expected
    written = b"".join(
        path.read_bytes() for path in run.path.rglob("*") if path.is_file() and "checkpoints" not in path.parts
    )
    document = next(iter(pubtator.read_documents(TEXT)))
    assert document.text[:40].encode() not in written
    assert not (run.path.parent / "test_looks.jsonl").exists()


def test_a_stopped_run_goes_on_to_the_same_end(lab: TextLab, whole: Finished) -> None:
    run = lab.run("stopped")
    process = lab.start("stopped")
    wait_until(lambda: (run.path / "run.json").exists() and steps_done(run) >= 7, process)
    run.stop_file.touch()
    process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_STOPPED
    assert run.state() is State.STOPPED
    assert run.status.step < run.status.steps
    lab.finish("stopped")
    assert recorded(run) == recorded(whole.run)
    assert files(run) == files(whole.run)


def test_a_killed_run_goes_on_to_the_same_end(lab: TextLab, whole: Finished) -> None:
    run = lab.run("killed")
    process = lab.start("killed")
    per_epoch = whole.run.status.steps // EPOCHS
    wait_until(lambda: (run.path / "run.json").exists() and steps_done(run) >= per_epoch + 2, process)
    process.kill()
    process.communicate(timeout=SECONDS)
    assert run.state() is State.LOST
    lab.finish("killed")
    assert recorded(run) == recorded(whole.run)
    assert files(run) == files(whole.run)


def test_two_ranks_compute_what_one_does(lab: TextLab, whole: Finished) -> None:
    quiet = ("--set", "encoder.dropout=0.0", "--set", "pretrain.epochs=1")
    lab.finish("one", *quiet)
    lab.end(lab.start("two", *quiet, ranks=2), "two")
    for name in (names.HELDOUT_LOSS, names.TRAIN_LOSS, names.UNIGRAM_PERPLEXITY):
        assert series(lab.run("two"), name) == pytest.approx(series(lab.run("one"), name), rel=1e-4)


def test_further_stages_start_from_what_was_pretrained_and_bear_its_mark(
    tmp_path: Path, tiny_encoder: Path, lab: TextLab
) -> None:
    mine = TextLab(tmp_path)
    task = {
        "name": "diseases",
        "kind": "tagging",
        "format": "pubtator",
        "labels": ["Disease"],
        "access": "open",
        "files": {split: f"cdr/{split}.pubtator.txt" for split in ("train", "dev", "test")},
    }
    further = {"start": None, "scratch": None, "epochs": None, "steps": 12, "evaluate_every": 5, "access": "dua"}
    mine.describe(
        {**further, "masking": "words", "clean": "bluebert"},
        stages=["pretrain", "refine"],
        encoder={"name": str(tiny_encoder), "max_pieces": ROOM},
        refine={"epochs": 1, "batch_size": 32},
        data_root=str(SAMPLE_FOLDER),
        tasks=[task],
    )
    mine.finish("family")
    first, second = mine.run("family-pretrain"), mine.run("family")
    assert second.record.parent == "family-pretrain"
    assert (first.record.access, second.record.access) == ("dua", "dua")
    steps = [point["step"] for point in history(first.events())[names.HELDOUT_LOSS]]
    assert steps == [0, 5, 10, 12]
    made = first.path / "checkpoints" / "best" / "encoder"
    assert is_marked(str(made))
    assert is_marked(str(second.path / "checkpoints" / "best" / "encoder"))
    before = load_file(tiny_encoder / "model.safetensors")
    after, found = AutoModel.from_pretrained(made, output_loading_info=True)
    assert not found["missing_keys"]
    weights = after.state_dict()
    assert torch.equal(weights["pooler.dense.weight"], before["pooler.dense.weight"])
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(weights[name], before[name])
    assert "0 missing and drawn at random" in (second.path / "train.log").read_text()


def test_the_packaged_encoder_learns_the_text_further_and_loads_in_plain_transformers(tmp_path: Path) -> None:
    mine = TextLab(tmp_path)
    further = {"start": None, "scratch": None, "epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "warmup": 0.05}
    mine.describe(further, encoder={"name": "sample", "max_pieces": 128, "dropout": 0.0})
    mine.finish("further")
    run = mine.run("further")
    found = series(run, names.HELDOUT_PERPLEXITY)
    assert found == sorted(found, reverse=True), "it falls with every epoch"
    assert found[-1] < series(run, names.UNIGRAM_PERPLEXITY)[0]
    _, loaded = AutoModel.from_pretrained(run.path / "checkpoints" / "best" / "encoder", output_loading_info=True)
    assert not loaded["missing_keys"]


def test_a_malformed_text_is_a_data_error_before_anything_is_made(tmp_path: Path, lab: TextLab) -> None:
    mine = TextLab(tmp_path)
    (tmp_path / "bad.jsonl").write_text(json.dumps({"body": "secret"}) + "\n")
    mine.describe({"files": ["bad.jsonl"], "format": "jsonl"})
    process = mine.start("bad")
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_DATA
    assert "bad.jsonl:1: expected a text in the member 'text'" in errors
    assert "secret" not in errors
    assert not mine.run("bad").path.exists()
