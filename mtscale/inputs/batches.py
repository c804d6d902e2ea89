"""Rows of the cache to tensors: a global mini-batch cut into slices, the pieces of each laid one after the other.

Shapes: B rows of a slice, P pieces of all its rows, N places that its head reads: rows, or for tagging words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mtscale.inputs.schedule import Rows
from mtscale.model.packing import Layout
from mtscale.tasks import Kind

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Batch:
    """Rows of one task as tensors.

    ``input_ids`` and ``token_type_ids`` (P). ``read`` (N): which of the P pieces the head reads: [CLS] of each row, the
    first piece of each word, or all where all are labelled. ``labels``: N scores (float32) or classes (int64), or
    None.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    layout: Layout
    read: Tensor
    labels: Tensor | None

    @property
    def pieces(self) -> int:
        """P."""
        return len(self.input_ids)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            self.input_ids.to(device, non_blocking=True),
            self.token_type_ids.to(device, non_blocking=True),
            self.layout.to(device),
            self.read.to(device, non_blocking=True),
            None if self.labels is None else self.labels.to(device, non_blocking=True),
        )

    def without_labels(self) -> Batch:
        """The same batch as of a sealed split."""
        return replace(self, labels=None)


def slice_rows(rows: Rows, world_size: int, accumulation: int, rank: int) -> list[Rows]:
    """A rank's slices of a global mini-batch, one for each accumulation step; a slice may be empty.

    Every rank has the same number of slices, and the slices of all ranks together are the mini-batch.
    """
    slices = np.array_split(rows, world_size * accumulation)
    return [slices[step * world_size + rank] for step in range(accumulation)]


def collate(dataset: datasets.Dataset, rows: Rows, kind: Kind, *, labelled: bool = True) -> Batch:
    """The rows as one batch, with labels if they are wanted and the split has them. ``rows`` must not be empty."""
    return collate_columns(dataset[rows], kind, labelled=labelled)


def collate_columns(columns: Mapping[str, Any], kind: Kind, *, labelled: bool = True) -> Batch:
    """Rows as one batch, given by the columns of ``encode.Row`` with a value for each."""
    labels = _labels(columns, kind) if labelled else None
    pieces: list[list[int]] = columns["pieces"]
    lengths = np.array([len(row) for row in pieces])
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    layout = Layout.of(lengths)
    second = np.repeat(columns["second"], lengths)
    token_types = (second > 0) & (layout.positions.numpy() >= second)
    read = starts
    if kind is Kind.TAGGING and labels is not None and "piece_labels" in columns:
        read = np.arange(lengths.sum())
    elif kind is Kind.TAGGING:
        of_rows = zip(columns["word_pieces"], starts, strict=True)
        read = np.concatenate([np.asarray(words, dtype=np.int64) + start for words, start in of_rows])
    return Batch(
        input_ids=torch.from_numpy(np.concatenate(pieces).astype(np.int64)),
        token_type_ids=torch.from_numpy(token_types.astype(np.int64)),
        layout=layout,
        read=torch.from_numpy(read),
        labels=labels,
    )


def _labels(columns: Mapping[str, Any], kind: Kind) -> Tensor | None:
    of_tags = "piece_labels" if "piece_labels" in columns else "word_labels"
    name = {Kind.SIMILARITY: "score", Kind.TAGGING: of_tags}.get(kind, "label")
    if name not in columns:
        return None
    if kind is Kind.SIMILARITY:
        return torch.tensor(columns[name], dtype=torch.float32)
    values = np.concatenate(columns[name]) if kind is Kind.TAGGING else np.asarray(columns[name])
    return torch.from_numpy(values.astype(np.int64))
