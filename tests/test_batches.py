from __future__ import annotations

from typing import Any

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.inputs.batches import Batch, collate, slice_rows
from mtscale.tasks import Kind


@settings(deadline=None, max_examples=100)
@given(size=st.integers(1, 70), world_size=st.integers(1, 8), accumulation=st.integers(1, 6))
def test_the_slices_of_all_ranks_are_the_mini_batch(size: int, world_size: int, accumulation: int) -> None:
    rows = np.random.default_rng(1).permutation(1000)[:size]

    slices = [slice_rows(rows, world_size, accumulation, rank) for rank in range(world_size)]

    assert [len(of_rank) for of_rank in slices] == [accumulation] * world_size
    lengths = [len(part) for of_rank in slices for part in of_rank]
    assert max(lengths) - min(lengths) <= 1
    in_order = [part for step in zip(*slices, strict=True) for part in step]
    assert np.concatenate(in_order).tolist() == rows.tolist()


def test_a_mini_batch_smaller_than_the_ranks_leaves_slices_empty() -> None:
    slices = [slice_rows(np.array([4, 2]), 3, 1, rank)[0].tolist() for rank in range(3)]
    assert slices == [[4], [2], []]


def test_ranks_and_accumulation_make_the_same_slices() -> None:
    rows = np.arange(30)
    on_ranks = [slice_rows(rows, 4, 1, rank)[0].tolist() for rank in range(4)]
    accumulated = [part.tolist() for part in slice_rows(rows, 1, 4, 0)]
    assert on_ranks == accumulated


def table(**columns: list[Any]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


PAIRS = table(
    id=["a", "b", "c"],
    pieces=[[1, 11, 2, 12, 2], [1, 2, 13, 2], [1, 11, 12, 13, 2, 14, 2]],
    second=[3, 2, 5],
    score=[0.5, 4.0, 2.25],
)


def test_rows_lie_one_after_the_other_in_their_order() -> None:
    batch = collate(PAIRS, np.array([1, 0]), Kind.SIMILARITY)
    assert batch.input_ids.tolist() == [1, 2, 13, 2, 1, 11, 2, 12, 2]
    assert batch.token_type_ids.tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1]
    assert batch.layout.positions.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert batch.read.tolist() == [0, 4]
    assert batch.input_ids.dtype == batch.token_type_ids.dtype == batch.read.dtype == torch.int64
    assert batch.pieces == 9


def test_scores_are_float32_in_the_order_of_the_rows() -> None:
    labels = collate(PAIRS, np.array([2, 0]), Kind.SIMILARITY).labels
    assert labels is not None
    assert labels.dtype == torch.float32
    assert labels.tolist() == [2.25, 0.5]


@pytest.mark.parametrize("kind", [Kind.RELATION, Kind.INFERENCE])
def test_classes_are_int64_and_a_single_text_has_one_token_type(kind: Kind) -> None:
    rows = table(pieces=[[1, 11, 2], [1, 2]], second=[0, 0], label=[3, 1])
    batch = collate(rows, np.array([0, 1]), kind)
    assert batch.token_type_ids.tolist() == [0] * 5
    assert batch.labels is not None
    assert batch.labels.dtype == torch.int64
    assert batch.labels.tolist() == [3, 1]


TAGGED = table(
    pieces=[[1, 11, 12, 13, 2], [1, 14, 2], [1, 15, 16, 2]],
    second=[0, 0, 0],
    word_pieces=[[1, 3], [1], [1, 2]],
    word_labels=[[1, 2], [0], [0, 1]],
)


def test_tagging_reads_the_first_piece_of_each_word() -> None:
    batch = collate(TAGGED, np.array([1, 0, 2]), Kind.TAGGING)
    assert batch.labels is not None
    assert batch.input_ids[batch.read].tolist() == [14, 11, 13, 15, 16]
    assert batch.labels.tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (PAIRS.remove_columns("score"), Kind.SIMILARITY),
        (PAIRS.remove_columns("score"), Kind.INFERENCE),
        (TAGGED.remove_columns("word_labels"), Kind.TAGGING),
    ],
)
def test_a_sealed_split_has_no_labels(rows: datasets.Dataset, kind: Kind) -> None:
    assert collate(rows, np.array([0, 1]), kind).labels is None


def test_without_labels_changes_nothing_else() -> None:
    batch = collate(TAGGED, np.array([0]), Kind.TAGGING)
    sealed = batch.without_labels()
    assert sealed.labels is None
    assert sealed.input_ids is batch.input_ids
    assert sealed.read is batch.read


def test_a_batch_moves_as_a_whole() -> None:
    def tensors(batch: Batch) -> list[torch.Tensor | None]:
        return [batch.input_ids, batch.token_type_ids, batch.layout.cells, batch.read, batch.labels]

    moved = collate(TAGGED, np.array([0, 1]), Kind.TAGGING).to(torch.device("meta"))
    assert [tensor is not None and tensor.device.type for tensor in tensors(moved)] == ["meta"] * 5
    pairs = collate(PAIRS, np.array([0]), Kind.SIMILARITY).without_labels().to(torch.device("meta"))
    assert [tensor is None for tensor in tensors(pairs)] == [False, False, False, False, True]
