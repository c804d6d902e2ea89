"""Dropout that draws its masks fast on a CPU, where torch takes one slow draw for each element."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

# A draw of 64 bits decides on four elements.
_BITS = 16


class Dropout(nn.Dropout):
    """``nn.Dropout`` by ``drop``."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return drop(input, self.p) if self.training else input


def drop(values: Tensor, p: float) -> Tensor:
    """Each element made zero with probability ``p``, the others divided by ``1 - p``.

    On a CPU ``p`` is rounded to a multiple of 2**-16, and a mask's own generator is seeded by torch's global one: it is
    faster, and the state that a checkpoint holds is torch's alone.
    """
    if p == 0.0:
        return values
    if values.device.type != "cpu" or p == 1.0:
        return functional.dropout(values, p)
    return cast(Tensor, _Drop.apply(values, round(p * 2**_BITS)))  # type: ignore[no-untyped-call]


def swap_dropout(module: nn.Module) -> None:
    """Put ``Dropout`` in the place of every ``nn.Dropout`` inside a module."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            swap_dropout(child)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, dropped: int) -> Tensor:
        generator = np.random.SFC64(int(torch.empty((), dtype=torch.int64).random_()))
        draws = torch.from_numpy(generator.random_raw(-(-values.numel() // (64 // _BITS))).view(np.int16))
        keep = draws[: values.numel()].view(values.shape) >= dropped - 2 ** (_BITS - 1)
        ctx.save_for_backward(keep)
        ctx.scale = 2**_BITS / (2**_BITS - dropped)
        dropped_values: Tensor = (values * ctx.scale).mul_(keep)
        return dropped_values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (gradients[0] * ctx.scale).mul_(keep), None
