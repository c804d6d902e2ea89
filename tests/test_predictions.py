"""Stored predictions: read back as written, refused when wrong, and scored alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mtscale import cli, judge
from mtscale.corpora import catalogue
from mtscale.corpora.example import TaggedExample
from mtscale.corpora.tags import tag_words
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, EXIT_REFUSED, DataError
from mtscale.predictions import Prediction, load, store
from mtscale.tasks import TASKS, Task

DISEASE, RELATION, SIMILARITY = TASKS["cdr-disease"], TASKS["cdr-relation"], TASKS["cdr-similarity"]


def perfect(task: Task) -> list[Prediction]:
    """The gold of the sample's test split as predictions, tags over blank-separated words."""
    gold = catalogue.read_gold(task, "test", None)
    if task is SIMILARITY:
        return [Prediction(id=key, document="d", score=float(str(value))) for key, value in gold.items()]
    if task is RELATION:
        return [Prediction(id=key, document="d", label=value[0]) for key, value in gold.items()]  # type: ignore[index]
    made = []
    for one in catalogue.read_examples(task, "test", None):
        assert isinstance(one, TaggedExample)
        words, at = [], one.offset
        for word in one.text.split(" "):
            words += [(at, at + len(word))] if word else []
            at += len(word) + 1
        spans = [(span.start, span.end, span.label) for span in one.spans]
        tags = tag_words(words, one.spans)
        made.append(Prediction(id=one.id, document=one.document, spans=spans, words=words, tags=tags))
    return made


def run(*arguments: str) -> int:
    return cli.main(["score", *arguments])


@pytest.mark.parametrize("task", [DISEASE, RELATION, SIMILARITY])
def test_what_is_stored_is_scored_alone(task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "test.jsonl"
    store(perfect(task), path)
    assert json.loads(json.dumps(load(path, task))) == json.loads(json.dumps(perfect(task)))
    assert run("--task", task.name, "--predictions", str(path), "--json") == EXIT_FINISHED
    printed = json.loads(capsys.readouterr().out)["values"]
    assert printed == judge.score(task, "test", perfect(task), None).values
    assert printed["score"] > 0.99
    assert ("conlleval_f1" in printed) == (task is DISEASE)


def test_a_wrong_prediction_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = perfect(RELATION)
    positives = [one for one in made if one["label"] == "induces"]
    positives[0]["label"] = "none"
    store(made, tmp_path / "p.jsonl")
    assert run("--task", "cdr-relation", "--predictions", str(tmp_path / "p.jsonl"), "--json") == EXIT_FINISHED
    found = json.loads(capsys.readouterr().out)["values"]
    assert found["micro_recall"] == pytest.approx(1 - 1 / len(positives))
    assert found["micro_precision"] == 1


def test_spans_alone_have_no_conll_reading(tmp_path: Path) -> None:
    bare = [Prediction(id=one["id"], document=one["document"], spans=one["spans"]) for one in perfect(DISEASE)]
    store(bare, tmp_path / "p.jsonl")
    values = judge.score_files(DISEASE, "test", [tmp_path / "p.jsonl"], None).values
    assert values["f1"] == judge.score(DISEASE, "test", perfect(DISEASE), None).values["f1"]
    assert "conlleval_f1" not in values


def test_the_folds_of_a_task_are_scored_as_one_test_set(tmp_path: Path) -> None:
    rows = [f"{number}\tSecret {number}\tother {number}\t{number % 5}" for number in range(20)]
    (tmp_path / "all.tsv").write_text("\n".join(["index\tsentence1\tsentence2\tscore", *rows]) + "\n")
    task = replace(SIMILARITY, packaged=False, corpus="", files={"train": ("all.tsv",)}, folds=4)
    files = []
    for fold in range(4):
        gold = catalogue.read_gold(replace(task, fold=fold), "test", tmp_path)
        files.append(tmp_path / f"{fold}.jsonl")
        store([Prediction(id=key, document=key, score=float(str(value))) for key, value in gold.items()], files[-1])
    score = judge.score_files(task, "test", files, tmp_path)
    assert score.report["support"] == 20
    assert score.values["pearson"] == pytest.approx(1)
    assert judge.score_files(task, "test", files[:1], tmp_path).report["support"] == 5
    with pytest.raises(DataError, match="with an id that is not in it"):
        judge.score_files(task, "test", files[1:2], tmp_path)


GOOD_SPAN = {"id": "s", "document": "d", "spans": [[0, 4, "Disease"]]}


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (DISEASE, "not json Secretword"),
        (DISEASE, "[" * 100_000),
        (DISEASE, "[1]"),
        (DISEASE, json.dumps({**GOOD_SPAN, "spans": [[4, 4, "Disease"]]})),
        (DISEASE, json.dumps({**GOOD_SPAN, "spans": [[0, 4, "Secretword"]]})),
        (DISEASE, json.dumps({**GOOD_SPAN, "spans": [[0, True, "Disease"]]})),
        (DISEASE, json.dumps({**GOOD_SPAN, "words": [[0, 4]]})),
        (DISEASE, json.dumps({**GOOD_SPAN, "words": [[0, 4]], "tags": []})),
        (DISEASE, json.dumps({**GOOD_SPAN, "words": [[0, 4]], "tags": ["B-Secretword"]})),
        (DISEASE, json.dumps({**GOOD_SPAN, "id": 7})),
        (RELATION, json.dumps({"id": "s", "label": "Secretword"})),
        (RELATION, json.dumps({"id": "s", "label": ["induces"]})),
        (SIMILARITY, json.dumps({"id": "s", "score": float("nan")})),
        (SIMILARITY, json.dumps({"id": "s", "score": "3"})),
    ],
)
def test_bad_lines_are_refused_by_number(task: Task, line: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("\n" + line + "\n")
    with pytest.raises(DataError, match=r"p\.jsonl:2: ") as caught:
        load(path, task)
    assert "Secretword" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--task", "cdr-diseases", "--predictions", "p"], EXIT_REFUSED, "did you mean 'cdr-disease'"),
        (["--task", "mine", "--recipe", "sample", "--predictions", "p"], EXIT_REFUSED, "no task 'mine'"),
        (["--task", "cdr-disease", "--predictions", "absent"], EXIT_DATA, "absent: expected a readable file"),
    ],
)
def test_what_cannot_be_scored(
    arguments: Sequence[str], code: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    assert message in "".join(capfd.readouterr())


def test_a_second_prediction_for_an_id_and_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(2 * (json.dumps({"id": "s", "score": 1}) + "\n"))
    with pytest.raises(DataError, match=r":2: a second prediction"):
        load(path, SIMILARITY)
    path.write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(DataError, match="expected UTF-8"):
        load(path, SIMILARITY)
