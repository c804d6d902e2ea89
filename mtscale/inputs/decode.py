"""Logits to predictions: scores, classes with their probabilities, and the mentions that sentences' tags spell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtscale.corpora.tags import iob2_classes
from mtscale.metrics.spans import PIECE_CLASSES, decode_iob2
from mtscale.predictions import Prediction
from mtscale.tasks import Kind, Task


def decode(task: Task, logits: Tensor, facts: Mapping[str, Sequence[Any]]) -> Iterator[Prediction]:
    """The prediction of each row, given the logits of a batch of them and their columns (see ``encode.Row``).

    For tagging, of a sub-sentence, with the probability of each word's tag; ``join_sentences`` makes mentions of them.
    """
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


def join_sentences(parts: Iterable[Prediction]) -> list[Prediction]:
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
