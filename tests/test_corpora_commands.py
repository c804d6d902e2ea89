"""`mtscale corpora list` and `stats`, and what a training says of missing corpora; `check` has tests of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from mtscale.corpora import inventory
from mtscale.corpora.example import SPLITS
from mtscale.corpora.stats import PAPER_TABLE_1
from mtscale.errors import EXIT_DATA, EXIT_REFUSED, ConfigError, DataError
from mtscale.tasks import BLUE_TASKS, TASKS
from mtscale.training import job
from tests.corpora_command import REAL, SECRET, Command, command, real_corpora, write_bc5cdr

__all__ = ["command"]  # a fixture


# ---- list


def test_list_says_what_is_here_and_where_to_get_the_rest(command: Command, tmp_path: Path) -> None:
    write_bc5cdr(tmp_path / "data" / "bc5cdr")
    (tmp_path / "data" / "bc5cdr" / "CDR_TestSet.PubTator.txt").unlink()
    (tmp_path / "data" / "biosses").mkdir()
    (tmp_path / "data" / "biosses" / "biosses_all.tsv").touch()
    report = command.json("list", "--data", tmp_path / "data")
    rows = {row["task"]: row for row in report["tasks"]}
    assert rows.keys() == TASKS.keys()
    assert rows["cdr-disease"]["state"] == "in the package"
    assert rows["biosses"]["state"] == "found"
    assert (rows["bc5cdr-disease"]["state"], rows["bc5cdr-disease"]["missing"]) == (
        "missing",
        ["CDR_TestSet.PubTator.txt"],
    )
    assert (rows["mednli"]["state"], rows["mednli"]["access"]) == ("missing", "dua")
    assert "physionet.org" in rows["mednli"]["obtain"]
    text = command("list", "--data", tmp_path / "data")
    for row in rows.values():
        assert (row["obtain"] in text and row["licence"] in text) or row["state"] != "missing"
    assert "bc5cdr-disease: missing in the folder bc5cdr: CDR_TestSet.PubTator.txt\n" in text


def test_list_without_a_data_root_names_every_file(command: Command) -> None:
    rows = {row["task"]: row for row in command.json("list")["tasks"]}
    assert rows["biosses"]["state"] == "no data root"
    assert rows["biosses"]["missing"] == ["biosses_all.tsv"]
    assert "give --data DIR or set MTSCALE_DATA" in command("list")


def test_every_task_that_is_not_in_the_package_says_where_to_get_it() -> None:
    assert all(task.obtain and task.licence and task.source for task in TASKS.values() if not task.packaged)


# ---- missing corpora stop a training before anything loads, all at once


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    job.add_options(parser)
    return parser.parse_args(words)


def test_a_training_names_all_missing_corpora_at_once(tmp_path: Path) -> None:
    write_bc5cdr(tmp_path / "bc5cdr")
    with pytest.raises(DataError) as caught:
        job.check(options("--recipe", "blue-all", "--data", str(tmp_path)))
    lines = str(caught.value).splitlines()
    missing = [task for task in BLUE_TASKS if task.corpus != "bc5cdr"]
    assert {line.split(":")[0] for line in lines} == {f"task {task.name}" for task in missing}
    for task in missing:
        line = next(line for line in lines if line.startswith(f"task {task.name}: "))
        assert task.obtain in line
        assert all(name in line for names in task.files.values() for name in names)


def test_a_training_without_a_data_root_names_all_folders_at_once() -> None:
    with pytest.raises(ConfigError, match=r"--data DIR, set MTSCALE_DATA, or write data_root") as caught:
        job.check(options("--recipe", "blue-biomedical"))
    assert [line.split(";")[0] for line in str(caught.value).splitlines()[1:]] == [
        "folder chemprot",
        "folder ddi2013",
        "folder bc5cdr",
    ]


def test_a_missing_dev_file_is_the_train_file_where_dev_is_drawn_from_it(tmp_path: Path) -> None:
    task = TASKS["biosses"]
    assert inventory.missing_files(task, tmp_path) == {tmp_path / "biosses" / "biosses_all.tsv": "train"}


# ---- stats


def test_stats_counts_in_the_units_of_table_1(command: Command, tmp_path: Path) -> None:
    write_bc5cdr(tmp_path / "bc5cdr")
    report = command.json("stats", "--data", tmp_path)
    rows = {row["task"]: row for row in report["tasks"]}
    assert rows.keys() == {"bc5cdr-disease", "bc5cdr-chemical"}
    assert rows["bc5cdr-disease"]["unit"] == "mentions"
    assert [rows["bc5cdr-disease"]["splits"][split]["count"] for split in SPLITS] == [3, 1, 2]
    assert [rows["bc5cdr-chemical"]["splits"][split]["paper"] for split in SPLITS] == [5203, 5347, 5385]
    assert set(report["missing"]) == {name for name, task in TASKS.items() if not task.packaged} - rows.keys()
    text = command("stats", "--data", tmp_path, "--classes")
    assert "bc5cdr-disease   mentions      3  4,182    1  4,244     2  4,424" in text
    assert "chemprot: not found under" in text
    assert "bc5cdr-disease   Disease       3    1     2" in text


def test_stats_of_a_recipe_needs_its_corpora(command: Command, tmp_path: Path) -> None:
    printed = command("stats", "blue-biomedical", "--data", tmp_path, code=EXIT_DATA)
    assert all(f"task {name}: expected" in printed for name in ("chemprot", "ddi2013", "bc5cdr-chemical"))
    assert "--data DIR" in command("stats", code=EXIT_REFUSED)


def test_stats_of_relations_shows_positives_and_pairs(command: Command) -> None:
    rows = {row["task"]: row for row in command.json("stats", "sample")["tasks"]}
    train = rows["cdr-relation"]["splits"]["train"]
    assert 0 < train["count"] == train["classes"]["induces"] < train["pairs"] == sum(train["classes"].values())
    assert rows["cdr-similarity"]["splits"]["train"]["count"] > 0
    assert rows["cdr-similarity"]["splits"]["train"]["classes"] == {}
    inference = rows["evidence-inference"]["splits"]["dev"]
    assert inference["count"] == sum(inference["classes"].values()) > 0


def test_a_relation_with_two_labels_counts_twice(command: Command, tmp_path: Path) -> None:
    rows = "index\tsentence\tlabel\n1\tx\ta\n1\tx\tb\n2\tx\tno\n"
    for split in SPLITS:
        (tmp_path / f"{split}.tsv").write_text(rows, encoding="utf-8")
    output = tmp_path / "two.toml"
    command("new", tmp_path, "--output", output)
    train = command.json("stats", output)["tasks"][0]["splits"]["train"]
    assert (train["count"], train["pairs"], train["classes"]) == (2, 2, {"a": 1, "b": 1, "no": 1})


def test_one_broken_corpus_does_not_hide_the_others(command: Command, tmp_path: Path) -> None:
    write_bc5cdr(tmp_path / "bc5cdr")
    (tmp_path / "biosses").mkdir()
    (tmp_path / "biosses" / "biosses_all.tsv").write_text(f"id\tsentence1\n1\t{SECRET}\n", encoding="utf-8")
    rows = {row["task"]: row for row in command.json("stats", "--data", tmp_path, code=EXIT_DATA)["tasks"]}
    assert rows["bc5cdr-disease"]["splits"]["train"]["count"] == 3
    assert "biosses_all.tsv:1: " in rows["biosses"]["error"]


@real_corpora
def test_the_real_corpora_have_the_numbers_of_table_1(command: Command) -> None:
    assert REAL is not None
    rows = {row["task"]: row for row in command.json("stats", "--data", REAL)["tasks"]}
    for name in ("bc5cdr-disease", "bc5cdr-chemical"):
        assert tuple(rows[name]["splits"][split]["count"] for split in SPLITS) == PAPER_TABLE_1[name]
    chemprot, ddi = rows["chemprot"]["splits"], rows["ddi2013"]["splits"]
    assert [chemprot[split]["count"] for split in SPLITS] == [4157, 2416, 3458]
    assert [ddi[split]["pairs"] for split in SPLITS] == [25296, 2496, 5716]
    assert ddi["test"]["count"] == PAPER_TABLE_1["ddi2013"][2]
    assert ddi["train"]["count"] + ddi["dev"]["count"] == 4021
