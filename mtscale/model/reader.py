"""The last hidden states of an encoder at the pieces that a head reads, and no more work than these need.

An encoder that agrees with itself on it is run *packed*: on real pieces only, and its last layer beyond attention at
the read pieces only. Any other encoder is run on padded rows.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mtscale.model.dropout import swap_dropout
from mtscale.model.packing import PACKED_ATTENTION, Layout, pick

logger = logging.getLogger(__name__)

# float32, one pass of an encoder: sums in another order. A wrong position or a piece of another row gives far more.
TOLERANCE = 1e-3


class PieceReader:
    """Runs an encoder on packed rows of pieces."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        self._encoder = encoder
        swap_dropout(encoder)
        self._own_attention = encoder.config._attn_implementation
        self._last_output = _output_of_last_attention(encoder)
        self.is_packed = self._agrees_when_packed()
        if not self.is_packed:
            logger.info("%s cannot be run without padding: its batches are padded", type(encoder).__name__)

    def __call__(self, input_ids: Tensor, token_type_ids: Tensor, layout: Layout, read: Tensor) -> Tensor:
        """(P), (P) and N places among the P pieces -> (N, hidden size)."""
        run = self._packed if self.is_packed else self._padded
        return run(input_ids, token_type_ids, layout, read)

    def _packed(self, input_ids: Tensor, token_type_ids: Tensor, layout: Layout, read: Tensor) -> Tensor:
        arguments = {
            "input_ids": input_ids[None],
            "position_ids": layout.positions[None] + _first_position(self._encoder),
            "layout": layout,
        }
        if self._last_output is None:
            return pick(self._run(arguments, token_type_ids[None])[0], read)
        with _only(self._last_output, read):
            return self._run(arguments, token_type_ids[None])[0]

    def _padded(self, input_ids: Tensor, token_type_ids: Tensor, layout: Layout, read: Tensor) -> Tensor:
        mask = layout.mask
        padding = getattr(self._encoder.config, "pad_token_id", None) or 0
        padded = layout.pad(input_ids).masked_fill(~mask, padding)
        hidden = self._run({"input_ids": padded, "attention_mask": mask}, layout.pad(token_type_ids))
        return pick(hidden.flatten(0, 1), layout.cells[read])

    def _run(self, arguments: dict[str, Any], token_type_ids: Tensor) -> Tensor:
        if getattr(self._encoder.config, "type_vocab_size", 0) > 1:
            arguments["token_type_ids"] = token_type_ids
        hidden: Tensor = self._encoder(**arguments).last_hidden_state
        return hidden

    @torch.no_grad()
    def _agrees_when_packed(self) -> bool:
        """Try both ways on two short rows. Leaves the encoder set for the way that it will be run."""
        encoder = self._encoder
        training = encoder.training
        encoder.train(False)
        layout = Layout.of(np.array([5, 3]))
        vocabulary = encoder.config.vocab_size
        ids = torch.tensor([piece for piece in range(vocabulary) if piece != encoder.config.pad_token_id][:8])
        probe = ids, torch.tensor([0, 0, 0, 1, 1, 0, 0, 1]), layout, torch.tensor([0, 4, 5])
        padded = self._padded(*probe)
        try:
            encoder.set_attn_implementation(PACKED_ATTENTION)
            packed = self._packed(*probe)
            agrees = packed.shape == padded.shape and bool((packed - padded).abs().max() < TOLERANCE)
        except Exception:  # whatever an architecture that does not know the attention interface makes of it
            agrees = False
        if not agrees:
            encoder.set_attn_implementation(self._own_attention)
        encoder.train(training)
        return agrees


def _output_of_last_attention(encoder: PreTrainedModel) -> nn.Module | None:
    """What follows attention in the last layer, where the architecture is built like BERT."""
    layers = getattr(getattr(encoder, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList):
        return None
    output = getattr(getattr(layers[-1], "attention", None), "output", None)
    return output if isinstance(output, nn.Module) else None


def _first_position(encoder: PreTrainedModel) -> int:
    """The index of a row's first position: RoBERTa and its kin count from behind the padding index."""
    positions = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    padding = getattr(positions, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


@contextlib.contextmanager
def _only(module: nn.Module, read: Tensor) -> Iterator[None]:
    """Within, a module over (1, P, size) sees the read pieces only."""

    def pick_read(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(pick(tensor[0], read)[None] for tensor in inputs)

    handle = module.register_forward_pre_hook(pick_read)
    try:
        yield
    finally:
        handle.remove()
