"""``mtscale runs compare``: runs folded into models, their differences, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from mtscale import cli, judge
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, EXIT_REFUSED, ConfigError
from mtscale.metrics.significance import Comparison, holm
from mtscale.predictions import load
from mtscale.runs import RunDirectory
from mtscale.study.differences import Adjusted, Difference
from mtscale.study.models import Comparer, Model
from mtscale.tasks import SAMPLE_TASKS, TASKS
from mtscale.training import looks
from mtscale.training.looks import Look
from tests.noisy import run_with_predictions, texts

Runs = Mapping[str, RunDirectory]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A weak model of two seeds, a strong one of two, one of another protocol, and a weak one a task."""
    root = tmp_path_factory.mktemp("runs")
    made = {
        **{f"weak{seed}": run_with_predictions(root, f"weak{seed}", 0.6, seed=seed, recipe="weak") for seed in (1, 2)},
        **{
            f"strong{seed}": run_with_predictions(root, f"strong{seed}", 0.85, seed=seed, recipe="strong", epochs=9)
            for seed in (1, 2)
        },
        "paper": run_with_predictions(root, "paper", 0.8, recipe="paper", protocol="paper", splits=["test"]),
        "other": run_with_predictions(root, "other", 0.8, recipe="other", hashes="aaa-bbb-ddd"),
        "lone": run_with_predictions(root, "lone", 0.8, seed=3, recipe="lone", tasks=["cdr-similarity"]),
    }
    for task in ("cdr-disease", "cdr-relation"):
        for seed in (1, 2):
            name = f"single-{task}-{seed}"
            made[name] = run_with_predictions(root, name, 0.6, seed=seed, recipe=f"single-{task}", tasks=[task])
    return made


def compared(runs: Runs, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = EXIT_FINISHED) -> str:
    root = str(next(iter(runs.values())).path.parent)
    assert cli.main(["runs", "compare", *arguments, "--runs", root]) == code
    printed = capsys.readouterr()
    return printed.err if code else printed.out


def as_json(runs: Runs, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(compared(runs, capsys, *arguments, "--json"))
    return content


def score(run: RunDirectory, task: str, split: str) -> float:
    predictions = load(run.path / "predictions" / f"{split}.{task}.jsonl", TASKS[task])
    return judge.score(TASKS[task], split, predictions, None).values["score"]  # type: ignore[arg-type]


def test_seeds_are_folded_and_scores_are_the_judges(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(runs, capsys, "weak1", "weak2", "strong1", "strong2", "strong2")
    assert [(one["key"], one["name"], one["seeds"]) for one in found["models"]] == [
        ("A", "weak-refine", [1, 2]),
        ("B", "strong-refine", [1, 2]),
    ]
    assert (found["split"], found["protocol"], found["optimistic"], found["test_looks"]) == ("dev", "clean", False, {})
    assert [(row["task"], row["metric"]) for row in found["differences"]] == [
        ("cdr-disease", "f1"),
        ("cdr-relation", "micro_f1"),
    ]
    for row in found["differences"]:
        weak, strong = (
            [score(runs[f"{name}{seed}"], row["task"], "dev") for seed in (1, 2)] for name in ("weak", "strong")
        )
        assert (row["baseline_mean"], row["baseline_deviation"]) == (fmean(weak), stdev(weak))
        assert (row["mean"], row["deviation"]) == (fmean(strong), stdev(strong))
        assert row["difference"] == pytest.approx(fmean(strong) - fmean(weak))
        assert row["adjusted"]["low"] < row["low"] < row["difference"] < row["high"] < row["adjusted"]["high"]
        assert row["label"] == "conditional on these seeds"
        assert (row["seeds"], row["adjusted"]["verdict"]) == (2, "gain")
    adjusted = holm([row["p"] for row in found["differences"]])
    assert [row["adjusted"]["p"] for row in found["differences"]] == adjusted
    assert found["settings"] == {"name": ["weak", "strong"], "refine.epochs": ["3", "9"]}


def test_verdicts_follow_the_adjusted_interval(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(runs, capsys, "strong1", "strong2", "weak1", "weak2", "--split", "test")
    assert [row["adjusted"]["verdict"] for row in found["differences"]] == ["loss", "loss"]
    assert all(row["adjusted"]["high"] < 0 for row in found["differences"])
    found = as_json(runs, capsys, "weak1", "single-cdr-relation-2", "--task", "cdr-relation")
    (row,) = found["differences"]
    assert row["adjusted"]["low"] < 0 < row["adjusted"]["high"]
    assert row["adjusted"]["verdict"] == "unclear"
    few = Comparison(0.5, 0.01, 8.0, 0.01, 9, 5)
    assert Adjusted(Difference("t", "f1", "test", 0.1, 0.1, 0.6, 0.1, few), 0.4, 0.6, 0.01).verdict == "unclear"


def test_a_baseline_may_have_a_run_a_task(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    singles = [name for name in runs if name.startswith("single")]
    found = as_json(runs, capsys, "strong1", "strong2", "--baseline", *singles, "--split", "test")
    assert [one["name"] for one in found["models"]] == ["baseline", "strong-refine"]
    assert [row["task"] for row in found["differences"]] == ["cdr-disease", "cdr-relation"]
    for row in found["differences"]:
        own = [score(runs[f"single-{row['task']}-{seed}"], row["task"], "test") for seed in (1, 2)]
        assert row["baseline_mean"] == fmean(own)


def test_one_task_of_one_seed_is_compared_alone(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(runs, capsys, "weak1", "strong1", "--task", "cdr-relation")
    (row,) = found["differences"]
    assert (row["task"], row["deviation"], row["seeds"]) == ("cdr-relation", None, 1)
    assert (row["adjusted"]["low"], row["adjusted"]["p"]) == (row["low"], row["p"])


def test_it_prints_numbers_and_what_goes_with_them(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    root = runs["weak1"].path.parent
    for epoch in (1, 1, 2):
        looks.record(root, Look("weak1", "i", "cdr-disease", epoch, "h", "clean"))
    lines = (root / looks.TEST_LOOKS).read_text(encoding="utf-8")
    out = compared(runs, capsys, "weak1", "weak2", "strong1", "strong2", "--split", "test")
    assert out.startswith("test, protocol clean\nA  weak-refine, seed 1, 2: weak1, weak2\nB  strong-refine")
    (row,) = (line for line in out.splitlines() if line.startswith("cdr-disease "))
    means = [
        fmean(score(runs[f"{name}{seed}"], "cdr-disease", "test") for seed in (1, 2)) for name in ("weak", "strong")
    ]
    for shown in (f"{means[0]:.4f} ±", f"{means[1]:.4f} ±", f"{means[1] - means[0]:+.4f}"):
        assert shown in row
    assert row.endswith("gain")
    assert "macro average" in out
    assert "conditional on these seeds: B cdr-disease, B cdr-relation" in out
    assert "looks at test: cdr-disease 2, cdr-relation 0" in out
    assert "2 comparisons. Gain (loss): the adjusted interval, of at least 10 clusters, lies" in out
    assert (root / looks.TEST_LOOKS).read_text(encoding="utf-8") == lines, "scored again, not looked at again"
    (root / looks.TEST_LOOKS).unlink()


def test_no_text_is_printed(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    out = compared(runs, capsys, "weak1", "strong1", "--json") + compared(runs, capsys, "weak1", "strong1")
    words = {text for task in ("cdr-disease", "cdr-relation") for text in texts(TASKS[task], "dev")}
    assert words
    assert not any(text in out for text in words)


def test_scores_chosen_on_test_are_called_optimistic(
    runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    again = run_with_predictions(tmp_path, "again", 0.8, recipe="again", protocol="paper", splits=["test"])
    assert "optimistic: the epoch was chosen on test" in compared(runs, capsys, "paper", str(again.path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weak1"], "runs of at least two models, found only weak-refine"),
        (["weak1", "weak2"], "found only weak-refine"),
        (["weak1", "paper"], "expected runs of one protocol, found clean (weak1), paper (paper)"),
        (["weak1", "other", "--split", "test"], "task cdr-disease has other corpus files"),
        (["weak1", "lone"], "weak-refine and lone-refine share no task"),
        (["weak1", "strong1", "--task", "cdr-chemical"], "share the tasks cdr-disease, cdr-relation, not cdr-chemical"),
        (["weak1", "weak2", "strong1"], "as many seeds of both models"),
        (["weak1", "strong1", "--baseline", "weak1", "strong2"], "runs that differ in nothing but their seed"),
        (["nowhere", "weak1"], "no run in"),
    ],
)
def test_what_does_not_compare_is_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in compared(runs, capsys, *arguments, code=EXIT_REFUSED)


def test_paper_runs_have_no_dev_and_unfinished_ones_no_test(
    runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    again = run_with_predictions(tmp_path, "again", 0.8, recipe="again", protocol="paper", splits=["test"])
    message = compared(runs, capsys, "paper", str(again.path), "--split", "dev", code=EXIT_REFUSED)
    assert "protocol paper trains on dev" in message
    early = run_with_predictions(tmp_path, "early", 0.8, recipe="early", splits=["dev"])
    message = compared(runs, capsys, "weak1", str(early.path), "--split", "test", code=EXIT_REFUSED)
    assert f"{early.path} (finished): no predictions of cdr-disease on test" in message
    double = run_with_predictions(tmp_path, "double", 0.8, recipe="weak")
    message = compared(runs, capsys, "weak1", str(double.path), "strong1", "strong2", code=EXIT_REFUSED)
    assert "expected one run of each seed, found weak1, double" in message


def test_predictions_of_another_gold_are_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    swapped = run_with_predictions(tmp_path, "swapped", 0.8, recipe="swapped")
    path = swapped.path / "predictions"
    (path / "test.cdr-disease.jsonl").replace(path / "dev.cdr-disease.jsonl")
    message = compared(runs, capsys, "weak1", str(swapped.path), code=EXIT_DATA)
    assert "task cdr-disease, dev: expected predictions for the" in message


def test_another_score_than_the_runs_own_is_refused(
    runs: Runs, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    changed = run_with_predictions(tmp_path, "changed", 0.8, recipe="changed")
    own = score(changed, "cdr-relation", "test")
    changed.append_event("test", 9, 2, {"test/cdr-relation/score": own})
    compared(runs, capsys, "weak1", str(changed.path), "--split", "test", "--task", "cdr-relation")
    changed.append_event("test", 10, 2, {"test/cdr-relation/score": own + 0.001})
    arguments = ("weak1", str(changed.path), "--split", "test", "--task", "cdr-relation")
    message = compared(runs, capsys, *arguments, code=EXIT_DATA)
    assert f"has the score {own + 0.001:.6f} on test in its events, its predictions have {own:.6f}" in message


def test_a_task_with_other_labels_is_another_task(runs: Runs, tmp_path: Path) -> None:
    """A task of one's own, from files beside its recipe, is found where the run's command found it."""
    source = Path(judge.__file__).parent / "sample" / "cdr"
    files = {split: f"{split}.pubtator.txt" for split in ("train", "dev", "test")}
    for name in files.values():
        (tmp_path / name).write_bytes((source / name).read_bytes())
    made = []
    for recipe, labels in (("one", ["Disease"]), ("two", ["Disease"]), ("three", ["Disease", "Chemical"])):
        run = run_with_predictions(tmp_path / "runs", recipe, 0.8, recipe=recipe, tasks=["cdr-disease"])
        table = f'name = "{recipe}"\n[[tasks]]\nname = "mine"\nkind = "tagging"\nformat = "pubtator"\naccess = "open"\n'
        table += f"files = {{ {', '.join(f'{split} = {json.dumps(name)}' for split, name in files.items())} }}\n"
        (run.path / "recipe.toml").write_text(table + f"labels = {json.dumps(labels)}\n", encoding="utf-8")
        for path in (run.path / "predictions").iterdir():
            path.rename(path.with_name(path.name.replace("cdr-disease", "mine")))
        run.update_record(tasks=("mine",), data_hashes={"mine": "a-b-c"}, directory=str(tmp_path))
        made.append(Model(recipe, (run,)))
    found = Comparer("test").difference("mine", made[0], made[1])
    predictions = load(made[0].runs[0].path / "predictions" / "test.mine.jsonl", TASKS["cdr-disease"])
    assert found.baseline_mean == judge.score(TASKS["cdr-disease"], "test", predictions, None).values["score"]
    with pytest.raises(ConfigError, match="task mine has other labels or settings of the task"):
        Comparer("test").difference("mine", made[0], made[2])


@pytest.mark.parametrize("task", SAMPLE_TASKS, ids=lambda task: task.name)
def test_a_better_model_gains_on_every_kind(task: Any, tmp_path: Path) -> None:
    models = [
        Model(name, (run_with_predictions(tmp_path, name, right, recipe=name, tasks=[task.name]),))
        for name, right in (("weak", 0.3), ("strong", 0.95))
    ]
    found = Comparer("test").difference(task.name, *models)
    assert found.interval[0] > 0
    assert found.p < 0.01
    assert found.difference == pytest.approx(
        score(models[1].runs[0], task.name, "test") - score(models[0].runs[0], task.name, "test")
    )
