"""Models of protocol ``paper`` are used as they were trained: their inputs, their classes, what their exports say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer

from mtscale import cli, judge, names
from mtscale.corpora import catalogue
from mtscale.corpora.example import TaggedExample
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED
from mtscale.inputs.batches import Batch
from mtscale.inputs.cache import open_split
from mtscale.metrics.spans import PIECE_CLASSES
from mtscale.model.encoder import load_encoder, longest_input
from mtscale.model.multitask import MultiTaskModel
from mtscale.predictions import Prediction
from mtscale.procedure import PaperSettings
from mtscale.runs import RunDirectory
from mtscale.sealed import seal
from mtscale.serving import trained
from mtscale.serving.predictor import Predictor
from mtscale.serving.trained import TrainedModel
from mtscale.tasks import SAMPLE_TASKS, TASKS, Kind
from mtscale.training import evaluate as training
from mtscale.training.distributed import Ranks
from tests.test_export import check_exports
from tests.trained import MAX_PIECES, make_trained_run

BLIND = PaperSettings(cut="gold_blind")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    return make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder, protocol="paper")


@pytest.fixture(scope="module")
def model(run: RunDirectory) -> TrainedModel:
    return trained.load_run(run)


class Forward:
    """The forward pass that training evaluates with, on a run's kept weights; without DeepSpeed around it."""

    device = torch.device("cpu")

    def __init__(self, run: RunDirectory) -> None:
        best = run.path / "checkpoints" / "best"
        encoder, _ = load_encoder(str(best / "encoder"), "checkpoint", MAX_PIECES)
        self._model = MultiTaskModel(
            encoder, SAMPLE_TASKS, 0.1, 1, {}, piece_classes=True, dropout_per_example=True
        ).eval()
        self._model.heads.load_state_dict(load_file(best / "heads.safetensors"))

    @torch.inference_mode()
    def predict(self, task: str, batch: Batch) -> Tensor:
        return self._model(task, batch.input_ids, batch.token_type_ids, batch.layout, batch.read)  # type: ignore[no-any-return]


def by_training(run: RunDirectory, model: TrainedModel, task: str, procedure: PaperSettings) -> list[Prediction]:
    """What training stores of the test split."""
    longest = longest_input(str(run.path / "checkpoints" / "best" / "encoder"))
    split = open_split(TASKS[task], "test", None, model.vocabulary, MAX_PIECES, procedure, longest)
    if TASKS[task].kind is Kind.TAGGING:
        assert MAX_PIECES < split.lengths.max() <= longest, "some are longer than training takes"
    return training.predict(Forward(run), split, 32, Ranks(0, 0, 1, 1))  # type: ignore[arg-type]


def assert_same(found: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    assert [one["id"] for one in found] == [one["id"] for one in expected]
    for one, other in zip(found, expected, strict=True):
        for name in ("label", "spans", "tags", "words"):
            assert one.get(name) == other.get(name)
        assert one.get("score") == pytest.approx(other.get("score"), abs=1e-5)
        assert one.get("probabilities") == pytest.approx(other.get("probabilities"), abs=1e-5)


@pytest.mark.parametrize("task", ["cdr-disease", "cdr-relation", "cdr-similarity", "evidence-inference"])
def test_new_text_is_predicted_on_as_training_evaluates(run: RunDirectory, model: TrainedModel, task: str) -> None:
    """Sentences too, but for their cut, which has no gold to look at."""
    expected = by_training(run, model, task, BLIND)
    outcomes = Predictor(model, [TASKS[task]]).predict(catalogue.read_examples(TASKS[task], "test", None))
    found = [outcome[task] for outcome in outcomes if outcome]
    if TASKS[task].kind is Kind.TAGGING:
        found = [one for one in found if one["words"]]
        assert {"X", "CLS", "SEP"} <= set(chain.from_iterable(one["tags"] for one in found))
    assert_same(found, expected)


def test_the_gold_of_what_is_predicted_on_is_not_looked_at(model: TrainedModel) -> None:
    (longest,) = sorted(
        (one for one in catalogue.read_examples(TASKS["cdr-disease"], "test", None) if isinstance(one, TaggedExample)),
        key=lambda one: len(one.text),
    )[-1:]
    encoder = model.task_encoder(TASKS["cdr-disease"])
    bare = TaggedExample(longest.id, longest.document, longest.text, longest.offset, ())
    assert list(encoder.rows([longest])) == list(encoder.rows([bare]))
    assert encoder.counts.sentences_cut == 2


@pytest.mark.parametrize("task", ["cdr-disease", "evidence-inference"])
def test_evaluate_takes_the_procedure_of_the_run(
    run: RunDirectory, model: TrainedModel, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", str(run.path), "--task", task, "--split", "test", "--json"]
    assert cli.main(command) == EXIT_FINISHED
    found = json.loads(capsys.readouterr().out)[task]
    expected = judge.score(TASKS[task], "test", by_training(run, model, task, PaperSettings()), None)
    assert found["values"] == pytest.approx(expected.values, abs=1e-6)
    if task == "cdr-disease":
        blind = judge.score(TASKS[task], "test", by_training(run, model, task, BLIND), None)
        assert blind.values != expected.values, "the cut makes a difference"
    assert cli.main(command[:-3]) == EXIT_FINISHED
    assert "trained on dev too" in capsys.readouterr().out


def test_an_export_has_the_classes_of_the_head_and_says_what_it_is(run: RunDirectory, tmp_path: Path) -> None:
    run.append_event("test", 10, 1, {"test/cdr-disease/score": 0.5, "test/cdr-disease/floor": 0.4})
    cards = {}
    for task in ("cdr-disease", "evidence-inference"):
        out = tmp_path / task
        assert cli.main(["export", str(run.path), "--task", task, "-o", str(out)]) == EXIT_FINISHED
        cards[task] = (out / "README.md").read_text(encoding="utf-8")
        assert names.OPTIMISTIC in cards[task]
    labels = ["O", "B-Disease", "I-Disease", *PIECE_CLASSES]
    assert AutoConfig.from_pretrained(tmp_path / "cdr-disease").id2label == dict(enumerate(labels))
    assert 'ignore_labels=["O", "X", "CLS", "SEP"]' in cards["cdr-disease"]
    assert '{"text": SECOND, "text_pair": FIRST}' in cards["evidence-inference"]
    lengths = [AutoTokenizer.from_pretrained(tmp_path / task).model_max_length for task in cards]
    assert lengths == [longest_input(str(tmp_path / "cdr-disease")), MAX_PIECES]


@pytest.mark.slow
def test_plain_transformers_predicts_the_same(run: RunDirectory, tmp_path: Path) -> None:
    check_exports(run, ["cdr-disease", "cdr-chemical", "cdr-similarity"], 200, tmp_path)


def test_the_whole_export_keeps_the_procedure(
    run: RunDirectory, model: TrainedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    assert cli.main(["export", str(run.path), "-o", str(whole)]) == EXIT_FINISHED
    assert trained.load(str(whole), tmp_path).procedure == model.procedure == PaperSettings()
    description = json.loads((whole / "model.json").read_text(encoding="utf-8"))
    del description["procedure"]
    (whole / "model.json").write_text(json.dumps(description), encoding="utf-8")
    (whole / "README.md").unlink()
    seal(whole)
    command = ["predict", "--model", str(whole), "-o", str(tmp_path / "out"), str(whole / "model.json")]
    assert cli.main(command) == EXIT_REFUSED
    assert "export again" in capsys.readouterr().err
