from __future__ import annotations

from pathlib import Path

import pytest

from mtscale import cli
from mtscale.errors import EXIT_REFUSED, ConfigError
from mtscale.study import spec

STUDY = """
name = "mine"
seeds = [1, 2]
[[tasks]]
name = "cdr-disease"
[[tasks]]
name = "cdr-chemical"
[[tasks]]
name = "evidence-inference"
[domains]
tagging = ["cdr-disease", "cdr-chemical"]
[encoders]
minilm = "sample"
[tables.table2]
title = "Tagging"
tasks = "tagging"
baseline = "alone"
rows = [
    { label = "alone", model = "single", encoder = "minilm" },
    { label = "together", model = "refined", encoder = "minilm" },
]
[figure]
encoders = { tagging = "minilm" }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_study_is_read_and_a_part_taken(tmp_path: Path) -> None:
    path, study = spec.find(str(written(tmp_path, STUDY)), ["table2"])
    assert path.name == "mine.toml"
    assert study.tasks_of("all") == ("cdr-disease", "cdr-chemical", "evidence-inference")
    assert study.figure is None
    assert study.parts == ("table1", "table2")
    with pytest.raises(ConfigError, match="no part 'table7', did you mean 'table"):
        study.only(["table7"])


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "cdr-chemical"', 'name = "cdr-chemicals"', "no shipped task 'cdr-chemicals', did you mean"),
        ('tagging = ["cdr-disease"', 'tagging = ["cdr-diseases"', "domains.tagging: no task 'cdr-diseases', did you"),
        ('tasks = "tagging"', 'tasks = "taging"', "tables.table2.tasks: no domain 'taging', did you mean 'tagging'?"),
        ('model = "refined", encoder = "minilm"', 'model = "refined", encoder = "bert"', "no encoder 'bert'"),
        ('baseline = "alone"', 'baseline = "alon"', "baseline: no row 'alon', did you mean 'alone'?"),
        ('label = "together"', 'label = "alone"', "labels of rows must differ"),
        ('model = "refined"', 'model = "refine"', "Input should be 'single', 'refined' or 'finetuned', found 'refine'"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "seeds must differ"),
        ('model = "refined"', 'protocol = "paper", model = "refined"', "a table has one protocol, which stands beside"),
        ('title = "Tagging"', 'protocol = "papr"', "Input should be 'clean' or 'paper', found 'papr'"),
        (
            "[figure]",
            '[settings.paper]\ncut = "gold_blind"\n[figure]',
            "settings.paper is for protocol = 'paper'",
        ),
        ("seeds = [1, 2]", 'protocol = "both"', "Input should be 'clean' or 'paper', found 'both'"),
        ("seeds = [1, 2]", "seedz = [1]", "seedz: unknown key, did you mean 'seeds'?"),
        ("{ tagging = ", "{ nothing = ", "no domain 'nothing'"),
        ("[tables.table2]", "[tables.figure2]", "tables.figure2: the name is taken"),
        ('tasks = "tagging"\n', "", "it is not trained on|^$"),
    ],
)
def test_what_does_not_hold_together_is_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in STUDY
    path = written(tmp_path, STUDY.replace(before, after, 1))
    if message.endswith("^$"):
        spec.load(path)  # a table without tasks is of all tasks
        return
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")) as caught:
        spec.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("part", ["table2", "figure2"])
def test_one_seed_is_compared_only_where_that_is_asked_for(tmp_path: Path, part: str) -> None:
    text = STUDY.replace("seeds = [1, 2]", "seeds = [3]")
    where = {"table2": "tables.table2.baseline", "figure2": "figure"}[part]
    with pytest.raises(ConfigError, match=rf"{where} compare .* found one \(3\).* more .*, or set one_seed = true in"):
        spec.load(written(tmp_path, text)).only([part]).require_seeds()
    spec.load(written(tmp_path, text)).only(["table1"]).require_seeds()
    spec.load(written(tmp_path, text.replace('baseline = "alone"', ""))).only(["table2"]).require_seeds()
    spec.load(written(tmp_path, text.replace("seeds", "one_seed = true\nseeds"))).only([part]).require_seeds()
    spec.load(written(tmp_path, STUDY)).require_seeds()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('name = "cdr-chemical"', 'name = "cdr-chemicals"', "no shipped task 'cdr-chemicals'"),
        ('"cdr-disease"', '"chemprot"', "task chemprot: the folder that holds the corpora is not known"),
        ('model = "refined"', 'protocol = "paper", model = "refined"', "a table has one protocol"),
        ("seeds = [1, 2]", "seeds = [1]", "needs two seeds or more, found one (1)"),
    ],
)
def test_bad_studies_are_refused_before_anything_is_made(
    tmp_path: Path,
    before: str,
    after: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MTSCALE_DATA", raising=False)
    text = STUDY.replace(before, after)
    assert text != STUDY
    path = written(tmp_path, text)
    for command in ("plan", "run"):
        assert cli.main(["study", command, str(path), "--runs", str(tmp_path / "runs")]) == EXIT_REFUSED
        assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_row_must_be_trained_on_what_its_table_shows(tmp_path: Path) -> None:
    text = STUDY.replace('model = "refined", encoder', 'model = "refined", trained_on = "tagging", encoder')
    with pytest.raises(ConfigError, match="row 'together': it is not trained on evidence-inference"):
        spec.load(written(tmp_path, text.replace('tasks = "tagging"', 'tasks = "all"')))


def test_the_shipped_studies_have_the_papers_parts() -> None:
    known = spec.shipped()
    paper = {"all", *(f"table{number}" for number in range(1, 7)), "figure2"}
    assert paper <= known.keys()
    assert {f"sample-{part}" for part in paper} <= known.keys()
    _, study = spec.find("table6")
    assert list(study.tables) == ["table6"]
    assert len(study.tasks_of("all")) == 8
    with pytest.raises(ConfigError, match=r"no study 'tabel6'.*did you mean 'table6'"):
        spec.find("tabel6")
