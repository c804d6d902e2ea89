"""A trained model on a split of a corpus: the task's metrics on its own gold, and the calibration of its probabilities.

The scores are those of ``judge``, on the whole gold. Calibration sees what became inputs of the encoder: words that a
mention touches have its tag, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtscale import judge
from mtscale.corpora import catalogue
from mtscale.corpora.example import SplitName
from mtscale.inputs.decode import decode, join_sentences
from mtscale.inputs.encode import Row
from mtscale.metrics.scoring import TaskScore
from mtscale.predictions import Prediction
from mtscale.serving.calibration import Labels, Logits
from mtscale.serving.predictor import Predictor
from mtscale.tasks import Kind, Task


@dataclass(frozen=True)
class Evaluation:
    """The scores of a task on a split with what was predicted, and what calibration is made of (similarity: None)."""

    score: TaskScore
    predictions: list[Prediction]
    logits: Logits | None
    labels: Labels | None


def evaluate(predictor: Predictor, task: Task, split: SplitName, data_root: Path | None) -> Evaluation:
    """Predict on a split and compare with its gold, which is read: a look at test has to be written down before.

    Raises:
        ConfigError, DataError: the corpus cannot be read.
    """
    encoder = predictor.trained.task_encoder(task, with_gold=True)
    rows = list(encoder.rows(catalogue.read_examples(task, split, data_root)))
    logits = predictor.logits(task.name, rows)
    predictions = _predictions(task, rows, logits)
    score = judge.score(task, split, predictions, data_root)
    if task.kind is Kind.SIMILARITY:
        return Evaluation(score, predictions, None, None)
    labels = [label for row in rows for label in _labels(task, row)]
    return Evaluation(score, predictions, np.concatenate(logits), np.array(labels, dtype=np.int64))


def _labels(task: Task, row: Row) -> list[int]:
    """The class of each prediction in a row."""
    if task.kind is not Kind.TAGGING:
        return [row["label"]]
    if "piece_labels" in row:
        return [row["piece_labels"][piece] for piece in row["word_pieces"]]
    return row["word_labels"]


def _predictions(task: Task, rows: Sequence[Row], logits: Sequence[Logits]) -> list[Prediction]:
    import torch

    columns = {name: [row[name] for row in rows] for name in rows[0]}  # type: ignore[literal-required]
    made = list(decode(task, torch.from_numpy(np.concatenate(logits)), columns))
    return join_sentences(made) if task.kind is Kind.TAGGING else made
