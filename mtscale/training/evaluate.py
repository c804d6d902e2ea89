"""Predictions of one task on one split, by example id, made on all ranks and gathered on rank 0.

Nothing here sees gold: predictions are laid beside the corpus' own gold in ``judge``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtscale.corpora.tags import iob2_classes
from mtscale.inputs.batches import collate
from mtscale.inputs.cache import EncodedSplit
from mtscale.metrics.spans import PIECE_CLASSES, decode_iob2
from mtscale.predictions import Prediction
from mtscale.tasks import Kind, Task
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
    return _join_sentences(in_order) if split.task.kind is Kind.TAGGING else in_order


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
        yield from zip(rows.tolist(), _decode(split.task, logits, facts), strict=True)


def _decode(task: Task, logits: torch.Tensor, facts: dict[str, list[Any]]) -> Iterator[Prediction]:
    if task.kind is Kind.SIMILARITY:
        for row, score in enumerate(logits.squeeze(-1).tolist()):
            yield Prediction(id=facts["id"][row], document=facts["document"][row], score=score)
        return
    probabilities: NDArray[np.float32] = torch.softmax(logits, dim=-1).numpy()
    chosen = probabilities.argmax(axis=-1)
    if task.kind is not Kind.TAGGING:
        for row, label in enumerate(chosen):
            yield Prediction(
                id=facts["id"][row],
                document=facts["document"][row],
                label=task.labels[label],
                probabilities=[round(float(value), 6) for value in probabilities[row]],
            )
        return
    classes = [*iob2_classes(task.labels), *PIECE_CLASSES]
    best = probabilities.max(axis=-1)
    first = 0
    for row, starts in enumerate(facts["starts"]):
        last = first + len(starts)
        yield Prediction(
            id=facts["id"][row],
            document=facts["document"][row],
            words=list(zip(starts, facts["ends"][row], strict=True)),
            tags=[classes[label] for label in chosen[first:last]],
            probabilities=best[first:last].tolist(),
        )
        first = last


def _join_sentences(parts: Iterable[Prediction]) -> list[Prediction]:
    """Put the sub-sentences of each sentence together again, then read the mentions off the whole tag sequence."""
    sentences: dict[str, Prediction] = {}
    for part in parts:
        sentence_id = part["id"].rpartition("#")[0]
        sentence = sentences.setdefault(
            sentence_id,
            Prediction(id=sentence_id, document=part["document"], words=[], tags=[], probabilities=[]),
        )
        sentence["words"] += part["words"]
        sentence["tags"] += part["tags"]
        sentence["probabilities"] += part["probabilities"]
    for sentence in sentences.values():
        words, by_word = sentence["words"], sentence["probabilities"]
        mentions = decode_iob2(sentence["tags"])
        sentence["spans"] = [
            (words[mention.start][0], words[mention.end - 1][1], mention.label) for mention in mentions
        ]
        sentence["probabilities"] = [
            round(float(np.mean(by_word[mention.start : mention.end])), 6) for mention in mentions
        ]
    return list(sentences.values())
