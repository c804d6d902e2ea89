"""The screens of studies: units, tables that fill, the pairs, a study without a plan, what is left trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mtscale_tui.app import RunsApp
from mtscale_tui.live_table import LiveTable
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsScreen, RunsTable
from mtscale_tui.studies_screen import StudiesScreen, StudiesTable
from mtscale_tui.study_screen import StudyScreen, UnitsTable
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot

from mtscale import names
from mtscale.runs import RunDirectory, State, Status
from mtscale.study import plan as planning
from mtscale.study import spec
from mtscale.study.plan import Plan, Unit
from mtscale.study.store import PLAN, Outcome, StudyFolder
from tests.terminal import cells, event, make_run, text_of, until
from tests.test_tui_keys import choose
from tests.test_tui_pictures import settled

DISEASE, RELATION, INFERENCE = TASKS = ("cdr-disease", "cdr-relation", "evidence-inference")
STUDY = """
name = "mine"
title = "Who helps whom"
seeds = [1, 2]
[[tasks]]
name = "cdr-disease"
[[tasks]]
name = "cdr-relation"
[[tasks]]
name = "evidence-inference"
[domains]
cdr = ["cdr-disease", "cdr-relation"]
[encoders]
minilm = "sample"
[tables.table2]
title = "Both"
tasks = "cdr"
baseline = "alone"
rows = [
    { label = "alone", model = "single", encoder = "minilm" },
    { label = "together", model = "finetuned", encoder = "minilm" },
]
[tables.table3]
title = "All"
rows = [{ label = "alone", model = "single", encoder = "minilm" }]
[figure]
encoders = { all = "minilm" }
"""
# Test scores by the tasks of a unit, seed by seed; what is not here is not finished.
SCORES = {
    (DISEASE,): {1: {DISEASE: 0.80}, 2: {DISEASE: 0.82}},
    (RELATION,): {1: {RELATION: 0.50}, 2: {RELATION: 0.60}},
    (INFERENCE,): {1: {INFERENCE: 0.70}},
    (DISEASE, RELATION): {1: {DISEASE: 0.83, RELATION: 0.52}, 2: {DISEASE: 0.86, RELATION: 0.55}},
    (RELATION, INFERENCE): {1: {RELATION: 0.44, INFERENCE: 0.70}},
}
SECONDS = 600.0


def finish(root: Path, unit: Unit, scores: dict[str, float]) -> None:
    """The runs of a unit, finished with these scores."""
    for name in unit.runs:
        run = make_run(root, name, unit.seed, recipe="study", tasks=unit.tasks)
        values = {names.metric("test", task, names.SCORE): score for task, score in scores.items()}
        floors = {names.metric("test", task, names.FLOOR): 0.5 for task in scores}
        with open(run.path / "events.jsonl", "a", encoding="utf-8") as events:
            events.write(event("test", 30, 3, values | floors))


def make_study(root: Path, folder: Path) -> tuple[StudyFolder, Plan]:
    """Some units finished, one running, one failed, one that never got a run."""
    file = folder / "mine.toml"
    file.write_text(STUDY, encoding="utf-8")
    plan = planning.make(spec.load(file), folder, root)
    study = StudyFolder(root, "mine")
    study.save(plan, folder, {unit.name: SECONDS for unit in plan.units} | {"": SECONDS * len(plan.units) / 2})
    for unit in plan.units:
        scores = SCORES.get(unit.tasks, {}).get(unit.seed)
        if scores is not None:
            finish(root, unit, scores)
            # Twice as fast as was thought.
            study.add(Outcome(unit.name, 0, "", SECONDS / 2))
    inference, relation, disease = (
        unit_of(plan, tasks, 2) for tasks in ((INFERENCE,), (RELATION, INFERENCE), (DISEASE, INFERENCE))
    )
    make_run(root, inference.name, 2, state=State.RUNNING, tasks=inference.tasks)
    broken = make_run(root, relation.name, 2, tasks=relation.tasks)
    broken.write_status(Status(state=State.FAILED, step=7, steps=300, message="[bold]no[/bold] memory\nmore of it"))
    study.add(Outcome(disease.name, 2, "refused: no disk", 1.0))
    return study, plan


def unit_of(plan: Plan, tasks: tuple[str, ...], seed: int) -> Unit:
    (found,) = [unit for unit in plan.units if (unit.tasks, unit.seed) == (tasks, seed)]
    return found


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of seed 2 were created ten minutes ago."""
    monkeypatch.setattr("mtscale_tui.studies.time", lambda: 1e9 + 2 + 600)


def rows_of(pilot: Pilot[None], table: str) -> list[list[str]]:
    return cells(pilot.app.screen.query_one(table, LiveTable))


async def open_study(pilot: Pilot[None]) -> StudyScreen:
    await until(pilot, lambda: pilot.app.screen.query_one(RunsTable).row_count > 0)
    await until(pilot, lambda: "reading" not in text_of(pilot, "#title"))
    await pilot.press("t")
    await until(pilot, lambda: bool(pilot.app.screen.query(StudiesTable)))
    await until(pilot, lambda: pilot.app.screen.query_one(StudiesTable).row_count > 0)
    await pilot.press("enter")
    await until(pilot, lambda: bool(pilot.app.screen.query(UnitsTable)))
    await until(pilot, lambda: pilot.app.screen.query_one(UnitsTable).row_count > 0)
    screen = pilot.app.screen
    assert isinstance(screen, StudyScreen)
    return screen


@pytest.mark.usefixtures("_clock")
async def test_units_tables_and_pairs(
    tmp_path: Path, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("runs")
    _, plan = make_study(root, Path())
    app = RunsApp(root)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await open_study(pilot)
        # Three tasks alone and three pairs, two seeds; those that ended took half their time. What runs is over its
        # time, one unit of 300 s waits, and two are trained at once.
        assert len(plan.units) == 12
        head = text_of(pilot, "#title").splitlines()
        assert head[0] == "study mine  Who helps whom"
        assert head[1] == "8 of 12 units finished, 1 running, 2 failed, 1 waiting, about 2 min left"
        assert head[2].startswith("Protocol clean, seeds 1, 2;")
        shown = {row[1]: row for row in rows_of(pilot, "#unit-table")}
        assert list(shown) == [unit.name for unit in plan.units]

        def row(tasks: tuple[str, ...], seed: int) -> list[str]:
            return shown[unit_of(plan, tasks, seed).name]

        assert row((DISEASE,), 1)[::2] == ["finished", "1/1", "10m00", ""]
        assert row((DISEASE,), 1)[3::2] == ["-", "5m00"]
        assert row((INFERENCE,), 2)[2:] == ["0/1", "30/300", "10m00", "10m00 +", ""]
        assert row((RELATION, INFERENCE), 2)[0] == "failed"
        assert row((RELATION, INFERENCE), 2)[2:] == ["0/1", "7/300", "10m00", "-", "[bold]no[/bold] memory"]
        assert row((DISEASE, INFERENCE), 2)[2:] == ["0/1", "-", "10m00", "-", "refused: no disk"]

        await pilot.press("m")
        assert "table3 (2 of 2)" in text_of(pilot, "#caption")
        await pilot.press("M")
        assert "table2 (1 of 2)  Both" in text_of(pilot, "#caption")
        assert rows_of(pilot, "#score-table") == [
            ["alone (baseline)", "0.810±0.014", "0.550±0.071", "0.680±0.042"],
            ["together", "0.845±0.021", "0.535±0.021", "0.690±0.021"],
            ["floor", "0.500", "0.500", ""],
        ]
        await pilot.press("3")
        assert rows_of(pilot, "#pair-table") == [
            [DISEASE, "", "-0.015 ·", "-"],
            [RELATION, "+0.035 ▲", "", "0.000 · [1/2]"],
            [INFERENCE, "-", "-0.060 · [1/2]", ""],
        ]
        assert await settled(pilot) == snapshot(extension_class=SVGImageExtension)

        # A unit that finishes fills its field.
        finish(root, unit_of(plan, (DISEASE, INFERENCE), 1), {DISEASE: 0.75, INFERENCE: 0.8})
        await until(pilot, lambda: rows_of(pilot, "#pair-table")[0][3] == "+0.100 · [1/2]")
        assert screen.run is None


async def test_a_run_is_opened_and_every_screen_left(tmp_path: Path, quick: None) -> None:
    _, plan = make_study(tmp_path, tmp_path)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_study(pilot)
        assert plan.units[-1].tasks == (RELATION, INFERENCE)
        await pilot.press("G")
        assert text_of(pilot, "#why") == "[bold]no[/bold] memory"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until(pilot, lambda: "failed" in text_of(pilot, "#title"))
        await pilot.press("escape")
        assert app.screen is screen
        assert screen.run == tmp_path / plan.units[-1].name
        # It goes on reading.
        RunDirectory(screen.run).write_status(Status(state=State.STOPPED, step=7, steps=300))
        await until(pilot, lambda: rows_of(pilot, "#unit-table")[-1][0] == "stopped")
        assert plan.units[-3].tasks == (DISEASE, INFERENCE)
        await pilot.press("k", "k", "enter")
        await pilot.pause()
        assert app.screen is screen, "there is no run to open"
        await pilot.press("escape")
        assert isinstance(app.screen, StudiesScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)


async def test_a_plan_that_cannot_be_read_is_told_and_comes_back(tmp_path: Path, quick: None) -> None:
    study, plan = make_study(tmp_path, tmp_path)
    content = (study.path / PLAN).read_text(encoding="utf-8")
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_study(pilot)
        for damaged in (content[:100], "[]", json.dumps(json.loads(content) | {"seconds": {"": "x"}})):
            (study.path / PLAN).write_text(damaged, encoding="utf-8")
            await until(
                pilot, lambda: "plan" in text_of(pilot, "#title") or "cannot be read" in text_of(pilot, "#title")
            )
            assert len(rows_of(pilot, "#unit-table")) == len(plan.units), "the last that was read stays"
        (study.path / PLAN).unlink()
        await until(pilot, lambda: "no study mine" in text_of(pilot, "#title"))
        await pilot.press("escape")
        await until(pilot, lambda: "No studies in" in text_of(pilot, "#instead"))
        (study.path / PLAN).write_text(content, encoding="utf-8")
        (study.path / "outcomes.jsonl").write_text('[]\n{"unit": "', encoding="utf-8")
        await until(pilot, lambda: [row[0] for row in rows_of(pilot, "#studies")] == ["mine"])
        assert rows_of(pilot, "#studies")[0][1:4] == ["8", "1", "1"]


def said(app: RunsApp) -> str:
    return "\n".join(notification.message for notification in app._notifications)


async def test_what_is_left_is_trained_by_its_own_command(tmp_path: Path) -> None:
    study, _ = make_study(tmp_path, tmp_path)
    app = RunsApp(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_study(pilot)
        await pilot.press("r")
        await until(pilot, lambda: "cannot read how the study was run" in said(app))
        study.keep_command([str(tmp_path / "gone.toml")])
        assert "Train what is left" in {command.title for command in app.get_system_commands(app.screen)}
        await pilot.press("r")
        await until(pilot, lambda: "no study" in said(app) and "gone.toml" in said(app))


async def test_recorded_runs_have_no_studies(tmp_path: Path) -> None:
    app = RunsApp(tmp_path, demo=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await choose(pilot, "Studies")
        await until(pilot, lambda: bool(app.screen.query("#instead")))
        await until(pilot, lambda: "No studies in" in text_of(pilot, "#instead"))
