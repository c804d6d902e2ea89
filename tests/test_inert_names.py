"""Labels and ids that other software would act on are names and nothing else, from training to every report."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tomli_w
from lxml import html

from mtscale import cli
from mtscale.errors import EXIT_DATA, EXIT_FINISHED
from mtscale.runs import RunDirectory, State
from tests.lab import SECONDS, Lab
from tests.tmux import Terminal

# Markup of pages, of rich, formats of Python, C and the shell, YAML's tags, XML's entities, a cell of a spreadsheet.
NAMES = (
    "<script>window.evil=1</script>",
    "[blink red]x[/]",
    "{0.__class__} %s%n $(touch evil) `touch evil`",
    '!!python/object/apply:os.system ["touch evil"]',
    "&lol; ]]> \"'",
    "=cmd|'/c touch evil'!A1",
)
# What a terminal acts on is refused in labels and ids, and told in another spelling.
STEERING = "\x1b]0;evil\x07\x1b[31m\u202e"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("inert"))
    for split, count in (("train", 24), ("dev", 12), ("test", 12)):
        rows = ["index\tsentence1\tsentence2\tlabel"]
        rows += [
            f"{NAMES[n % 6]}{split}{n}\tThe {split} fever {n}.\tNo fever {n} was seen.\t{NAMES[n % 6]}"
            for n in range(count)
        ]
        (made.folder / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    files = {split: f"{split}.tsv" for split in ("train", "dev", "test")}
    table = {"name": "nature", "kind": "inference", "format": "tsv", "labels": list(NAMES), "files": files}
    refine = {"epochs": 1, "batch_size": 6, "learning_rate": 2e-3}
    recipe = {"name": "inert", "encoder": {"name": str(tiny_encoder), "max_pieces": 64}, "refine": refine}
    tables = [{**table, "domain": NAMES[0], "access": "open"}]
    (made.folder / "recipe.toml").write_text(tomli_w.dumps({**recipe, "tasks": tables}), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def run(lab: Lab) -> RunDirectory:
    printed = lab.finish("inert")
    assert is_inert(printed)
    return lab.run("inert")


def is_inert(shown: str) -> bool:
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)


def commanded(lab: Lab, *arguments: str | Path) -> str:
    command = [sys.executable, "-m", "mtscale.cli", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=lab.folder, env=lab.environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == EXIT_FINISHED, done.stdout + done.stderr
    assert is_inert(done.stdout + done.stderr)
    return done.stdout


@pytest.mark.slow
def test_logs_and_reports_hold_names_as_they_are(lab: Lab, run: RunDirectory) -> None:
    assert run.state() is State.FINISHED
    for path in (lab.runs / "inert").rglob("*"):
        if path.suffix in {".log", ".json", ".jsonl", ".toml", ".txt", ".md"}:
            assert is_inert(path.read_text(encoding="utf-8")), path
    report = (run.path / "reports" / "test" / "nature.json").read_text(encoding="utf-8")
    assert all(name in json.dumps(json.loads(report), ensure_ascii=False).replace("\\", "") for name in NAMES[:3])
    assert not list(lab.folder.rglob("evil"))


@pytest.mark.slow
def test_pages_and_cards_show_names_and_run_nothing(lab: Lab, run: RunDirectory) -> None:
    commanded(lab, "corpora", "check", lab.folder / "recipe.toml", "--output", lab.folder / "check")
    page = (lab.folder / "check" / "report.html").read_text(encoding="utf-8")
    assert is_inert(page)
    assert not [one for one in html.fromstring(page).iter("script") if "evil" in (one.text or "")]
    commanded(lab, "export", run.path, "--task", "nature", "-o", lab.folder / "plain")
    card = (lab.folder / "plain" / "README.md").read_text(encoding="utf-8")
    assert NAMES[0] not in card
    config = json.loads((lab.folder / "plain" / "config.json").read_text(encoding="utf-8"))
    assert list(config["id2label"].values()) == list(NAMES)
    (lab.folder / "new.jsonl").write_text(
        json.dumps({"index": NAMES[0], "sentence1": "Fever.", "sentence2": "No fever."}) + "\n", encoding="utf-8"
    )
    commanded(lab, "predict", "--model", run.path, "-o", lab.folder / "out", lab.folder / "new.jsonl")
    commanded(lab, "runs", "show", run.path)
    commanded(lab, "corpora", "stats", lab.folder / "recipe.toml", "--classes")
    assert not list(lab.folder.rglob("evil"))


@pytest.mark.slow
def test_the_tracking_store_and_its_artifacts_hold_names_as_they_are(lab: Lab, run: RunDirectory) -> None:
    with sqlite3.connect(lab.runs / "mlflow.db") as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [value for table in tables for row in store.execute(f'SELECT * FROM "{table}"') for value in row]
    texts = [value for value in values if isinstance(value, str)]
    assert all(map(is_inert, texts))
    artifacts = [path.read_text(encoding="utf-8") for path in lab.runs.glob("mlflow-artifacts/**/*.[jt]*")]
    assert all(map(is_inert, artifacts))
    assert any(NAMES[0] in text for text in artifacts), "the recipe goes there with the labels"


@pytest.mark.slow
def test_a_study_report_shows_titles_and_labels_and_runs_nothing(lab: Lab) -> None:
    recipe = tomllib.loads((lab.folder / "recipe.toml").read_text(encoding="utf-8"))
    table = {
        "title": NAMES[2],
        "rows": [{"label": f"{NAMES[3]}{NAMES[4]}{NAMES[0]}", "model": "single", "encoder": "tiny"}],
    }
    content = {
        "name": "inert",
        "title": NAMES[0],
        "scope": NAMES[1],
        "seeds": [1],
        "one_seed": True,
        "settings": {"encoder": {"max_pieces": 64}, "refine": recipe["refine"]},
        "tasks": recipe["tasks"],
        "encoders": {"tiny": recipe["encoder"]["name"]},
        "tables": {"table2": table},
    }
    file = lab.folder / "study.toml"
    file.write_text(tomli_w.dumps(content), encoding="utf-8")
    runs = lab.folder / "runs-of-the-study"
    for command in ("run", "report"):
        commanded(lab, "study", command, file, "--runs", runs)
    report = runs / "studies" / "inert" / "report"
    page = html.fromstring((report / "report.html").read_text(encoding="utf-8"))
    assert not [one for one in page.iter("script") if "evil" in (one.text or "")]
    shown = page.text_content()
    assert all(name in shown for name in NAMES[:5])
    for path in report.rglob("*"):
        if path.suffix in {".html", ".md", ".tex", ".svg"}:
            assert is_inert(path.read_text(encoding="utf-8")), path
    assert not list(lab.folder.rglob("evil"))


@pytest.mark.slow
def test_the_app_shows_them_as_they_are(lab: Lab, run: RunDirectory) -> None:
    with Terminal(lab.folder / "tmux", lab.folder, lab.environment(TERM="xterm-256color"), (200, 50)) as terminal:
        terminal.write(f"{sys.executable} -m mtscale_tui.app --runs {lab.runs}")
        terminal.press("Enter")
        terminal.until("finished")
        terminal.press("Enter")
        terminal.until("dev score")
        for tab in ("2", "3", "4", "5"):
            terminal.press(tab)
            assert "Traceback" not in terminal.until("inert")
        terminal.press("Escape", "q")
        terminal.until(r"[$#]\s*$")
    assert not list(lab.folder.rglob("evil"))


def test_an_id_that_steers_a_terminal_is_refused(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "dev", "test"):
        rows = (lab.folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        rows[3] = STEERING + rows[3]
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    recipe = str(lab.folder / "recipe.toml")
    assert cli.main(["corpora", "check", recipe, "--data", str(tmp_path)]) == EXIT_DATA
    told = "".join(capsys.readouterr())
    assert "train.tsv:4: expected printable characters only in index" in told
    assert is_inert(told)
