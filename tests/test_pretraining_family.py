"""The runs of a family that begins with pretraining: names, order, and the mark that goes on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from mtscale.encoders import ACCESS
from mtscale.errors import DataError
from mtscale.training import job
from mtscale.training.job import Job

TASKS = """
[[tasks]]
name = "cdr-disease"
[[tasks]]
name = "cdr-chemical"
"""


def checked(folder: Path, stages: str, *, access: str = "open", start: str = "encoder", encoder: str = "sample") -> Job:
    (folder / "text.txt").write_text("A document.\n")
    path = folder / "recipe.toml"
    path.write_text(
        f'name = "own"\nstages = {stages}\n[encoder]\nname = "{encoder}"\n[pretrain]\nfiles = ["text.txt"]\n'
        f'access = "{access}"\nstart = "{start}"\n' + TASKS
    )
    parser = argparse.ArgumentParser()
    job.add_options(parser)
    return job.check(parser.parse_args(["--recipe", str(path), "--runs", str(folder / "runs"), "--run", "own"]))


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ('["pretrain"]', [("own", None)]),
        ('["pretrain", "refine"]', [("own-pretrain", None), ("own", "own-pretrain")]),
        (
            '["pretrain", "finetune"]',
            [
                ("own-pretrain", None),
                ("own-finetune-cdr-disease", "own-pretrain"),
                ("own-finetune-cdr-chemical", "own-pretrain"),
            ],
        ),
        (
            '["pretrain", "refine", "finetune"]',
            [
                ("own-pretrain", None),
                ("own", "own-pretrain"),
                ("own-finetune-cdr-disease", "own"),
                ("own-finetune-cdr-chemical", "own"),
            ],
        ),
    ],
)
def test_each_run_starts_from_the_one_before(
    tmp_path: Path, stages: str, expected: list[tuple[str, str | None]]
) -> None:
    members = checked(tmp_path, stages).members
    assert [(member.name, member.parent) for member in members] == expected
    assert [len(member.tasks) for member in members if member.stage == "pretrain"] == [0]


@pytest.mark.parametrize("access", ["open", "dua"])
def test_what_follows_has_the_access_of_the_text(tmp_path: Path, access: str) -> None:
    family = checked(tmp_path, '["pretrain", "refine", "finetune"]', access=access)
    assert [family.access(member) for member in family.members] == [access] * 4


def test_a_marked_encoder_marks_what_is_trained_from_it_but_not_what_starts_anew(tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text(json.dumps({ACCESS: "dua"}))
    further = checked(tmp_path, '["pretrain", "refine"]', encoder=str(encoder))
    assert [further.access(member) for member in further.members] == ["dua", "dua"]
    anew = checked(tmp_path, '["pretrain", "refine"]', encoder=str(encoder), start="scratch")
    assert [anew.access(member) for member in anew.members] == ["open", "open"]
    tasks_alone = checked(tmp_path, '["refine"]', encoder=str(encoder))
    assert [tasks_alone.access(member) for member in tasks_alone.members] == ["dua"]


def test_missing_text_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "own"\nstages = ["pretrain"]\n[pretrain]\nfiles = ["none/*.txt"]\n')
    parser = argparse.ArgumentParser()
    job.add_options(parser)
    with pytest.raises(DataError, match=r"pretrain\.files: expected a file 'none/\*\.txt' under"):
        job.check(parser.parse_args(["--recipe", str(path), "--runs", str(tmp_path / "runs")]))
