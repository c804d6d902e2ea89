"""Reports: what stands in them while nothing is finished, the paper's numbers, and text that must stay text."""

from __future__ import annotations

import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mtscale.metrics.significance import Comparison
from mtscale.study import curves, report, spec
from mtscale.study import plan as planning
from mtscale.study.differences import Adjusted, Difference
from mtscale.study.document import Grid, Heading, Paragraph, as_html, as_latex, as_markdown
from mtscale.study.figure import Relations, draw_graphs
from mtscale.study.paper_numbers import paper_numbers
from mtscale.study.plan import Plan
from mtscale.study.slurm import job_arrays
from mtscale.study.store import StudyFolder
from mtscale.study.tables import Score, average
from tests import finished_study
from tests.test_study_plan import PAPER
from tests.test_study_spec import STUDY, written


def test_the_papers_study_has_the_papers_models_in_its_tables() -> None:
    _, study = spec.find("all")
    for number in range(2, 7):
        table, printed = study.tables[f"table{number}"], paper_numbers().tables[number]
        assert table.paper == number
        assert tuple(row.label for row in table.rows) == printed.models
        assert set(study.tasks_of(table.tasks)) == set(printed.tasks)
        models = {"single": "single-task", "refined": "refine", "finetuned": "finetune"}
        for row in table.rows:
            (cell, *_) = [one for one in printed.cells if one.model == row.label]
            assert (row.encoder, models[row.model]) == (cell.encoder, cell.stage)


def test_a_report_of_nothing_says_so_and_has_the_papers_numbers(tmp_path: Path) -> None:
    path, study = spec.find("table3")
    folder = StudyFolder(tmp_path / "runs", "table3")
    plan = planning.make(study, path.parent, folder.runs)
    folder.save(plan, path.parent, {})
    written = report.write(plan, folder, tmp_path / "out", path.parent, None)
    assert {file.name for file in written} == {"report.html", "report.md", "tables.tex"}
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "0 of 25 units are finished" in text
    beside = " | ".join(f"\\- / {value}" for value in ("0.729", "0.820", "0.865", "0.931", "0.836"))
    assert f"| MT\\-BlueBERT\\-Fine\\-Tune biomedical | {beside} |" in text
    assert "| MT\\-BlueBERT\\-Fine\\-Tune biomedical | \\- | \\- | \\- | \\- | \\- |" in text
    assert "4,154 / 2,416 / 3,458" in text
    assert "3,941 of the corpus' 4,021 relations" in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [tag, *(f"{name}={value}" for name, value in attrs)]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_never_become_markup() -> None:
    nasty = "<img src=x onerror=alert(1)> & | `code` [a](b) \\input{x} 50% $x$ a_b \x1b[31m"
    blocks = [Heading(nasty, 1), Paragraph(nasty), Grid(nasty, (nasty, "b"), ((nasty, nasty),), "t")]
    page = _Tags()
    page.feed(as_html(blocks))
    assert "img" not in page.found
    assert not any(one.startswith(("src=", "onerror=")) for one in page.found)
    assert "<img src=x onerror=alert(1)>" in page.text
    assert "\x1b" not in as_html(blocks) + as_markdown(blocks) + as_latex([blocks[2]])  # type: ignore[list-item]
    latex = as_latex([blocks[2]])  # type: ignore[list-item]
    assert r"\textbackslash{}input\{x\}" in latex
    assert r"50\% \$x\$ a\_b" in latex
    assert "<img" not in as_markdown(blocks)


def test_pages_and_latex_align_columns_of_numbers_and_write_their_minus() -> None:
    grid = Grid(
        "c",
        ("model", "task", "score", "points"),
        (("a-1", "t-2", "0.5 ± 0.1", "-3.0"), ("b", "u", "- / 0.7", "-")),
        "c",
    )
    page = as_html([Heading("Title", 1), Heading("Part"), grid])
    assert '<th>model</th><th>task</th><th class="number">score</th><th class="number">points</th>' in page
    assert (
        '<th scope="row">a-1</th><td>t-2</td><td class="number">0.5 ± 0.1</td><td class="number">\N{MINUS SIGN}3.0</td>'
        in page
    )
    assert '<a href="#part-1">Part</a>' in page
    assert '<h2 id="part-1">Part</h2>' in page
    assert r"\begin{tabular}{llrr}" in as_latex([grid])
    assert r"a-1 & t-2 & 0.5 $\pm$ 0.1 & $-$3.0 \\" in as_latex([grid])


def test_trainings_in_charts_are_told_apart_without_colour() -> None:
    trainings = [(kind, encoder) for kind in ("alone", "with a", "with b") for encoder in ("one", "two", "three")]
    styles = list(curves._styles(trainings))
    assert len({(style["marker"], style["linestyle"]) for style in styles}) == len(trainings)
    assert len({style["color"] for style in styles}) == 3


def test_an_average_is_of_the_seeds_that_every_task_has() -> None:
    both = average([Score({1: 0.5, 2: 0.7}, 2), Score({1: 0.1, 2: 0.2}, 2)])
    assert both is not None
    assert both.by_seed == pytest.approx({1: 0.3, 2: 0.45})
    assert both.deviation == pytest.approx(0.106066, abs=1e-6)  # |0.45 - 0.3| / sqrt(2)
    partly = average([Score({1: 0.5, 2: 0.7}, 2), Score({2: 0.2}, 2)])
    assert partly is not None
    assert partly.by_seed == pytest.approx({2: 0.45})
    assert average([Score({1: 0.5}, 1), None]) is None


def gain(low: float, high: float) -> Adjusted:
    comparison = Comparison((low + high) / 2, (high - low) / 4, 50.0, 0.5, 10, 2)
    middle = (low + high) / 2
    return Adjusted(Difference("t", "f1", "test", 0.5, None, 0.5 + middle, None, comparison), low, high, 0.5)


def test_the_graph_tells_gains_from_losses_without_colour(tmp_path: Path) -> None:
    edges = {
        ("a", "b"): gain(0.01, 0.03),
        ("b", "a"): gain(-0.03, -0.01),
        ("a", "c"): gain(-0.1, 0.1),
        ("c", "a"): None,
    }
    path = tmp_path / "graph.svg"
    draw_graphs([Relations("demo", ("a", "b", "c"), edges)], path, "clean")
    drawn = path.read_text(encoding="utf-8")
    dashes = {
        line.split("stroke-dasharray: ")[1].split(";")[0] for line in drawn.splitlines() if "stroke-dasharray" in line
    }
    assert len(dashes) == 2, "dashed and dotted; the third is solid"
    assert all(colour in drawn for colour in ("#1a7f37", "#c22222", "#777777"))
    draw_graphs([Relations("demo", ("a", "b", "c"), edges)], tmp_path / "again.svg", "paper")
    assert "optimistic" in (tmp_path / "again.svg").read_text(encoding="utf-8")
    assert "optimistic" not in drawn


def test_job_arrays_send_every_unit_once(tmp_path: Path) -> None:
    _, words, printed = sent("table3", tmp_path)
    assert f"--array={','.join(map(str, range(1, 26)))}" in words
    assert "--time=180" in words
    runs = tmp_path / "runs with space"
    assert f"--wrap=python3 -m mtscale.cli study run table3 --runs '{runs}' --unit $SLURM_ARRAY_TASK_ID" in words
    assert printed == "rest: job 17\n"


def test_job_arrays_pretrain_encoders_first(tmp_path: Path) -> None:
    """What needs no encoder waits for none, and what needs one is started whatever became of the others."""
    plan, words, printed = sent("sample-table4", tmp_path)
    numbered = [(str(number), unit) for number, unit in enumerate(plan.units, 1)]
    first = [number for number, unit in numbered if unit.kind == "pretrain"]
    after = [number for number, unit in numbered if unit.needs]
    rest = [number for number, unit in numbered if unit.kind != "pretrain" and not unit.needs]
    assert (len(first), len(after), len(rest)) == (2, 4, 2)
    assert [word for word in words if word.startswith(("--array=", "--dependency="))] == [
        f"--array={','.join(first)}",
        "--dependency=afterany:17",
        f"--array={','.join(after)}",
        f"--array={','.join(rest)}",
    ]
    assert printed == "first: job 17\nafter: job 17\nrest: job 17\n"


def sent(name: str, tmp_path: Path) -> tuple[Plan, list[str], str]:
    """The plan of a study, the words that its script gives to sbatch, and what it prints."""
    path, study = spec.find(name)
    folder = StudyFolder(tmp_path / "runs with space", name)
    plan = planning.make(study, path.parent, folder.runs)
    folder.save(plan, path.parent, {})
    seconds = {unit.name: 3600.0 for unit in plan.units}
    script = tmp_path / "jobs.sh"
    script.write_text(job_arrays(plan, seconds, folder, "python3", [name, "--runs", str(folder.runs)]))
    fake = tmp_path / "sbatch"
    fake.write_text('#!/bin/sh\nfor word; do echo "$word"; done >> "$SENT"; echo 17\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SENT": str(tmp_path / "sent")}
    done = subprocess.run(["sh", str(script)], env=environment, capture_output=True, text=True, check=True)
    return plan, (tmp_path / "sent").read_text().splitlines(), done.stdout


@pytest.mark.slow
def test_a_whole_report_has_every_part_and_keeps_the_protocols_apart(tmp_path: Path) -> None:
    file = written(
        tmp_path, STUDY.replace('{ tagging = "minilm" }', '{ tagging = "minilm" }\naffinity_every = 5') + PAPER
    )
    plan, folder = finished_study.make(spec.load(file), tmp_path, tmp_path / "runs")
    report.write(plan, folder, tmp_path / "out", tmp_path, None)
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    headings = [line.lstrip("# ").partition(":")[0] for line in text.splitlines() if line.startswith("#")]
    parts = ["How to read the tables", "Table 1", "Findings of the data check"]
    parts += ["Table 2", "Table beside", "Figure 2", "Affinities and gains"]
    parts += ["Learning curves, protocol clean", "Learning curves, protocol paper", "Selection gaps", "Looks at test"]
    assert headings[1:] == [*parts, "How to make it again", "Versions", "Encoders", "Runs"]
    assert not [line for line in text.splitlines() if line.startswith("Not ")], "nothing is missing"
    assert "2 comparisons: 2 gains, 0 losses, 0 unclear; conditional on these seeds." in text
    clean, beside = (text.split(f"## {this}")[1].split("\n## ")[0] for this in ("Table 2", "Table beside"))
    assert "optimistic" in beside
    assert "optimistic" not in clean
    again = tmp_path / "again"
    report.write(plan, folder, again, tmp_path, None)
    assert (again / "report.html").read_bytes() == (tmp_path / "out" / "report.html").read_bytes()
