from __future__ import annotations

from pathlib import Path

import pytest

from mtscale import recipe
from mtscale.encoders import ALIASES
from mtscale.model.encoder import locate


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_stands_for_a_hub_id(alias: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / alias).mkdir()  # a folder of that name does not change what a recipe means
    assert locate(alias) == ALIASES[alias]
    owner, name = ALIASES[alias].split("/")
    assert owner
    assert name


def test_the_cased_biobert_is_the_one_whose_tokenizer_keeps_capitals() -> None:
    assert ALIASES["biobert"] == "dmis-lab/biobert-v1.1"


def test_other_names_are_left_as_they_are() -> None:
    assert locate("some/encoder") == "some/encoder"


# Tables 3, 2 and 6 of the paper: the encoder of its own rows, or the best on average.
PAPER = {
    "blue-biomedical": ("bluebert-pubmed", {"chemprot", "ddi2013", "bc5cdr-disease", "bc5cdr-chemical"}),
    "blue-clinical": ("bluebert-mimic", {"clinicalsts", "i2b2-2010-re", "mednli", "shareclefe"}),
}


@pytest.mark.parametrize("name", ["blue-biomedical", "blue-clinical", "blue-all"])
def test_the_blue_recipes_have_the_settings_of_the_paper(name: str) -> None:
    loaded = recipe.load(recipe.find(name))
    assert loaded.name == name
    assert loaded.stages == ("refine", "finetune")
    encoder, tasks = PAPER.get(name, ("biobert", set().union(*(tasks for _, tasks in PAPER.values()))))
    assert loaded.encoder.name == encoder
    assert encoder in ALIASES
    assert loaded.encoder.max_pieces == 128
    assert {task.name for task in loaded.tasks} == tasks
    refine = loaded.settings("refine")
    assert (refine.epochs, refine.batch_size, refine.learning_rate, refine.warmup) == (100, 32, 5e-5, 0.1)
    assert (refine.weight_decay, refine.clip, refine.head_dropout, refine.patience) == (0.01, 1.0, 0.1, None)
    finetune = loaded.settings("finetune")
    assert (finetune.epochs, finetune.learning_rate, finetune.batch_size) == (10, 1e-5, 32)
