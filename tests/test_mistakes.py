"""`mtscale errors`: every mistake in its group and context, on a terminal alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale import cli
from mtscale.corpora import catalogue
from mtscale.corpora.example import PairExample, Span, TaggedExample
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, EXIT_REFUSED
from mtscale.predictions import Prediction, store
from mtscale.runs import RunDirectory
from mtscale.serving.mistakes import contexts, find_mistakes
from mtscale.serving.shown import visible
from mtscale.tasks import TASKS
from mtscale.training import looks
from tests.trained import make_trained_run

NER = TASKS["cdr-disease"]


def spans(document: str, *found: tuple[int, int, str]) -> Prediction:
    return Prediction(id=document, document=document, spans=list(found), probabilities=[0.5] * len(found))


def test_mentions_are_grouped_by_kind_of_error() -> None:
    gold = {
        "a": frozenset({Span(0, 4, "A"), Span(10, 20, "A"), Span(30, 34, "B"), Span(40, 44, "A"), Span(60, 70, "B")}),
        "b": frozenset({Span(0, 4, "A")}),
    }
    found = [
        spans("a", (0, 4, "A"), (10, 15, "A"), (30, 34, "A"), (50, 54, "B"), (61, 70, "A")),
    ]
    mistakes = find_mistakes(NER, gold, found)
    assert {(one.group, one.id, one.marks[-1].start) for one in mistakes} == {
        ("boundary", "a", 10),
        ("type", "a", 30),
        ("spurious", "a", 50),
        ("both", "a", 61),
        ("missed", "a", 40),
        ("missed", "b", 0),
    }


STRETCHES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.sampled_from("AB")), max_size=8)


@settings(deadline=None)
@given(gold=STRETCHES, found=STRETCHES)
def test_every_wrong_prediction_is_one_mistake_and_every_lost_mention_is_told(
    gold: list[tuple[int, int, str]], found: list[tuple[int, int, str]]
) -> None:
    expected = {Span(start, start + length, label) for start, length, label in gold}
    predicted = {Span(start, start + length, label) for start, length, label in found}
    mistakes = find_mistakes(
        NER, {"d": frozenset(expected)}, [spans("d", *[(s.start, s.end, s.label) for s in predicted])]
    )
    wrong = [one for one in mistakes if one.group != "missed"]
    assert sorted(one.marks[-1] for one in wrong) == sorted(predicted - expected)
    for lost in expected - predicted:
        near = [span for span in predicted - expected if span.start < lost.end and lost.start < span.end]
        missed = [one for one in mistakes if one.group == "missed" and one.marks == (lost,)]
        assert len(missed) == (not near)


def test_classes_and_scores() -> None:
    relation = TASKS["cdr-relation"]
    gold = {"1": ("induces",), "2": ("none",), "3": ("induces",)}
    found = [Prediction(id="1", document="d", label="none"), Prediction(id="2", document="d", label="none")]
    mistakes = find_mistakes(relation, gold, found)
    assert [(one.group, one.id) for one in mistakes] == [("induces -> none", "1"), ("induces -> none", "3")]
    scores = [Prediction(id=id_, document="d", score=score) for id_, score in (("1", 2.0), ("2", 4.5))]
    largest = find_mistakes(TASKS["cdr-similarity"], {"1": 1.5, "2": 1.0}, scores)
    assert [(one.id, one.gold, one.predicted) for one in largest] == [("2", "1.00", "4.50"), ("1", "1.50", "2.00")]


def test_contexts_mark_gold_and_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The acute tremor\x1b[31m went."
    monkeypatch.setattr(catalogue, "read_examples", lambda *_: iter([TaggedExample("d.s0", "d", text, 100, (), None)]))
    gold = {"d": frozenset({Span(104, 116, "Disease")})}
    (mistake,) = find_mistakes(NER, gold, [spans("d", (110, 116, "Disease"))])
    ((_, shown),) = contexts(NER, "dev", None, [mistake])
    assert shown == "The [acute {tremor}] [31m went."
    assert visible("a\tb\n\x9b\u202ec") == "a b   c"
    pair = PairExample("1", "d", "first", "second", "x")
    monkeypatch.setattr(catalogue, "read_examples", lambda *_: iter([pair]))
    gold_classes = {"1": "significantly increased"}
    found = [Prediction(id="1", document="d", label="significantly decreased")]
    mistakes = find_mistakes(TASKS["evidence-inference"], gold_classes, found)
    ((_, shown),) = contexts(TASKS["evidence-inference"], "dev", None, mistakes)
    assert shown == "first  ||  second"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    made = make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder)
    for split in ("dev", "test"):
        examples = catalogue.read_examples(NER, split, None)  # type: ignore[arg-type]
        nothing = [Prediction(id=one.id, document=one.document, spans=[], probabilities=[]) for one in examples]
        store(nothing, made.path / "predictions" / f"{split}.cdr-disease.jsonl")
    return made


def test_texts_go_to_a_terminal_alone(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["errors", str(run.path), "--task", "cdr-disease", "--limit", "3"]
    assert cli.main(command) == EXIT_REFUSED
    told = capsys.readouterr()
    assert "the output is no terminal" in told.err
    assert not told.out
    assert cli.main([*command, "--allow-text"]) == EXIT_FINISHED
    shown = capsys.readouterr().out
    total = sum(len(item.value) for item in catalogue.iterate_gold(NER, "dev", None))  # type: ignore[arg-type]
    assert f"== missed: {total}" in shown
    assert len([line for line in shown.splitlines() if "(Disease): " in line]) == 3
    assert looks.read(run.path.parent) == []
    assert cli.main([*command, "--allow-text", "--split", "test"]) == EXIT_FINISHED
    assert [look.task for look in looks.read(run.path.parent)] == ["cdr-disease"]
    assert cli.main(["errors", str(run.path), "--task", "cdr-relation", "--allow-text"]) == EXIT_DATA
    assert cli.main(["errors", str(run.path), "--task", "absent", "--allow-text"]) == EXIT_REFUSED


def test_a_terminal_needs_no_flag(run: RunDirectory) -> None:
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "mtscale.cli", "errors", str(run.path), "--task", "cdr-disease", "--limit", "1"]
    done = subprocess.run(command, stdout=inner, stderr=subprocess.PIPE, text=True)
    os.close(inner)
    assert done.returncode == EXIT_FINISHED, done.stderr
    assert b"== missed" in os.read(outer, 10_000)
    os.close(outer)
