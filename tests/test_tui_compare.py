"""The screen that compares runs and groups of seeds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mtscale_tui.app import RunsApp
from mtscale_tui.chart_view import ChartView
from mtscale_tui.commands import Done
from mtscale_tui.compare_screen import SIGNIFICANCE, CompareScreen
from mtscale_tui.live_table import LiveTable
from mtscale_tui.runs_screen import RunsScreen, RunsTable
from mtscale_tui.significance import Question, answer
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from mtscale import names
from tests.noisy import run_with_predictions
from tests.terminal import RECIPE, TASKS, body, cells, event, make_run, text_of, until

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=["80x24", "120x40", "200x60"])


async def compare(pilot: Pilot[None], runs: int, *before: str) -> CompareScreen:
    await until(pilot, lambda: pilot.app.screen.query_one(RunsTable).row_count == runs)
    await pilot.press(*before, "g", *["space"] * runs, "c")
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    await until(pilot, lambda: scores(screen).row_count > 0)
    return screen


def scores(screen: CompareScreen) -> LiveTable:
    return screen.query_one("#scores", LiveTable)


def setting_rows(screen: CompareScreen) -> list[list[str]]:
    return cells(screen.query_one("#settings", LiveTable))


@SIZES
async def test_tasks_by_runs(tmp_path: Path, size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    make_run(tmp_path, "low", 1)
    make_run(tmp_path, "high", 4, recipe_toml=RECIPE.replace("0.0003", "0.0001"))
    app = RunsApp(tmp_path)
    async with app.run_test(size=size) as pilot:
        screen = await compare(pilot, 2)
        assert scores(screen).titles == ["task", "A low", "B high", "Δ A", "significance"]
        assert cells(scores(screen)) == [[task, "0.760", "0.790*", "+0.030", "-"] for task in (*TASKS, "macro")]
        assert text_of(pilot, "#notes") == SIGNIFICANCE
        assert setting_rows(screen) == [["seed", "1", "4"], ["refine.learning_rate", "0.0003", "0.0001"]]
        assert [line.name for line in screen.query_one(ChartView).lines] == ["A low", "B high"]
        await pilot.pause()
        assert body(app) == snapshot


async def test_the_baseline_comes_first(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two", "three"), start=1):
        make_run(tmp_path, name, seed)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count == 3)
        screen = await compare(pilot, 3, "j", "b")
        assert scores(screen).titles[1:6] == ["A two", "B one", "Δ A", "C three", "Δ A"]
        assert cells(scores(screen))[0][1:6] == ["0.770", "0.760", "-0.010", "0.780*", "+0.010"]


async def test_groups_of_seeds_fold(tmp_path: Path) -> None:
    for seed in (1, 3, 5):
        make_run(tmp_path, f"g-{seed}", seed, group="g")
    make_run(tmp_path, "other", 7)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await compare(pilot, 4)
        assert len([title for title in scores(screen).titles if title[0] in "ABCD"]) == 4
        await pilot.press("F")
        assert scores(screen).titles[1:4] == ["A sample-refine [3]", "B other", "Δ A"]
        assert cells(scores(screen))[0][1:4] == ["0.780±0.020 [3]", "0.820*", "+0.040"]
        assert setting_rows(screen)[0] == ["seed", "1,3,5", "7"]
        assert [line.name for line in screen.query_one(ChartView).lines] == ["A g-1", "A g-3", "A g-5", "B other"]


async def test_curves_go_through_the_metrics(tmp_path: Path) -> None:
    make_run(tmp_path, "one", 1)
    make_run(tmp_path, "two", 2)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await compare(pilot, 2)
        chart = screen.query_one(ChartView)
        titles = [chart.topic.title]
        for _ in range(4):
            await pilot.press("m")
            titles.append(chart.topic.title)
        assert titles[0] == "dev macro score"
        assert titles[1:] == [f"dev {task}" for task in TASKS] + [f"train loss {task}" for task in TASKS]
        await pilot.press("t")
        assert [line.name for line in chart.lines] == ["A one"]
        height = chart.size.height
        await pilot.press("z")
        await pilot.pause()
        assert chart.size.height > height
        await pilot.press("z", "escape")
        assert isinstance(app.screen, RunsScreen)


async def test_test_scores_are_a_key_away(tmp_path: Path) -> None:
    for seed, name in ((1, "one"), (2, "two")):
        run = make_run(tmp_path, name, seed)
        with open(run.path / "events.jsonl", "a") as events:
            events.write(event("test", 30, 3, {names.metric("test", task, names.SCORE): seed / 10 for task in TASKS}))
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await compare(pilot, 2)
        await pilot.press("v")
        assert "scores on test" in text_of(pilot, "#title")
        assert cells(scores(screen))[-1] == ["macro", "0.100", "0.200*", "+0.100", "-"]
        await pilot.press("v")
        assert cells(scores(screen))[-1][1] == "0.760"


async def test_protocols_are_never_mixed(tmp_path: Path) -> None:
    make_run(tmp_path, "one", 1)
    make_run(tmp_path, "paper", 2, protocol="paper")
    make_run(tmp_path, "two", 3)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await compare(pilot, 3)
        assert scores(screen).titles == ["task", "A one", "B two", "Δ A", "significance"]
        assert "1 of another protocol left out" in text_of(pilot, "#notes")


async def test_a_run_that_vanishes_is_told(tmp_path: Path, quick: None) -> None:
    for seed in (1, 2, 3):
        make_run(tmp_path, f"run-{seed}", seed)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await compare(pilot, 3)
        shutil.rmtree(tmp_path / "run-2")
        await until(pilot, lambda: "1 cannot be read any more" in text_of(pilot, "#notes"))
        assert scores(screen).titles[1:4] == ["A run-1", "B run-3", "Δ A"]


def differences(screen: CompareScreen) -> LiveTable:
    return screen.query_one("#differences", LiveTable)


async def test_which_differences_are_real(tmp_path: Path) -> None:
    for seed in (1, 2):
        for right, recipe in ((0.6, "weak"), (0.85, "strong")):
            run_with_predictions(tmp_path, f"{recipe}{seed}", right, seed=seed, recipe=recipe, splits=["dev"])
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await compare(pilot, 4)
        await pilot.press("F")
        await until(pilot, lambda: len(scores(screen).titles) == 5)
        baseline = scores(screen).titles[1].split()[1].removesuffix("-refine")
        await pilot.press("p")
        assert text_of(pilot, "#said") == "Comparing the stored predictions ..."
        await until(pilot, lambda: differences(screen).row_count > 0)
        verdict = {"weak": "▲ gain", "strong": "▼ loss"}[baseline]
        for row, task in zip(cells(differences(screen)), TASKS, strict=True):
            assert (row[0], row[2]) == (task, "B - A")
            assert row[3].startswith("+" if baseline == "weak" else "-")
            assert row[6:] == [verdict, "conditional on these seeds"]
        assert [row[-1] for row in cells(scores(screen))] == [f"B {verdict[0]}"] * 2 + ["-"]
        assert "2 differences on dev. Gain (loss): the adjusted interval" in text_of(pilot, "#said")
        assert not screen.query_one(ChartView).display
        # Another split is another question; the curves come back until it is asked, and it is refused.
        await pilot.press("v")
        assert screen.query_one(ChartView).display
        assert cells(scores(screen))[0][-1] == "-"
        await pilot.press("p")
        await until(pilot, lambda: "no predictions of cdr-disease on test" in text_of(pilot, "#said"))
        assert differences(screen).row_count == 0
        await pilot.press("p", "v", "p")
        assert differences(screen).row_count == 2, "what was answered is kept"


def test_the_answer_names_the_columns_of_the_screen() -> None:
    """Seeds that stand apart are compared as one model; every verdict has a word and a sign."""
    asked = Question((("runs/a",), ("runs/b1",), ("runs/c",), ("runs/b2",)), "test", False)
    models = [("A", ["a"]), ("B", ["b1", "b2"]), ("C", ["c"])]
    adjusted = {"low": -0.01, "high": 0.2, "p": 0.5, "verdict": "unclear"}
    difference = {"task": "t", "metric": "f1", "difference": -0.05, "label": "few [b]clusters[/b]\x1b[31m"}
    told = {
        "models": [
            {"key": key, "runs": [{"dir": str(Path("runs", name).absolute())} for name in runs]} for key, runs in models
        ],
        "baseline": "A",
        "differences": [{**difference, "model": key, "adjusted": adjusted} for key in "BC"],
        "optimistic": True,
        "split": "test",
        "rule": "a rule",
    }
    found = answer(asked, Done(0, json.dumps(told), "a warning"))
    assert found.said == f"2 differences on test, {names.OPTIMISTIC}. a rule"
    assert [[cell.text for cell in row] for row in found.rows.values()] == [
        ["t", "f1", f"{name} - A", "-0.0500", "-0.0100 +0.2000", "0.5000", "· unclear", "few [b]clusters[/b]"]
        for name in ("B+D", "C")
    ]
    assert found.verdicts == {"t": "B+D ·  C ·"}
    assert answer(asked, Done(2, "", "\nrefused\x1b[31m\n")).said == "refused"
    assert "cannot be read" in answer(asked, Done(0, "{}", "")).said


def test_what_need_not_be_asked_says_why() -> None:
    assert Question((("a",),), "dev", False).refusal == "There is nothing to compare with A"
    assert "x is known to MLflow alone" in Question((("a",), ("mlflow:1/x",)), "dev", False).refusal
    question = Question((("a", "b"), ("c",), ("d",)), "dev", True)
    assert question.words == ["runs", "compare", "c", "d", "--baseline", "a", "b", "--split", "dev", "--json"]
    assert not question.refusal
