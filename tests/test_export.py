"""Exports: plain transformers, without mtscale, predicts what `mtscale predict` does."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoTokenizer

from mtscale import cli
from mtscale.corpora import catalogue
from mtscale.corpora.example import SPLITS, PairExample, RelationExample, TaggedExample
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED, ConfigError
from mtscale.inputs.encode import MAX_WORDS, mask_arguments
from mtscale.model.multitask import MultiTaskModel
from mtscale.runs import RunDirectory
from mtscale.serving import trained
from mtscale.serving.export import plain_model
from mtscale.serving.trained import TrainedModel
from mtscale.tasks import SAMPLE_TASKS, TASKS, Kind
from tests import plain_transformers
from tests.trained import MAX_PIECES, make_trained_run

# Of a score, and of its size where that is above 1: a drawn similarity head gives -10 to 10, where float32 itself is
# no finer than 1e-6.
TOLERANCE = 1e-5
PLAIN = Path(__file__).parent / "plain_transformers.py"
SEALED = """
[[tasks]]
name = "ward"
kind = "tagging"
format = "conll"
files = { train = "a", dev = "b", test = "c" }
labels = ["Problem <b>", "*Drug*"]
access = "dua"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    return make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder)


def inputs_of(task: str, model: TrainedModel, count: int) -> list[Any]:
    """Different ones of the sample that fit into one input."""
    found = list(dict.fromkeys(text for text in _texts(task, model) if _fits(text, model)))
    for shift in range(1, 50):
        if len(found) < count and isinstance(found[0], tuple):
            # The sample has fewer pairs: the first text of one with the second of another is a pair too.
            mixed = [(one, other) for (one, _), (_, other) in zip(found, found[shift:] + found[:shift], strict=True)]
            found = list(dict.fromkeys([*found, *(text for text in mixed if _fits(text, model))]))
    assert len(found) >= count
    return found[:count]


def _fits(text: Any, model: TrainedModel) -> bool:
    parts = text if isinstance(text, tuple) else (text,)
    ids = (model.vocabulary.backend.encode(part, add_special_tokens=False).ids for part in parts)
    return bool(text) and sum(map(len, ids)) <= MAX_PIECES - 3


def _texts(task: str, model: TrainedModel) -> Iterator[Any]:
    """Sentences of at most 30 words, marked sentences, or pairs."""
    splitter = model.vocabulary.backend
    for split in SPLITS:
        for example in catalogue.read_examples(TASKS[task], split, None):
            if isinstance(example, TaggedExample):
                words = splitter.pre_tokenizer.pre_tokenize_str(example.text)
                if len(words) <= MAX_WORDS:
                    yield example.text
            elif isinstance(example, RelationExample):
                yield mask_arguments(example)[0]
            else:
                assert isinstance(example, PairExample)
                yield example.first, example.second


def by_mtscale(run: RunDirectory, task: str, texts: list[Any], folder: Path) -> list[Any]:
    """The labels and scores of `mtscale predict`, in the shape of ``plain_transformers``."""
    members = {Kind.RELATION: "sentence", Kind.TAGGING: "text"}
    rows = [
        {"sentence1": text[0], "sentence2": text[1]} if isinstance(text, tuple) else {members[TASKS[task].kind]: text}
        for text in texts
    ]
    (folder / "inputs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = ["predict", "--model", str(run.path), "--task", task, "-o", str(folder / "out")]
    assert cli.main([*command, str(folder / "inputs.jsonl")]) == EXIT_FINISHED
    lines = (folder / "out" / "inputs.jsonl.predictions.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    if TASKS[task].kind is Kind.TAGGING:
        return [[[m["start"], m["end"], m["label"], m["score"]] for m in one["mentions"]] for one in found]
    predictions = [one["predictions"][task] for one in found]
    return [one.get("probabilities") or {"score": one["score"]} for one in predictions]


def by_transformers(places: Sequence[Path]) -> list[Any]:
    """What ``plain_transformers`` says of the exports and texts in these folders."""
    # The checkout is installed where this runs; a process without site's path files does not see it.
    packages = Path(transformers.__file__).parents[1]
    code = f"import runpy, sys; sys.path.insert(0, {str(packages)!r}); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [str(place / name) for place in places for name in ("export", "texts.json")]
    command = [sys.executable, "-I", "-S", "-c", code, str(PLAIN), *arguments]
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(places[0])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=places[0])
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_equal(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, dict):
            assert one == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE)
            assert max(one, key=one.__getitem__) == max(other, key=other.__getitem__)
        else:
            assert [span[:3] for span in one] == [span[:3] for span in other]
            assert [span[3] for span in one] == pytest.approx([span[3] for span in other], abs=TOLERANCE)


def export_and_predict(run: RunDirectory, task: str, count: int, folder: Path) -> list[Any]:
    """Export a head into a new folder, put texts for plain transformers beside it, and predict on these."""
    folder.mkdir()
    assert cli.main(["export", str(run.path), "--task", task, "-o", str(folder / "export")]) == EXIT_FINISHED
    model = trained.load_run(run)
    texts = inputs_of(task, model, count)
    swapped = model.procedure.pair_order == "second_first"
    places = ("text_pair", "text") if swapped else ("text", "text_pair")
    given = [dict(zip(places, text, strict=True)) if isinstance(text, tuple) else text for text in texts]
    if TASKS[task].kind is Kind.RELATION:
        given = [{"text": text} for text in texts]
    (folder / "texts.json").write_text(json.dumps(given), encoding="utf-8")
    expected = by_mtscale(run, task, texts, folder)
    check_variety(task, expected)
    return expected


def check_exports(run: RunDirectory, tasks: Sequence[str], count: int, folder: Path) -> None:
    expected = [export_and_predict(run, task, count, folder / task) for task in tasks]
    for found, wanted in zip(by_transformers([folder / task for task in tasks]), expected, strict=True):
        assert_equal(found, wanted)


def check_variety(task: str, expected: list[Any]) -> None:
    """Something is compared: several labels, spans, or scores are met."""
    count = len(expected)
    if TASKS[task].kind is Kind.TAGGING:
        assert sum(map(len, expected)) > count / 10
    elif TASKS[task].kind is Kind.SIMILARITY:
        assert len({round(one["score"], 2) for one in expected}) > count / 10
    else:
        assert len({max(one, key=one.__getitem__) for one in expected}) == len(TASKS[task].labels)


@pytest.mark.parametrize("task", ["cdr-chemical", "evidence-inference"])
def test_a_pipeline_predicts_the_same(run: RunDirectory, tmp_path: Path, task: str) -> None:
    """In this process; in one without mtscale, and of all tasks, it is shown by the slow test."""
    folder = tmp_path / task
    expected = export_and_predict(run, task, 20, folder)
    found = plain_transformers.predict(str(folder / "export"), str(folder / "texts.json"))
    assert_equal(found, expected)


@pytest.mark.slow
def test_plain_transformers_predicts_the_same_on_a_thousand_inputs(run: RunDirectory, tmp_path: Path) -> None:
    check_exports(run, [task.name for task in SAMPLE_TASKS], 1000, tmp_path)


def test_the_whole_model_is_loaded_from_its_export(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "whole")]) == EXIT_FINISHED
    again = trained.load(str(tmp_path / "whole"), tmp_path)
    model = trained.load_run(run)
    assert [task.name for task in again.tasks] == [task.name for task in model.tasks]
    for one, other in zip(again.tasks, model.tasks, strict=True):
        for name in ("kind", "labels", "negative", "arguments", "candidates", "marking", "score_range", "access"):
            assert getattr(one, name) == getattr(other, name)
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor)
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pkl"}]
    plain = transformers.AutoModel.from_pretrained(tmp_path / "whole" / "encoder")
    assert plain.pooler is not None
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "whole")]) == EXIT_REFUSED
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "whole" / "README.md").write_text("completed by hand")
    assert trained.load(str(tmp_path / "whole"), tmp_path).hash == again.hash


def test_a_model_under_an_agreement_is_exported_on_request_only(
    tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_trained_run(tmp_path / "runs", tiny_encoder, own=SEALED)
    out = tmp_path / "out"
    # The other heads stand on an encoder that has learnt from it too.
    for chosen in ([], ["--task", "ward"], ["--task", "cdr-disease"]):
        assert cli.main(["export", str(run.path), *chosen, "-o", str(out)]) == EXIT_REFUSED
        assert "--allow-dua" in capsys.readouterr().err
        assert not out.exists()
    assert cli.main(["export", str(run.path), "--task", "ward", "--allow-dua", "-o", str(out)]) == EXIT_FINISHED
    assert f"{out} holds what was learnt from ward" in capsys.readouterr().out
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "Data use agreement." in card
    assert "<b>" not in card
    assert r"Problem &lt;b&gt;" in card
    assert r"\*Drug\*" in card
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.model_max_length == MAX_PIECES


def test_an_encoder_made_from_text_under_an_agreement_seals_open_tasks_too(
    tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_trained_run(tmp_path / "runs", tiny_encoder)
    run.update_record(access="dua")  # as training writes it where the pretraining's text is
    export, out = ["export", str(run.path), "--task", "cdr-disease"], tmp_path / "out"
    assert cli.main([*export, "-o", str(out)]) == EXIT_REFUSED
    assert "the encoder's own training text" in capsys.readouterr().err
    assert cli.main([*export, "--allow-dua", "-o", str(out)]) == EXIT_FINISHED
    assert "Data use agreement." in (out / "README.md").read_text(encoding="utf-8")


def test_the_card_says_what_the_run_was(run: RunDirectory, tmp_path: Path) -> None:
    run.append_event("best", 10, 2, {"best/cdr-disease/score": 0.61})
    run.append_event("test", 10, 2, {"test/cdr-disease/score": 0.5, "test/cdr-disease/floor": 0.4})
    (run.path / "reports" / "calibration").mkdir(parents=True)
    report = {"split": "dev", "interval": [0.55, 0.67], "temperature": 1.5, "ece": 0.2, "ece_scaled": 0.1}
    (run.path / "reports" / "calibration" / "dev.cdr-disease.json").write_text(json.dumps(report))
    export = ["export", str(run.path), "--task", "cdr-disease", "-o", str(tmp_path / "out")]
    assert cli.main(export) == EXIT_FINISHED
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| cdr-disease | f1 | 0.6100 (0.5500 to 0.6700) | 0.5000 | 0.4000 |" in card
    assert "| cdr-disease | dev | 1.5000 | 0.2000 | 0.1000 |" in card
    assert run.record.id in card
    assert run.record.recipe_hash in card
    assert "`0123`" in card, "the hash of the data"
    assert "US Government work, public domain" in card
    assert "BioCreative V CDR" in card
    assert "at most 30 words" in card
    assert "Data use agreement" not in card
    assert card.startswith("---\nlibrary_name: transformers\n")


SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 80,
}


@pytest.mark.parametrize(
    ("kind", "fits"), [("bert", True), ("roberta", True), ("xlm-roberta", True), ("electra", False)]
)
def test_architectures_are_tried_and_not_looked_up(kind: str, fits: bool) -> None:
    """The [CLS] head of ELECTRA has a layer that no head here has; its tagging head is plain."""
    torch.manual_seed(1)
    encoder = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **SIZES))
    chosen = [TASKS["cdr-relation"], TASKS["cdr-similarity"], TASKS["cdr-disease"]]
    model = MultiTaskModel(encoder, chosen, 0.0, 1, {}).eval()

    class Ids:
        cls_id, sep_id = 0, 2

    made = TrainedModel(model, tuple(chosen), None, 60, Path(), "")  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainedModel, "vocabulary", property(lambda _: Ids))
        assert plain_model(made, TASKS["cdr-disease"]).config.id2label == {0: "O", 1: "B-Disease", 2: "I-Disease"}
        for task in chosen[:2]:
            if fits:
                config = plain_model(made, task).config
                assert list(config.id2label.values()) == (list(task.labels) or ["score"])
            else:
                with pytest.raises(ConfigError, match=f"no class for {kind}"):
                    plain_model(made, task)


def test_a_head_is_exported_as_it_is(run: RunDirectory) -> None:
    model = trained.load_run(run)
    for task in model.tasks:
        plain = plain_model(model, task)
        head = model.model.head(task.name).output
        assert torch.equal(plain.classifier.weight, head.weight)
        assert plain.config.problem_type == {
            Kind.TAGGING: None,
            Kind.SIMILARITY: "regression",
        }.get(task.kind, "single_label_classification")
