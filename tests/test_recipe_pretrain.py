"""``[pretrain]``: what is read, refused and left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mtscale import recipe
from mtscale.errors import ConfigError
from mtscale.recipe import RECIPES
from mtscale.recipe_sections import PretrainSettings

OWN = 'name = "own"\nstages = ["pretrain"]\n\n[pretrain]\nfiles = ["text/*.txt"]\n'
TASK = '\n[[tasks]]\nname = "cdr-disease"\n'


def load(folder: Path, text: str) -> recipe.Recipe:
    path = folder / "r.toml"
    path.write_text(text, encoding="utf-8")
    return recipe.load(path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_pretraining_needs_no_tasks_and_has_berts_defaults(tmp_path: Path) -> None:
    read = load(tmp_path, OWN)
    assert read.tasks == ()
    own = read.pretrain
    assert (own.mask_rate, own.as_mask, own.at_random, own.masking) == (0.15, 0.8, 0.1, "pieces")
    assert (own.access, own.start, own.clean, own.format) == ("dua", "encoder", "none", "lines")
    assert (own.scratch.layers, own.scratch.hidden, own.scratch.heads, own.scratch.vocabulary) == (12, 768, 12, 30522)


@pytest.mark.parametrize(
    "stages", ['["pretrain", "refine"]', '["pretrain", "finetune"]', '["pretrain", "refine", "finetune"]']
)
def test_further_stages_may_follow(tmp_path: Path, stages: str) -> None:
    text = OWN.replace('["pretrain"]', stages)
    assert load(tmp_path, text + TASK).stages[0] == "pretrain"
    assert "stages refine and finetune need at least one [[tasks]]" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ('fields = "text"\n', "r.toml:6: pretrain.fields: unknown key, did you mean 'field'?"),
        ('format = "jsonlines"\n', "r.toml:6: pretrain.format: "),
        ("heldout = 0.0\n", "r.toml:6: pretrain.heldout: Input should be greater than 0, found 0.0"),
        ('field = "body"\n', "field is for format = 'jsonl' alone, found format = 'lines'"),
        ("as_mask = 0.9\nat_random = 0.2\n", "as_mask and at_random must add up to at most 1, found 1.1"),
        ("epochs = 2\nsteps = 100\n", "give epochs or steps, not both"),
        ("[pretrain.scratch]\nlayers = 2\n", "[pretrain.scratch] is for start = 'scratch' alone"),
        ('start = "scratch"\n[pretrain.scratch]\nheads = 5\n', "heads must divide hidden, found 5 and 768"),
        ('start = "scratch"\n[pretrain.scratch]\nlayer = 5\n', "unknown key, did you mean 'layers'?"),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, added: str, expected: str) -> None:
    assert expected in refusal(tmp_path, OWN + added)


def test_text_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    for name in ("../../etc/passwd", "notes/../../secret.txt", "sample:../../x"):
        override = f'pretrain.files=["{name}"]'
        (tmp_path / "r.toml").write_text(OWN, encoding="utf-8")
        with pytest.raises(
            ConfigError, match=r"must not lead out of their folder by '\.\.', found '" + re.escape(name)
        ):
            recipe.load(tmp_path / "r.toml", [override])


def test_pretraining_needs_files(tmp_path: Path) -> None:
    assert "stage pretrain needs pretrain.files" in refusal(tmp_path, 'name = "m"\nstages = ["pretrain"]\n')


def test_a_resolved_recipe_reads_as_itself(tmp_path: Path) -> None:
    for added in ("", 'start = "scratch"\n', 'format = "jsonl"\nsteps = 5\n'):
        read = load(tmp_path, OWN + added)
        again = load(tmp_path, read.to_toml())
        assert again.hash() == read.hash()
        assert again.pretrain == read.pretrain


def test_other_stages_do_not_know_the_section(tmp_path: Path) -> None:
    text = 'name = "m"\n' + TASK
    with_section = text.replace(TASK, '\n[pretrain]\nfiles = ["a"]\n' + TASK)
    assert load(tmp_path, text).hash() == load(tmp_path, with_section).hash()
    assert "pretrain" not in load(tmp_path, with_section).to_toml()
    assert load(tmp_path, OWN).hash() != load(tmp_path, OWN + "steps = 3\n").hash()


def test_the_shipped_ones_read_training_documents_alone() -> None:
    for name in ("sample-pretrain", "sample-scratch"):
        loaded = recipe.load(RECIPES / f"{name}.toml")
        assert loaded.pretrain.files == ("sample:cdr/train*.pubtator.txt",)


def test_every_setting_is_explained() -> None:
    for name, field in PretrainSettings.model_fields.items():
        assert field.description or name == "scratch"
