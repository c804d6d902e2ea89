"""Examples in, predictions of every head that fits them out: in the order of the input, with bounded memory.

* A sentence to tag is read by all taggers, a marked sentence by the relation heads of its two entity types, a pair by
  all similarity and inference heads: each input goes through the encoder once, whatever the number of its heads.
* Inputs are read a window at a time. Within a window they go by length, in batches of equally many word pieces, and
  padding is not computed (``model.packing``).
* Sentences to tag are cut as in training: into sub-sentences of at most 30 words and of no more pieces than fit, whose
  tags are joined again before mentions are read off them (``inputs.encode``, ``inputs.decode``). The gold is not looked
  at, whatever the procedure of the model's training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtscale.corpora.example import Example, PairExample, RelationExample, TaggedExample
from mtscale.inputs.batches import collate_columns
from mtscale.inputs.decode import decode, join_sentences
from mtscale.inputs.encode import EncodingCounts, Row, TaskEncoder
from mtscale.predictions import Prediction
from mtscale.serving.trained import TrainedModel
from mtscale.tasks import Kind, Task

# Examples that are read before the first of them is answered: enough to find many of nearly the same length.
WINDOW = 1024
# Word pieces in a batch: more is no faster on a CPU, whose caches then overflow. That of a GPU is not timed.
CPU_BATCH_PIECES = 1024
GPU_BATCH_PIECES = 16384

Item = TypeVar("Item")
Outcome = dict[str, Prediction]
"""The predictions for one example by the names of the tasks."""


class Predictor:
    """Predicts with a trained model, or with some of its tasks; ``window`` examples and their answers are in memory."""

    def __init__(self, trained: TrainedModel, tasks: Sequence[Task] | None = None, *, window: int = WINDOW) -> None:
        self.trained = trained
        self.tasks = trained.tasks if tasks is None else tuple(tasks)
        self._window = window
        self._batch_pieces = CPU_BATCH_PIECES if trained.device.type == "cpu" else GPU_BATCH_PIECES
        self._encoders: dict[tuple[str, ...], TaskEncoder] = {}

    @property
    def counts(self) -> EncodingCounts:
        """What encoding has met and cut so far, over all inputs of the encoder."""
        return sum((encoder.counts for encoder in self._encoders.values()), EncodingCounts())

    def of_kind(self, *kinds: Kind) -> tuple[Task, ...]:
        """The tasks of these kinds."""
        return tuple(task for task in self.tasks if task.kind in kinds)

    def predict(self, examples: Iterable[Example]) -> Iterator[Outcome]:
        """The predictions for each example, in order; empty for one that no head fits. Labels are not looked at.

        Ids and documents of the predictions are those of the examples, offsets are the document's. A tagging
        prediction also has the probability of each word's tag.
        """
        for window in windows(examples, self._window):
            yield from self._predict_window(window)

    def heads_for(self, example: Example) -> tuple[tuple[str, ...], ...]:
        """The tasks that read an example, in groups that share an input of the encoder."""
        if isinstance(example, TaggedExample):
            fitting = self.of_kind(Kind.TAGGING)
        elif isinstance(example, PairExample):
            fitting = self.of_kind(Kind.SIMILARITY, Kind.INFERENCE)
        else:
            fitting = tuple(task for task in self.of_kind(Kind.RELATION) if _fits(task, example))
        by_marking: dict[str, list[str]] = defaultdict(list)
        for task in fitting:
            # Arguments that the input has masked already are read by all alike.
            marked = isinstance(example, RelationExample) and example.arguments is not None
            by_marking[task.marking if marked else ""].append(task.name)
        return tuple(map(tuple, by_marking.values()))

    def _predict_window(self, examples: Sequence[Example]) -> list[Outcome]:
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, example in enumerate(examples):
            for heads in self.heads_for(example):
                groups[heads].append(number)
        outcomes: list[Outcome] = [{} for _ in examples]
        for heads, numbers in groups.items():
            for task, found in self._predict_group(heads, examples, numbers).items():
                for number, prediction in found.items():
                    example = examples[number]
                    outcomes[number][task] = {**prediction, "id": example.id, "document": example.document}
        return outcomes

    def _predict_group(
        self, heads: tuple[str, ...], examples: Sequence[Example], numbers: Sequence[int]
    ) -> dict[str, dict[int, Prediction]]:
        """The predictions of tasks that share an input, by task and the example's number."""
        # Ids of a stream may repeat, numbers in the window do not.
        numbered = (replace(examples[number], id=str(number)) for number in numbers)
        rows = list(self._encoder(heads).rows(numbered))
        made: dict[str, dict[int, Prediction]] = {task: {} for task in heads}
        for batch in _batches(rows, self._batch_pieces):
            for task, predictions in self._predict_rows(heads, [rows[row] for row in batch]).items():
                made[task].update(zip(batch, predictions, strict=True))
        in_order = {task: [found[row] for row in range(len(rows))] for task, found in made.items()}
        if self._task(heads[0]).kind is Kind.TAGGING:
            return {task: _sentences(found, numbers) for task, found in in_order.items()}
        return {task: {int(one["id"]): one for one in found} for task, found in in_order.items()}

    def logits(self, task: str, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        """The logits of a head for encoded rows: (words, outputs) of a tagger, else (1, outputs), for each row."""
        made: dict[int, NDArray[np.float32]] = {}
        for batch in _batches(rows, self._batch_pieces):
            chosen = [rows[row] for row in batch]
            found = self._run((task,), _columns(chosen))[task].numpy()
            counts = [len(row["word_pieces"]) if "word_pieces" in row else 1 for row in chosen]
            made |= zip(batch, np.split(found, np.cumsum(counts)[:-1]), strict=True)
        return [made[row] for row in range(len(rows))]

    def _predict_rows(self, heads: tuple[str, ...], rows: Sequence[Row]) -> dict[str, list[Prediction]]:
        columns = _columns(rows)
        return {
            task: list(decode(self._task(task), found, columns)) for task, found in self._run(heads, columns).items()
        }

    @torch.inference_mode()
    def _run(self, heads: tuple[str, ...], columns: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """One pass of the encoder: the logits of heads that read the same places."""
        batch = collate_columns(columns, self._task(heads[0]).kind).to(self.trained.device)
        logits = self.trained.model.logits(heads, batch.input_ids, batch.token_type_ids, batch.layout, batch.read)
        return {task: found.float().cpu() for task, found in logits.items()}

    def _encoder(self, heads: tuple[str, ...]) -> TaskEncoder:
        if heads not in self._encoders:
            self._encoders[heads] = self.trained.task_encoder(self._task(heads[0]))
        return self._encoders[heads]

    def _task(self, name: str) -> Task:
        return self.trained.model.tasks[name]


def windows(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of at most ``size`` items, each drawn when it is asked for."""
    rest = iter(items)
    while window := list(islice(rest, size)):
        yield window


def _fits(task: Task, example: RelationExample) -> bool:
    """Whether a relation task is about the entity types of an example's arguments, as far as both say."""
    if example.arguments is None or task.arguments is None:
        return True
    found = [argument.label.casefold() for argument in example.arguments]
    return found == [type_.casefold() for type_ in task.arguments]


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """What a pass of the encoder needs of rows; labels are left behind."""
    names = [name for name in rows[0] if name not in ("label", "score", "word_labels", "piece_labels")]
    return {name: [row[name] for row in rows] for name in names}  # type: ignore[literal-required]


def _batches(rows: Sequence[Row], most: int) -> Iterator[list[int]]:
    """The numbers of rows, longest first: none of more than ``most`` pieces in all, unless it is a single row."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]["pieces"]), reverse=True)
    batch: list[int] = []
    pieces = 0
    for row in order:
        length = len(rows[row]["pieces"])
        if batch and pieces + length > most:
            yield batch
            batch, pieces = [], 0
        batch.append(row)
        pieces += length
    if batch:
        yield batch


def _sentences(parts: Sequence[Prediction], numbers: Sequence[int]) -> dict[int, Prediction]:
    """The sub-sentences put together, by the number of their example; one without a word has no mention."""
    by_word: dict[int, list[float]] = {number: [] for number in numbers}
    for part in parts:
        by_word[int(part["id"].rpartition("#")[0])] += part["probabilities"]
    joined = {int(sentence["id"]): sentence for sentence in join_sentences(parts)}
    empty = Prediction(words=[], tags=[], spans=[], probabilities=[])
    return {
        number: {**joined.get(number, empty), "word_probabilities": np.round(by_word[number], 6).tolist()}
        for number in numbers
    }
