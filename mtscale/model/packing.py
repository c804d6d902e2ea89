"""Rows of pieces laid one after the other, without padding, and attention over them.

A mini-batch of B rows with P pieces in all is *packed* as (P, ...); *padded* it is (B, L, ...) for the L pieces of its
longest row. Everything in an encoder but attention looks at a piece alone, so it is spared the padding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface

from mtscale.model.dropout import drop

PACKED_ATTENTION = "mtscale_packed"


@dataclass(frozen=True)
class Layout:
    """Where the pieces of ``rows`` rows lie: ``cells`` (P) holds the place of each piece in the flattened (B, L)."""

    rows: int
    longest: int
    cells: Tensor

    @classmethod
    def of(cls, lengths: NDArray[np.int64]) -> Layout:
        """The layout of rows of so many pieces."""
        longest = int(lengths.max())
        cells = np.flatnonzero(np.arange(longest) < lengths[:, None])
        return cls(len(lengths), longest, torch.from_numpy(cells))

    def to(self, device: torch.device) -> Layout:
        """The same layout on a device."""
        return replace(self, cells=self.cells.to(device, non_blocking=True))

    @property
    def is_full(self) -> bool:
        """Whether all rows are equally long, so that nothing is padded."""
        return len(self.cells) == self.rows * self.longest

    @property
    def positions(self) -> Tensor:
        """(P): the position of each piece in its row."""
        return self.cells % self.longest

    def row_of(self, places: Tensor) -> Tensor:
        """(N): the row that each of the pieces at ``places`` is in."""
        return self.cells[places] // self.longest

    @property
    def mask(self) -> Tensor:
        """(B, L): True at pieces, False at padding."""
        mask = torch.zeros(self.rows * self.longest, dtype=torch.bool, device=self.cells.device)
        mask[self.cells] = True
        return mask.view(self.rows, self.longest)

    def pad(self, packed: Tensor) -> Tensor:
        """(P, ...) to (B, L, ...), zero at padding."""
        if not self.is_full:
            size = self.rows * self.longest
            packed = cast(Tensor, _Pad.apply(packed, self.cells, size))  # type: ignore[no-untyped-call]
        return packed.view(self.rows, self.longest, *packed.shape[1:])

    def unpad(self, padded: Tensor) -> Tensor:
        """(B, L, ...) to (P, ...)."""
        flat = padded.reshape(self.rows * self.longest, *padded.shape[2:])
        return flat if self.is_full else pick(flat, self.cells)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention within each row: (1, heads, P, size) each to (1, P, heads, size).

    Its signature is that of transformers' attention interface.
    """
    query, key, value = (layout.pad(packed[0].transpose(0, 1)).transpose(1, 2) for packed in (query, key, value))
    if query.device.type == "cpu":
        # torch's fused attention has a slow backward pass on a CPU (docs/performance.md).
        # Autocast would have the softmax in float32 and turn its result back: it is summed in float32 anyway.
        with torch.autocast("cpu", enabled=False):
            scores = (query * scaling) @ key.transpose(2, 3)
            if not layout.is_full:
                scores += torch.where(layout.mask, 0.0, -torch.inf).to(scores.dtype)[:, None, None]
            context = drop(functional.softmax(scores, dim=-1), dropout) @ value
    else:
        mask = None if layout.is_full else layout.mask[:, None, None]
        context = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling
        )
    return layout.unpad(context.transpose(1, 2)).unsqueeze(0), None


AttentionInterface.register(PACKED_ATTENTION, attend)


def pick(values: Tensor, places: Tensor) -> Tensor:
    """(M, ...) to the (N, ...) at ``places``, of which none occurs twice: the backward pass need not add."""
    return cast(Tensor, _Pick.apply(values, places))  # type: ignore[no-untyped-call]


class _Pad(torch.autograd.Function):
    """Rows of a tensor put into zeros."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, cells: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(cells)
        return packed.new_zeros(size, *packed.shape[1:]).index_copy_(0, cells, packed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (cells,) = ctx.saved_tensors
        return gradients[0].index_select(0, cells), None, None


class _Pick(torch.autograd.Function):
    """The backward pass of ``_Pad`` as a forward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(values)
        return values.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        picked = gradients[0]
        return picked.new_zeros(ctx.size, *picked.shape[1:]).index_copy_(0, places, picked), None
