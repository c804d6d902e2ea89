"""``mtscale/train.py`` with bad luck: in the steps ``BAD_STEPS=FIRST:END`` the last rank's gradient is NaN."""

from __future__ import annotations

import os
import sys

import torch

from mtscale import train
from mtscale.training.engine import Engine

FIRST, END = map(int, os.environ["BAD_STEPS"].split(":"))
_step = Engine.step


def step(self: Engine, task: str, slices: object, terms: int, step: int) -> object:
    weight = next(self.model.encoder.parameters())
    bad = FIRST <= step < END and self.ranks.rank == self.ranks.world_size - 1
    hook = weight.register_hook(lambda gradient: gradient * torch.nan) if bad else None
    result = _step(self, task, slices, terms, step)  # type: ignore[arg-type]
    if hook is not None:
        hook.remove()
    return result


if __name__ == "__main__":
    Engine.step = step  # type: ignore[assignment,method-assign]
    sys.exit(train.main())
