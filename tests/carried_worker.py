"""One rank of the steps of ``equality_worker.py``, idle heads carried on as by the authors' code."""

from __future__ import annotations

import torch

from mtscale.procedure import CLEAN_PROCEDURE
from mtscale.training.distributed import Ranks
from tests.equality_worker import run, train


def both_stages(encoder: str, ranks: Ranks, device: torch.device) -> list[dict[str, object]]:
    """The records under ZeRO 0, then 1."""
    procedure = CLEAN_PROCEDURE.model_copy(update={"idle_heads": "zero_grad"})
    return [record for stage in (0, 1) for record in train(stage, encoder, ranks, device, procedure)]


if __name__ == "__main__":
    run(both_stages)
