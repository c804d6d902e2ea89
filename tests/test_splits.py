"""Splits that the corpus does not give by file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtscale.corpora.example import SPLITS
from mtscale.corpora.splits import membership, source_split
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Task

WHOLE = TASKS["bc5cdr-disease"]
NO_DEV = replace(WHOLE, files={"train": ("a",), "test": ("b",)}, dev_fraction=0.1)
FOLDS = replace(WHOLE, files={"train": ("a",)}, folds=5)
DDI_DEV = replace(NO_DEV, dev_fraction=None, dev_documents="ddi2013-dev.txt")
PATHS = [Path("data/a"), Path("data/b")]
NAMES = [f"d{number}" for number in range(25)]


def test_a_split_with_files_is_all_of_them() -> None:
    for split in SPLITS:
        assert source_split(WHOLE, split) == split
        assert membership(WHOLE, split, PATHS, lambda: pytest.fail("not needed")) is None
    assert membership(NO_DEV, "test", PATHS, lambda: pytest.fail("not needed")) is None


@given(st.sets(st.text(min_size=1), min_size=2, max_size=40), st.integers(0, 3))
def test_a_part_of_the_training_documents_is_held_out(documents: set[str], seed: int) -> None:
    task = replace(NO_DEV, split_seed=seed)
    assert source_split(task, "dev") == "train"
    in_train, in_dev = (membership(task, split, PATHS, lambda: documents) for split in ("train", "dev"))
    assert in_train is not None
    assert in_dev is not None
    dev = {document for document in documents if in_dev(document)}
    assert len(dev) == -(-len(documents) // 10)
    assert {document for document in documents if in_train(document)} == documents - dev
    again = membership(task, "dev", PATHS, lambda: sorted(documents, reverse=True))
    assert again is not None
    assert {document for document in documents if again(document)} == dev


def test_another_seed_holds_out_other_documents() -> None:
    held = {
        frozenset(filter(membership(replace(NO_DEV, split_seed=seed), "dev", PATHS, lambda: NAMES), NAMES))
        for seed in range(10)
    }
    assert len(held) > 5


def test_every_document_is_test_in_one_fold_and_dev_in_another() -> None:
    tested, chosen = [], []
    for fold in range(5):
        parts = {
            split: set(filter(membership(replace(FOLDS, fold=fold), split, PATHS, lambda: NAMES), NAMES))
            for split in SPLITS
        }
        assert source_split(FOLDS, "test") == "train"
        assert sorted(name for part in parts.values() for name in part) == sorted(NAMES)
        assert (len(parts["test"]), len(parts["dev"])) == (5, 5)
        tested += parts["test"]
        chosen += parts["dev"]
    assert sorted(tested) == sorted(chosen) == sorted(NAMES)


@given(
    st.sets(st.text(min_size=1), min_size=5, max_size=40), st.integers(1, 50), st.sampled_from([WHOLE, NO_DEV, FOLDS])
)
def test_so_many_training_documents_are_drawn_and_no_dev_or_test_ones_lost(
    documents: set[str], wanted: int, task: Task
) -> None:
    fewer = replace(task, train_documents=wanted)
    for split in ("dev", "test"):
        one, other = (membership(a_task, split, PATHS, lambda: documents) for a_task in (task, fewer))
        assert [keep and set(filter(keep, documents)) for keep in (one, other)].count(None) in {0, 2}
        assert one is None or set(filter(one, documents)) == set(filter(other, documents))
    every, drawn = (membership(a_task, "train", PATHS, lambda: documents) for a_task in (task, fewer))
    assert drawn is not None
    train = set(documents) if every is None else set(filter(every, documents))
    kept = set(filter(drawn, documents))
    assert kept <= train
    assert len(kept) == min(wanted, len(train))
    more = membership(replace(fewer, train_documents=wanted + 1), "train", PATHS, lambda: documents)
    assert more is not None
    assert kept <= set(filter(more, documents)), "a larger draw holds the smaller one"


@pytest.mark.parametrize("task", [WHOLE, NO_DEV, FOLDS])
def test_as_many_documents_are_drawn_of_a_dev_split_that_is_trained_on(task: Task) -> None:
    whole = membership(task, "dev", PATHS, lambda: NAMES)
    dev = set(NAMES) if whole is None else set(filter(whole, NAMES))
    drawn = membership(replace(task, train_documents=2, trains_on_dev=True), "dev", PATHS, lambda: NAMES)
    assert drawn is not None
    assert len(kept := set(filter(drawn, NAMES))) == 2
    assert kept < dev


@pytest.mark.parametrize("task", [WHOLE, NO_DEV, FOLDS])
def test_the_epoch_may_be_chosen_on_a_part_of_dev(task: Task) -> None:
    whole = membership(task, "dev", PATHS, lambda: NAMES)
    dev = set(NAMES) if whole is None else set(filter(whole, NAMES))
    limited = replace(task, choosing_documents=1)
    drawn = membership(limited, "dev", PATHS, lambda: NAMES)
    assert drawn is not None
    assert len(kept := set(filter(drawn, NAMES))) == 1
    assert kept < dev
    for other in (replace(limited, trains_on_dev=True), task):
        same = membership(other, "dev", PATHS, lambda: NAMES)
        assert (None if same is None else set(filter(same, NAMES))) in (None, dev)
    for split in ("train", "test"):
        one, other_ = (membership(a_task, split, PATHS, lambda: NAMES) for a_task in (task, limited))
        assert [keep and set(filter(keep, NAMES)) for keep in (one, other_)].count(None) in {0, 2}


def test_published_dev_documents_have_to_be_there() -> None:
    with pytest.raises(DataError, match=r"^data/a, data/b: .* 79 documents of ddi2013-dev\.txt .* found all but 79"):
        membership(DDI_DEV, "dev", PATHS, lambda: NAMES)


def test_too_few_documents_to_cut() -> None:
    with pytest.raises(DataError, match=r"^data/a, data/b: .* found 1"):
        membership(NO_DEV, "train", PATHS, lambda: ["one"])
    with pytest.raises(DataError, match=r"^data/a, data/b: .* at least 5 documents"):
        membership(FOLDS, "train", PATHS, lambda: NAMES[:4])


def test_a_split_without_files_or_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="no file is given for dev, only for train, test"):
        source_split(replace(NO_DEV, dev_fraction=None), "dev")
