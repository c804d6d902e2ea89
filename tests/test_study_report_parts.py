"""The parts of a report, each from run directories with known events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mtscale import names
from mtscale.checks.check import Checked
from mtscale.checks.findings import Finding, Severity
from mtscale.errors import EXIT_STOPPED
from mtscale.metrics.significance import Comparison
from mtscale.runs import RunDirectory
from mtscale.states import State
from mtscale.study import affinities, beside_paper, data_check, optimism, provenance, report, spec, text
from mtscale.study import plan as planning
from mtscale.study.differences import Adjusted, Difference
from mtscale.study.document import Block, Grid, Paragraph, as_html, as_latex, as_markdown
from mtscale.study.figure import Relations
from mtscale.study.plan import Plan, Unit
from mtscale.study.store import Outcome, StudyFolder
from mtscale.study.tables import Finished, Score, ScoreRow, ScoreTable, in_folder, score_tables
from tests.noisy import run_with_predictions
from tests.test_study_plan import PAPER
from tests.test_study_spec import STUDY, written

TASKS = ("cdr-disease", "cdr-chemical", "evidence-inference")
SAMPLED = STUDY.replace('{ tagging = "minilm" }', '{ all = "minilm" }\naffinity_every = 5')


def made(tmp_path: Path, content: str) -> Plan:
    return planning.make(spec.load(written(tmp_path, content)), tmp_path, tmp_path)


def finished(runs: Path, unit: Unit) -> RunDirectory:
    protocol, hashes = unit.recipe.protocol, "aaa-bbb-ccc"
    return run_with_predictions(
        runs, unit.name, 0.9, seed=unit.seed, tasks=unit.tasks, protocol=protocol, hashes=hashes, splits=()
    )


def gain(points: float, error: float = 0.01) -> Adjusted:
    comparison = Comparison(points / 100, error, 50.0, 0.5, 10, 2)
    difference = Difference("t", "f1", "test", 0.5, None, 0.5 + points / 100, None, comparison)
    return Adjusted(difference, points / 100 - 3 * error, points / 100 + 3 * error, 0.5)


def grids(blocks: Sequence[Block]) -> list[Grid]:
    return [block for block in blocks if isinstance(block, Grid)]


def said(blocks: Sequence[Block]) -> str:
    return "\n".join(block.text for block in blocks if isinstance(block, Paragraph))


def sample(run: RunDirectory, step: int, cosines: Sequence[float], lookaheads: Sequence[float]) -> None:
    """Affinities of the three pairs of tasks, and of their six directions."""
    pairs = [(one, other) for one in TASKS for other in TASKS if one != other]
    values = {names.lookahead(*pair): value for pair, value in zip(pairs, lookaheads, strict=True)}
    for (one, other), value in zip(
        [(TASKS[0], TASKS[1]), (TASKS[0], TASKS[2]), (TASKS[1], TASKS[2])], cosines, strict=True
    ):
        values |= {names.cosine(one, other): value, names.cosine(other, one): value}
    run.append_event("affinity", step, 1, {**values, names.AFFINITY_SECONDS: 1.5, names.AFFINITY_SHARE: 0.25})


def test_affinities_are_means_over_samples_and_seeds_beside_the_gains(tmp_path: Path) -> None:
    plan = made(tmp_path, SAMPLED)
    units = [unit for unit in plan.units if unit.recipe.refine.affinity_every]
    for unit, shift in zip(units, (0.0, 0.2), strict=True):
        run = finished(tmp_path, unit)
        sample(run, 5, [0.1 + shift, 0.2 + shift, 0.3 + shift], [0.001, 0.002, 0.003, 0.004, 0.005, 0.006])
        sample(run, 10, [0.3 + shift, 0.4 + shift, 0.5 + shift], [0.003, 0.004, 0.005, 0.006, 0.007, 0.008])
    # As the look-ahead affinities order the pairs.
    pairs = [(one, other) for one in TASKS for other in TASKS if one != other]
    relations = Relations("all", TASKS, {pair: gain(place) for place, pair in enumerate(pairs)})
    blocks = list(affinities.blocks(plan, tmp_path, [relations]))
    of_pairs, correlation = grids(blocks)
    assert of_pairs.rows[0] == ("cdr-disease", "cdr-chemical", "+0.300", "+2.000", text.gain(gain(0)))
    assert of_pairs.rows[5][:4] == ("evidence-inference", "cdr-chemical", "+0.500", "+7.000")
    assert "4 samples over 2 seeds took 6 s, 25% of the training time" in said(blocks)
    assert correlation.rows == (("all", "6", correlation.rows[0][2], "rho +1.00, p 0.333", correlation.rows[0][4]),)
    assert correlation.rows[0][4] == "too few tasks to tell: their 6 orders allow no p below 0.17"


def test_affinities_without_all_gains_are_not_correlated(tmp_path: Path) -> None:
    plan = made(tmp_path, SAMPLED)
    assert "none was long enough for a sample" in said(list(affinities.blocks(plan, tmp_path, [])))
    unit = next(unit for unit in plan.units if unit.recipe.refine.affinity_every)
    sample(finished(tmp_path, unit), 5, [0.1, 0.2, 0.3], [0.001] * 6)
    blocks = list(affinities.blocks(plan, tmp_path, []))
    assert len(grids(blocks)) == 1
    assert "nothing is correlated" in said(blocks)
    assert not list(affinities.blocks(made(tmp_path, STUDY), tmp_path, []))


def test_the_distance_of_the_protocols_is_gap_and_rest(tmp_path: Path) -> None:
    plan = made(tmp_path, STUDY + PAPER)
    task = "cdr-disease"
    score = names.metric("test", task, names.SCORE)
    for unit in plan.units:
        if unit.kind == "single" and unit.tasks == (task,):
            run = finished(tmp_path, unit)
            if unit.recipe.protocol == "clean":
                run.append_event("test", 30, 3, {score: 0.60 + unit.seed / 100})
            else:
                for epoch, value in enumerate((0.5, 0.7, 0.66), start=1):
                    run.append_event("test", 10 * epoch, epoch, {score: value})
    blocks = list(optimism.blocks(plan, tmp_path, Finished(in_folder(tmp_path))))
    parts, by_run = grids(blocks)
    # Best 0.70, last 0.66, clean 0.615 on average.
    assert parts.rows[0] == ("beside", "alone", task, "+4.00", "+4.50", "+8.50")
    assert parts.rows[1] == ("beside", "alone", "cdr-chemical", "-", "-", "-")
    assert [row[2:] for row in by_run.rows] == [("0.7000 (epoch 2)", "0.6600 (epoch 3)", "+4.00")] * 2
    assert names.OPTIMISTIC in by_run.caption
    (beside,) = [table for table in score_tables(plan, Finished(in_folder(tmp_path))) if table.key == "beside"]
    assert names.OPTIMISTIC in text.scores(beside).caption


def test_a_run_of_another_protocol_is_refused_in_a_table(tmp_path: Path) -> None:
    plan = made(tmp_path, STUDY)
    unit = plan.units[0]
    run_with_predictions(tmp_path, unit.name, 0.9, seed=unit.seed, tasks=unit.tasks, protocol="paper", splits=())
    with pytest.raises(spec.ConfigError, match="has the protocol paper, its table clean: they do not go together"):
        score_tables(plan, Finished(in_folder(tmp_path)))


def test_the_papers_values_stand_beside_ours_by_its_metrics(tmp_path: Path) -> None:
    _, study = spec.find("small-table3")
    plan = planning.make(study, tmp_path, tmp_path)
    for unit in plan.units:
        if unit.kind == "single":
            run, (task,) = finished(tmp_path, unit), unit.tasks
            for epoch, value in ((1, 0.9), (2, 0.5 + unit.seed / 10)):
                values = {names.metric("test", task, name): value for name in ("micro_f1", "conlleval_f1")}
                run.append_event("test", 10 * epoch, epoch, {**values, names.metric("test", task, names.SCORE): 0.1})
            run.append_event("best", 20, 2, {names.BEST_EPOCH: 2})
    (table,) = score_tables(plan, Finished(in_folder(tmp_path)))
    blocks = list(beside_paper.blocks(plan, table, tmp_path))
    values, gains = grids(blocks)
    assert values.rows[0] == (
        "single task / BlueBERT biomedical",
        *("0.650 / 0.725", "0.650 / 0.739", "0.650 / 0.866", "0.650 / 0.935"),
        "0.650 / 0.816",
    )
    assert values.rows[1][:2] == ("refined / MT-BlueBERT-Refinement biomedical", "- / 0.714")
    assert gains.rows[1][1] == "- / +0.4"
    assert "chooses it on test (optimistic)" in said(blocks)
    assert "The paper, Table 5, row MT-BlueBERT-Fine-Tune clinical: Number for number the row" in said(blocks)
    assert "section 4.3" not in said(blocks), "that is about Table 2"


def test_the_average_beside_the_papers_is_of_the_same_tasks(tmp_path: Path) -> None:
    """Table 6 averages over eight tasks; over the four of Table 3 its model has the average of Table 3."""
    _, study = spec.find("small-table3")
    rows = [row.model_copy(update={"paper": "BlueBERT biomedical"}) for row in study.tables["table3"].rows]
    beside = study.tables["table3"].model_copy(update={"paper": 6, "rows": rows})
    plan = planning.make(study.model_copy(update={"tables": {"table3": beside}}), tmp_path, tmp_path)
    (table,) = score_tables(plan, Finished(in_folder(tmp_path)))
    values = grids(list(beside_paper.blocks(plan, table, tmp_path)))[0]
    assert "the average of both over these 4 tasks" in values.caption
    assert values.rows[0][-1] == "- / 0.816"


def test_a_failed_unit_is_told_by_its_run_or_its_outcome(tmp_path: Path) -> None:
    """Who was stopped, resumed and killed has left the outcome of the stop alone, which says nothing."""
    plan = made(tmp_path, STUDY)
    unit, folder = plan.units[0], StudyFolder(tmp_path, "mine")
    stopped = Outcome(unit.name, EXIT_STOPPED, "", 5.0)
    assert report._why(folder, unit, stopped) == ""
    assert report._why(folder, unit, replace(stopped, message="no memory\nat step 3")) == "no memory"
    run = finished(tmp_path, unit)
    run.write_status(run.status.model_copy(update={"state": State.FAILED, "message": "the disk is full"}))
    assert report._why(folder, unit, stopped) == "the disk is full"


def test_the_papers_model_of_a_row_must_be_in_its_table(tmp_path: Path) -> None:
    content = STUDY.replace('title = "Tagging"', 'title = "Tagging"\npaper = 3')
    content = content.replace('label = "alone", ', 'label = "alone", paper = "BlueBERT biomedicl", ')
    with pytest.raises(
        spec.ConfigError, match=r"no model 'BlueBERT biomedicl' in Table 3 .* mean 'BlueBERT biomedical'"
    ):
        spec.load(written(tmp_path, content))


def test_the_data_check_is_of_the_tasks_that_were_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = '"cdr-chemical"\ntrain_documents = 3\nchoosing_documents = 2'
    plan = made(tmp_path, STUDY.replace('"cdr-chemical"', few, 1))
    assert not list(data_check.blocks(plan, tmp_path, tmp_path, None)), "nothing is trained yet"
    unit = next(unit for unit in plan.units if unit.tasks == ("cdr-chemical",))
    finished(tmp_path, unit)
    found = (
        Finding(Severity.WARNING, "length", "cdr-chemical", "test", 1234, "examples longer than <b>", ("id-1",)),
        Finding(Severity.NOTE, "duplicates", "cdr-chemical", "dev", 2, "left out", ("id-2",)),
    )
    asked = []

    def check(self: data_check.Check) -> Checked:
        asked.append([(task.name, task.train_documents, task.choosing_documents) for task in self.tasks])
        return Checked(self.target, self.encoder, self.max_pieces, found, ())

    monkeypatch.setattr(data_check.Check, "run", check)
    blocks = list(data_check.blocks(plan, tmp_path, tmp_path, None))
    assert asked == [[("cdr-chemical", None, None)]], "the whole corpus"
    assert grids(blocks)[0].rows == (("warning", "cdr-chemical", "test", "1,234", "examples longer than <b>"),)
    assert "0 errors, 1 warning, 1 note" in said(blocks)
    assert "id-1" not in as_markdown(blocks)


def test_the_commands_are_those_given_without_the_places_of_this_machine(tmp_path: Path) -> None:
    plan, folder = made(tmp_path, STUDY), StudyFolder(tmp_path, "mine")
    folder.save(
        plan, tmp_path, {}, command=["mine.toml", "--only", "table2", "--budget", "50"], machine="a CPU, 2 cores"
    )
    folder.keep_command(["/home/who/mine.toml", "--only", "table2", "--runs", "/home/who/runs", "--workers", "2"])
    shown = as_markdown(list(provenance.blocks(plan, folder)))
    assert "    mtscale study plan mine.toml --only table2 --budget 50\n" in shown
    assert "    mtscale study run mine.toml --only table2 --workers 2\n" in shown
    assert "    mtscale study report mine.toml --only table2\n" in shown
    assert "a CPU, 2 cores" in shown
    assert "/home/who" not in shown


def test_encoders_pretrained_for_a_study_have_their_perplexity(tmp_path: Path) -> None:
    _, study = spec.find("sample-table4")
    plan, folder = planning.make(study, tmp_path, tmp_path), StudyFolder(tmp_path, "sample")
    folder.save(plan, tmp_path, {})
    unit = next(unit for unit in plan.units if unit.encoder == "scratch" and unit.kind == "pretrain")
    run = finished(tmp_path, unit)
    for epoch, value in enumerate((4000.0, 90.0, 95.0)):
        values = {names.HELDOUT_PERPLEXITY: value, names.UNIGRAM_PERPLEXITY: 700.0}
        run.append_event("heldout", 10 * epoch, epoch, values)
    run.append_event("best", 20, 2, {names.BEST_PERPLEXITY: 90.0})
    (found,) = [grid for grid in grids(list(provenance.blocks(plan, folder))) if "Perplexity" in grid.caption]
    assert found.rows == (("scratch", "4000.0", "90.0", "700.0"),)


def test_hours_count_work_and_the_clock(tmp_path: Path) -> None:
    """Two units at once for half an hour, and one by itself after a pause."""
    ended = [
        (1800.0, Outcome("a", 0, "", 1800.0)),
        (1800.0, Outcome("b", 4, "", 1800.0)),
        (9000.0, Outcome("b", 0, "", 900.0)),
    ]
    assert provenance._wall_seconds(ended) == 2700.0


def test_a_cell_says_its_verdict_in_a_word() -> None:
    assert text.gain(gain(5)) == "+5.00 gain [+2.00, +8.00] p 0.500"
    assert text.gain(gain(-5)) == "-5.00 loss [-8.00, -2.00] p 0.500"
    assert text.gain(gain(0, error=0.0)) == "+0.00 unclear the same in every part of test"
    grid = Grid("c", ("a", "b"), (("x", text.gain(gain(5))),), folded=True)
    page = as_html([grid])
    assert '<td class="number gain"><b>+5.00</b> gain<small>[+2.00, +8.00] p 0.500</small></td>' in page
    assert "<details><summary>c</summary>" in page
    assert (
        text.verdicts([gain(5), gain(-5), gain(0)])
        == "3 comparisons: 1 gain, 1 loss, 1 unclear; conditional on these seeds."
    )
    assert r"x & \shortstack[r]{$-$5.00 loss\\{\scriptsize [$-$8.00, $-$2.00] p 0.500}}" in as_latex(
        [Grid("c", ("a", "b"), (("x", text.gain(gain(-5))),), "t")]
    )


def test_a_score_that_a_constant_reaches_is_marked() -> None:
    row = ScoreRow("alone", {"t": Score({1: 0.3, 2: 0.2}, 2)}, None)
    table = ScoreTable("table2", "A", "clean", ("t",), {"t": "f1"}, (row,), None, False, floors={"t": 0.25})
    assert text.scores(table).rows[0][1] == "0.2500 ± 0.0707 ≤ floor"
