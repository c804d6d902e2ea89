"""Rows of the cache to tensors: a global mini-batch cut into slices, each padded to its longest row.

Shapes: B rows of a slice, L pieces of its longest row, W words of all its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor

from mtscale.inputs.schedule import Rows
from mtscale.tasks import Kind


@dataclass(frozen=True)
class Batch:
    """Rows of one task as tensors.

    ``word_pieces`` (tagging) holds W flat positions into the B x L pieces. ``labels``: B scores (float32), B classes,
    or W classes (int64); None for a sealed split. ``pieces`` counts real pieces, without padding.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    word_pieces: Tensor | None
    labels: Tensor | None
    pieces: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            self.input_ids.to(device, non_blocking=True),
            self.attention_mask.to(device, non_blocking=True),
            self.token_type_ids.to(device, non_blocking=True),
            move(self.word_pieces),
            move(self.labels),
            self.pieces,
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


def collate(dataset: datasets.Dataset, rows: Rows, kind: Kind, pad_id: int) -> Batch:
    """The rows as one padded batch, labels included where the split has them. ``rows`` must not be empty."""
    columns = dataset[rows]
    pieces: list[list[int]] = columns["pieces"]
    lengths = np.array([len(row) for row in pieces])
    longest = int(lengths.max())
    input_ids = np.full((len(pieces), longest), pad_id, dtype=np.int64)
    mask = np.arange(longest) < lengths[:, None]
    input_ids[mask] = np.concatenate(pieces)
    second = np.array(columns["second"])[:, None]
    positions = np.arange(longest)[None, :]
    token_types = ((second > 0) & (positions >= second) & mask).astype(np.int64)
    word_pieces = None
    if kind is Kind.TAGGING:
        flat = [np.asarray(words, dtype=np.int64) + row * longest for row, words in enumerate(columns["word_pieces"])]
        word_pieces = torch.from_numpy(np.concatenate(flat))
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        attention_mask=torch.from_numpy(mask),
        token_type_ids=torch.from_numpy(token_types),
        word_pieces=word_pieces,
        labels=_labels(columns, kind),
        pieces=int(lengths.sum()),
    )


def _labels(columns: Mapping[str, Any], kind: Kind) -> Tensor | None:
    name = {Kind.SIMILARITY: "score", Kind.TAGGING: "word_labels"}.get(kind, "label")
    if name not in columns:
        return None
    if kind is Kind.SIMILARITY:
        return torch.tensor(columns[name], dtype=torch.float32)
    values = np.concatenate(columns[name]) if kind is Kind.TAGGING else np.asarray(columns[name])
    return torch.from_numpy(values.astype(np.int64))
