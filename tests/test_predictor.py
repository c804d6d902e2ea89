"""The predictor: one pass for all heads, in the order of the input, whatever the window, with bounded memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from mtscale.corpora import catalogue
from mtscale.corpora.example import Example, PairExample, RelationExample, Span, TaggedExample
from mtscale.errors import ConfigError
from mtscale.serving import trained
from mtscale.serving.predictor import Outcome, Predictor
from mtscale.serving.trained import TrainedModel
from mtscale.tasks import TASKS
from tests.trained import make_trained_run

SECOND_MARKING = """
[[tasks]]
name = "marked"
kind = "relation"
format = "pubtator"
files = { train = "a", dev = "b", test = "c" }
labels = ["induces", "none"]
negative = "none"
arguments = ["Chemical", "Disease"]
relation = "CID"
marking = "typed_markers"
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> TrainedModel:
    return trained.load_run(make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder, own=SECOND_MARKING))


def sample(task: str, count: int) -> list[Example]:
    return list(itertools.islice(catalogue.read_examples(TASKS[task], "test", None), count))


@pytest.fixture(scope="module")
def mixed() -> list[Example]:
    """Sentences, marked sentences and pairs, shuffled together."""
    examples = [*sample("cdr-disease", 40), *sample("cdr-relation", 15), *sample("evidence-inference", 20)]
    order = np.random.default_rng(3).permutation(len(examples))
    return [examples[number] for number in order]


def one_by_one(model: TrainedModel, task: str, example: Example) -> Outcome:
    """A head alone on an example alone."""
    (found,) = Predictor(model, model.chosen([task])).predict([example])
    return found


def assert_same(found: Any, expected: Any) -> None:
    """Equal but for rounding in numbers."""
    assert type(found) is type(expected)
    if isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key in found:
            assert_same(found[key], expected[key])
    elif isinstance(found, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(found, float):
        assert found == pytest.approx(expected, abs=2e-5)
    else:
        assert found == expected


def test_all_heads_together_predict_what_each_does_alone(model: TrainedModel, mixed: list[Example]) -> None:
    together = list(Predictor(model, window=33).predict(mixed))
    for example, outcome in zip(mixed, together, strict=True):
        assert outcome, "a head fits every one of them"
        for task in [one.name for one in model.tasks]:
            alone = one_by_one(model, task, example)
            assert alone.keys() == ({task} & outcome.keys())
            for name, prediction in alone.items():
                assert_same(outcome[name], prediction)


def test_each_input_goes_through_the_encoder_once(
    model: TrainedModel, mixed: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    real = model.model._reader

    def counting(ids: Tensor, types: Tensor, layout: Any, read: Tensor) -> Tensor:
        rows.append(layout.rows)
        return real(ids, types, layout, read)

    monkeypatch.setattr(model.model, "_reader", counting)
    sentences = [example for example in mixed if isinstance(example, TaggedExample)]
    predictor = Predictor(model)
    found = list(predictor.predict(sentences))
    assert all(outcome.keys() == {"cdr-disease", "cdr-chemical"} for outcome in found)
    assert sum(rows) == predictor.counts.rows < 2 * len(sentences)
    assert len(rows) < len(sentences) / 5
    rows.clear()
    pairs = [example for example in mixed if isinstance(example, PairExample)]
    assert all(one.keys() == {"cdr-similarity", "evidence-inference"} for one in Predictor(model).predict(pairs))
    assert sum(rows) == len(pairs)


def test_the_window_changes_nothing(model: TrainedModel, mixed: list[Example]) -> None:
    small, large = (list(Predictor(model, window=window).predict(mixed)) for window in (1, 500))
    for one, other in zip(small, large, strict=True):
        assert_same(one, other)


def test_a_head_reads_its_own_marking_and_types(model: TrainedModel) -> None:
    sentence = "Iron caused a tremor."
    iron, tremor = Span(0, 4, "Chemical"), Span(14, 20, "Disease")
    (found,) = Predictor(model).predict([RelationExample("1", "d", sentence, 0, (iron, tremor), ())])
    masked, markers = ("@CHEMICAL$ caused a @DISEASE$.", " @ * chemical * Iron @  caused a  # ^ disease ^ tremor # .")
    for task, text in (("cdr-relation", masked), ("marked", markers)):
        ready = RelationExample("1", "d", text, 0, None, ())
        assert_same(found[task], one_by_one(model, task, ready)[task])
    swapped = RelationExample("1", "d", sentence, 0, (tremor, iron), ())
    assert list(Predictor(model).predict([swapped])) == [{}]


def test_a_long_sentence_is_cut_as_in_training_and_joined(model: TrainedModel) -> None:
    text = " ".join(f"word{number}" for number in range(200))
    predictor = Predictor(model)
    (found,) = predictor.predict([TaggedExample("1", "d", text, 7, ())])
    assert predictor.counts.sentences_cut == 1
    for prediction in found.values():
        words = prediction["words"]
        assert [text[start - 7 : end - 7] for start, end in words] == text.split()
        assert len(prediction["tags"]) == len(prediction["word_probabilities"]) == 200


def test_predictions_do_not_depend_on_ids(model: TrainedModel) -> None:
    """A stream of documents may name two of them alike."""
    first, second = (TaggedExample("same", "d", text, 0, ()) for text in ("Iron was given.", "A tremor of both hands."))
    found = list(Predictor(model).predict([first, second]))
    assert_same(found[1], one_by_one(model, "cdr-disease", second) | one_by_one(model, "cdr-chemical", second))
    assert len(found[0]["cdr-disease"]["words"]) == 4


def test_an_endless_stream_is_answered_with_bounded_memory(model: TrainedModel) -> None:
    drawn = 0

    def endless() -> Iterator[Example]:
        nonlocal drawn
        while True:
            drawn += 1
            yield TaggedExample(f"d.s{drawn}", "d", f"Iron number {drawn} caused a tremor.", drawn * 50, ())

    window = 50
    answers = Predictor(model, window=window).predict(endless())
    for _ in range(3 * window):
        next(answers)
    assert drawn == 3 * window
    tracemalloc.start()
    try:
        for _ in range(window):
            next(answers)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10 * window):
            next(answers)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 200_000
    assert drawn == 14 * window


def test_unknown_tasks_and_damaged_weights_are_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    run = make_trained_run(tmp_path, tiny_encoder)
    with pytest.raises(ConfigError, match="no task cdr-gene; it has cdr-disease"):
        trained.load_run(run).chosen(["cdr-gene"])
    weights = run.path / "checkpoints" / "best" / "heads.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ConfigError, match=r"heads\.safetensors is not what was saved"):
        trained.load("trained", tmp_path)
    weights.unlink()
    with pytest.raises(ConfigError, match="no kept epoch"):
        trained.load("trained", tmp_path)


SHAPES = """
import sys
from pathlib import Path
import torch
from mtscale.runs import RunDirectory
from mtscale.serving import trained

def anonymous():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])

trained.load_run(RunDirectory(Path(sys.argv[1])))
before = anonymous()
with torch.inference_mode():
    for pieces in range(1, 400):
        torch.nn.functional.gelu(torch.zeros(pieces, 64))
print(anonymous() - before)
"""


@pytest.mark.slow
def test_kernels_of_shapes_that_are_gone_are_not_kept(tmp_path: Path, tiny_encoder: Path) -> None:
    run = make_trained_run(tmp_path, tiny_encoder)
    command = [sys.executable, "-c", SHAPES, str(run.path)]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 10 * 1024, "KiB; more than 40 MiB with oneDNN's own setting"
