from __future__ import annotations

import re
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest

from mtscale import recipe
from mtscale.errors import ConfigError
from mtscale.study import plan as planning
from mtscale.study import spec
from mtscale.study.plan import Size
from mtscale.study.store import StudyFolder
from tests.test_study_spec import STUDY, written


def test_each_training_is_planned_once(tmp_path: Path) -> None:
    """Table 2 and figure share the single-task runs; the pair of a domain of two tasks is its refined model."""
    path = written(tmp_path, STUDY)
    plan = planning.make(spec.load(path), tmp_path, tmp_path / "runs")
    assert Counter((unit.kind, unit.tasks) for unit in plan.units) == {
        ("single", ("cdr-disease",)): 2,
        ("single", ("cdr-chemical",)): 2,
        ("refined", ("cdr-disease", "cdr-chemical")): 2,
    }
    assert len({unit.name for unit in plan.units}) == 6
    alone = plan.cells["table2"]["alone"]["cdr-disease"].runs
    together = plan.cells["table2"]["together"]["cdr-disease"].runs
    (edge,) = [edge for edge in plan.edges if edge.target == "cdr-disease"]
    assert (edge.source, edge.alone, edge.pair) == ("cdr-chemical", alone, together)
    assert {name for unit in plan.units for name in unit.runs} >= {*alone.values(), *together.values()}


def test_pairs_across_domains_are_planned_on_request(tmp_path: Path) -> None:
    study = (
        STUDY.replace("[domains]", '[[tasks]]\nname = "cdr-similarity"\n[domains]')
        .replace("[encoders]", 'sentences = ["evidence-inference", "cdr-similarity"]\n[encoders]')
        .replace('{ tagging = "minilm" }', '{ tagging = "minilm", sentences = "minilm" }')
    )
    tagging, sentences = {"cdr-disease", "cdr-chemical"}, {"evidence-inference", "cdr-similarity"}
    within = {*permutations(tagging, 2), *permutations(sentences, 2)}
    for text, expected in ((study, within), (study + "across = true\n", set(permutations(tagging | sentences, 2)))):
        plan = planning.make(spec.load(written(tmp_path, text)), tmp_path, tmp_path / "runs")
        assert Counter((edge.source, edge.target) for edge in plan.edges) == Counter(expected)


def test_a_fine_tuned_row_adds_finetuning_to_the_refined_unit_of_another_row(tmp_path: Path) -> None:
    text = STUDY.replace(
        '    { label = "together"',
        '    { label = "on", model = "finetuned", encoder = "minilm" },\n    { label = "together"',
    )
    plan = planning.make(spec.load(written(tmp_path, text)), tmp_path, tmp_path)
    (refined, _) = [unit for unit in plan.units if unit.kind == "refined"]
    assert refined.recipe.stages == ("refine", "finetune")
    assert refined.runs == (refined.name, *(f"{refined.name}-finetune-{task}" for task in refined.tasks))
    cells = plan.cells["table2"]
    assert cells["together"]["cdr-disease"].runs[1] == refined.name
    assert cells["on"]["cdr-disease"].runs[1] == f"{refined.name}-finetune-cdr-disease"


def test_names_hold_what_is_trained_and_not_where_it_is_asked_for(tmp_path: Path) -> None:
    whole = planning.make(spec.load(written(tmp_path, STUDY)), tmp_path, tmp_path)
    part = planning.make(spec.load(written(tmp_path, STUDY)).only(["table2"]), tmp_path, tmp_path)
    smaller = planning.make(spec.load(written(tmp_path, STUDY)), tmp_path, tmp_path, Size(documents=10))
    assert {unit.name for unit in part.units} == {unit.name for unit in whole.units}
    assert not {unit.name for unit in smaller.units} & {unit.name for unit in whole.units}
    assert all(table.train_documents == 10 for unit in smaller.units for table in unit.recipe.tasks)


def test_a_study_moved_with_its_runs_knows_them(tmp_path: Path) -> None:
    study = spec.find("sample-all")[1]
    here, there = (planning.make(study, tmp_path, tmp_path / runs) for runs in ("here", "there"))
    assert any(unit.needs for unit in here.units)
    assert [unit.name for unit in here.units] == [unit.name for unit in there.units]
    assert any(str(tmp_path / "there") in unit.recipe.encoder.name for unit in there.units)


def test_a_pretraining_recipe_lies_beside_the_study(tmp_path: Path) -> None:
    (tmp_path / "pretrain.toml").write_text(recipe.find("sample-pretrain").read_text(encoding="utf-8"))
    path = written(tmp_path, STUDY.replace('"sample"', '{ pretrain = "pretrain.toml" }'))
    plan = planning.make(spec.load(path), tmp_path, tmp_path / "runs")
    assert [unit.beside for unit in plan.units if unit.kind == "pretrain"] == [tmp_path]
    folder = StudyFolder(tmp_path / "runs", "mine")
    folder.save(plan, tmp_path, {unit.name: 1.0 for unit in plan.units})
    assert folder.load()[0] == plan
    before = (tmp_path / "pretrain.toml").read_text(encoding="utf-8")
    (tmp_path / "pretrain.toml").write_text(re.sub(r"\nlearning_rate = \S+", "\nlearning_rate = 7e-4", before))
    with pytest.raises(ConfigError, match=r"a recipe that the study mine names.* has changed since it was planned"):
        folder.load()


PAPER = """
[tables.beside]
title = "Tagging"
protocol = "paper"
tasks = "tagging"
rows = [
    { label = "alone", model = "single", encoder = "minilm" },
    { label = "together", model = "refined", encoder = "minilm" },
    { label = "on", model = "finetuned", encoder = "minilm" },
]
"""


def test_protocols_share_no_run_and_know_each_others_models(tmp_path: Path) -> None:
    plan = planning.make(spec.load(written(tmp_path, STUDY + PAPER)), tmp_path, tmp_path)
    units = {name: unit for unit in plan.units for name in unit.runs}
    clean, paper = plan.cells["table2"], plan.cells["beside"]
    for label in ("alone", "together"):
        assert {units[name].recipe.protocol for name in clean[label]["cdr-disease"].runs.values()} == {"clean"}
        assert {units[name].recipe.protocol for name in paper[label]["cdr-disease"].runs.values()} == {"paper"}
        assert paper[label]["cdr-disease"].clean == clean[label]["cdr-disease"].runs
        assert not clean[label]["cdr-disease"].clean
    assert not paper["on"]["cdr-disease"].clean, "nothing is fine-tuned under protocol clean"
    assert Counter(unit.recipe.protocol for unit in plan.units) == {"clean": 6, "paper": 6}
    assert planning.size_text(plan).startswith("Protocol clean (paper in table beside), seeds 1, 2;")


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (None, "all training documents (cdr-disease 40)"),
        (50, "at most 50 training documents of each task (cdr-disease 40)"),
        (30, "at most 30 training documents of each task"),
    ],
)
def test_a_task_with_a_limit_of_its_own_is_named(tmp_path: Path, documents: int | None, said: str) -> None:
    text = STUDY.replace('name = "cdr-disease"\n', 'name = "cdr-disease"\ntrain_documents = 40\n')
    plan = planning.make(spec.load(written(tmp_path, text)), tmp_path, tmp_path, Size(documents=documents))
    assert f"; {said};" in planning.size_text(plan)


def test_affinities_are_sampled_where_the_figure_needs_them(tmp_path: Path) -> None:
    """In one refined model of each domain, which is made for them if no table has it."""
    text = STUDY.replace('encoders = { tagging = "minilm" }', 'encoders = { all = "minilm" }\naffinity_every = 5')
    plan = planning.make(spec.load(written(tmp_path, text)), tmp_path, tmp_path)
    sampled = [unit for unit in plan.units if unit.recipe.refine.affinity_every is not None]
    assert [(unit.kind, len(unit.tasks), unit.seed) for unit in sampled] == [("refined", 3, 1), ("refined", 3, 2)]
    assert {unit.recipe.refine.affinity_every for unit in sampled} == {5}


def test_the_papers_study_has_every_run_of_its_tables(tmp_path: Path) -> None:
    """Counted by hand from the tables: see the comments."""
    _, study = spec.find("all")
    plan = planning.make(study.model_copy(update={"seeds": (1,)}), tmp_path, tmp_path)
    kinds = Counter(unit.kind for unit in plan.units)
    # Table 6's single-task rows hold those of Tables 2 and 3 and of the figure.
    assert kinds["single"] == 2 * 8
    # Tables 2 to 5: four encoders on clinical tasks, three on biomedical ones; Table 6: three on all eight.
    assert kinds["refined"] == 4 + 3 + 3
    assert kinds["pair"] == 2 * 6
    assert len(plan.edges) == 2 * 12
    assert sum(len(unit.finetuned) for unit in plan.units) == 4 * 4 + 3 * 4 + 3 * 8
    assert not any(unit.needs for unit in plan.units)


def test_settings_that_make_no_recipe_are_refused_before_any_run(tmp_path: Path) -> None:
    text = STUDY + "[settings.refine]\nepoch = 3\n"
    with pytest.raises(ConfigError, match=r"refine.epoch: unknown key, did you mean 'epochs'\?"):
        planning.make(spec.load(written(tmp_path, text)), tmp_path, tmp_path)
