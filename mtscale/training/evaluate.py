"""Predictions of one task on one split, by example id, made on all ranks and gathered on rank 0.

Nothing here sees gold: predictions are laid beside the corpus' own gold in ``judge``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mtscale.inputs.batches import collate
from mtscale.inputs.cache import EncodedSplit
from mtscale.inputs.decode import decode, join_sentences
from mtscale.predictions import Prediction
from mtscale.tasks import Kind
from mtscale.training.distributed import Ranks, gather
from mtscale.training.engine import Engine


def predict(engine: Engine, split: EncodedSplit, batch_size: int, ranks: Ranks) -> list[Prediction]:
    """The predictions in the order of the corpus on rank 0; an empty list on the other ranks."""
    own = dict(_predict_rows(engine, split, batch_size, ranks))
    gathered = gather(own, ranks)
    if not ranks.is_main:
        return []
    by_row = {row: prediction for part in gathered for row, prediction in part.items()}
    in_order = [by_row[row] for row in range(len(split.rows))]
    return join_sentences(in_order) if split.task.kind is Kind.TAGGING else in_order


def _predict_rows(
    engine: Engine, split: EncodedSplit, batch_size: int, ranks: Ranks
) -> Iterator[tuple[int, Prediction]]:
    """Longest rows first, so that a shortage of memory shows at once; each rank takes every n-th batch."""
    order = np.argsort(-split.lengths, kind="stable")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    for rows in batches[ranks.rank :: ranks.world_size]:
        batch = collate(split.rows, rows, split.task.kind, labelled=False).to(engine.device)
        logits = engine.predict(split.task.name, batch).cpu()
        facts = split.rows[rows]
        yield from zip(rows.tolist(), decode(split.task, logits, facts), strict=True)
