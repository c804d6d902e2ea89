"""A run that was trained, from its directory to predictions, exports and evaluations."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w

from mtscale import cli
from mtscale.errors import EXIT_FINISHED
from mtscale.predictions import Prediction, load
from mtscale.run_summary import summarize
from mtscale.serving import trained
from tests.lab import Lab


@pytest.mark.slow
def test_a_trained_run_predicts_on_its_test_files_what_it_stored(
    tmp_path: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path)
    lab.write(tiny_encoder)
    content = tomllib.loads((tmp_path / "recipe.toml").read_text(encoding="utf-8"))
    content["tasks"] = [{**table, "access": "open"} for table in content["tasks"]]
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    lab.finish("run")
    run = lab.run("run")
    monkeypatch.chdir(tmp_path)
    tasks = {task.name: task for task in trained.run_tasks(run)}
    stored = {name: load(run.path / "predictions" / f"test.{name}.jsonl", task) for name, task in tasks.items()}
    command = ["predict", "--model", "run", "--runs", str(lab.runs), "-o"]

    assert cli.main([*command, "docs", "diseases.test.pubtator.txt", "--task", "diseases"]) == EXIT_FINISHED
    found = {
        (line["document"], one["start"], one["end"], one["label"]): one["score"]
        for line in lines(tmp_path / "docs" / "diseases.test.pubtator.txt.predictions.jsonl")
        for one in line["mentions"]
    }
    assert found == pytest.approx(mentions(stored["diseases"]), abs=1e-5)

    assert cli.main([*command, "pairs", "evidence.test.tsv", "likeness.test.tsv"]) == EXIT_FINISHED
    for name in ("evidence", "likeness"):
        answers = lines(tmp_path / "pairs" / f"{name}.test.tsv.predictions.jsonl")
        for line, before in zip(answers, stored[name], strict=True):
            assert line["id"] == before["id"]
            now = line["predictions"][name]
            if name == "likeness":
                assert now["score"] == pytest.approx(before["score"], abs=1e-5)
            else:
                assert list(now["probabilities"].values()) == pytest.approx(before["probabilities"], abs=1e-5)

    given = ["induction.test.pubtator.txt", "--task", "induction", "--entities", "given"]
    assert cli.main([*command, "pairs-of-mentions", *given]) == EXIT_FINISHED
    relations = {
        f"{one['first'][0]}-{one['first'][1]}.{one['second'][0]}-{one['second'][1]}": list(
            one["probabilities"].values()
        )
        for line in lines(tmp_path / "pairs-of-mentions" / "induction.test.pubtator.txt.predictions.jsonl")
        for one in line["relations"]
    }
    expected = {one["id"].split(".", 2)[2]: one["probabilities"] for one in stored["induction"]}
    assert relations.keys() == expected.keys()
    for key, probabilities in relations.items():
        assert probabilities == pytest.approx(expected[key], abs=1e-5)

    capsys.readouterr()
    # The recipe's files lie beside it: the run's command says where.
    assert cli.main(["evaluate", "run", "--runs", str(lab.runs), "--json"]) == EXIT_FINISHED
    scores = json.loads(capsys.readouterr().out)
    for name, before in summarize(run)["scores"].items():
        assert scores[name]["values"]["score"] == pytest.approx(before["dev"], abs=1e-4)
    assert cli.main(["export", "run", "--runs", str(lab.runs), "-o", "whole"]) == EXIT_FINISHED
    card = (tmp_path / "whole" / "README.md").read_text(encoding="utf-8")
    assert run.record.data_hashes["diseases"] in card
    assert cli.main(["predict", "--model", "whole", "-o", "again", "evidence.test.tsv"]) == EXIT_FINISHED


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def mentions(predictions: list[Prediction]) -> dict[tuple[str, int, int, str], float]:
    return {
        (one["document"], *span): score  # type: ignore[misc]
        for one in predictions
        for span, score in zip(one["spans"], one["probabilities"], strict=True)
    }
