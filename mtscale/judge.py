"""Scores and floors of a task: predictions by example id against the gold that the corpus itself holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from mtscale.corpora import catalogue
from mtscale.corpora.example import (
    Gold,
    GoldValue,
    InferenceGold,
    PairExample,
    RelationGold,
    SimilarityGold,
    Span,
    SplitName,
    TaggedExample,
    TaggingGold,
)
from mtscale.corpora.tags import tag_words
from mtscale.errors import DataError
from mtscale.metrics import floors, scoring
from mtscale.metrics.scoring import TaskScore
from mtscale.metrics.spans import Mention
from mtscale.predictions import Prediction, load
from mtscale.tasks import Kind, Task


def score(task: Task, split: SplitName, predictions: Sequence[Prediction], data_root: Path | None) -> TaskScore:
    """The task's metrics on a split. What was lost on the way to the model counts as missed.

    Raises:
        DataError: the gold cannot be read.
        ValueError: as ``score_against``.
    """
    return score_against(task, catalogue.read_gold(task, split, data_root), predictions)


def score_against(task: Task, gold: Gold, predictions: Sequence[Prediction]) -> TaskScore:
    """The task's metrics on a gold. For tagging the CoNLL reading is there when every prediction carries tags.

    Raises:
        DataError: the gold is empty or holds what the task does not declare.
        ValueError: the predictions do not belong to the gold.
    """
    if task.kind is Kind.SIMILARITY:
        scores = {prediction["id"]: prediction["score"] for prediction in predictions}
        return scoring.score_similarity(task, cast(SimilarityGold, gold), scores)
    if task.kind is Kind.TAGGING:
        return _score_tagging(task, cast(TaggingGold, gold), predictions)
    labels = {prediction["id"]: prediction["label"] for prediction in predictions}
    if task.kind is Kind.RELATION:
        return scoring.score_relation(task, cast(RelationGold, gold), labels)
    return scoring.score_inference(task, cast(InferenceGold, gold), labels)


def score_files(task: Task, split: SplitName, files: Sequence[Path], data_root: Path | None) -> TaskScore:
    """The metrics of stored predictions. The files of a task with folds, one a fold, are scored as one test set.

    Raises:
        DataError: gold or predictions cannot be read, or do not belong together.
    """
    folds = range(task.folds) if task.folds and len(files) == task.folds else [task.fold]
    gold: dict[str, GoldValue] = {}
    for fold in folds:
        gold.update(catalogue.read_gold(replace(task, fold=fold), split, data_root))
    predictions = [prediction for file in files for prediction in load(file, task)]
    try:
        return score_against(task, cast(Gold, gold), predictions)
    except ValueError as error:
        raise DataError(f"{', '.join(map(str, files))}: {error} (task {task.name}, {split})") from None


def _score_tagging(task: Task, gold: TaggingGold, predictions: Sequence[Prediction]) -> TaskScore:
    predicted = mentions_by_document(predictions)
    if not has_tags(predictions):
        return scoring.score_tagging(task, gold, predicted)
    tags = [sentence["tags"] for sentence in predictions]
    return scoring.score_tagging(task, gold, predicted, gold_tags(gold, predictions), tags)


def mentions_by_document(predictions: Sequence[Prediction]) -> dict[str, set[Mention]]:
    """The predicted mentions of each document that has a prediction."""
    predicted: dict[str, set[Mention]] = defaultdict(set)
    for sentence in predictions:
        predicted[sentence["document"]].update(Mention(*span) for span in sentence["spans"])
    return predicted


def has_tags(predictions: Sequence[Prediction]) -> bool:
    """Whether predictions have the CoNLL reading."""
    return bool(predictions) and all("tags" in sentence for sentence in predictions)


def gold_tags(gold: TaggingGold, predictions: Sequence[Prediction]) -> list[list[str]]:
    """The tags that the gold gives the words of each predicted sentence."""
    found = []
    for sentence in predictions:
        words = sentence["words"]
        mentions = gold.get(sentence["document"], frozenset())
        found.append(tag_words(words, [span for span in mentions if words and _touches(span, words)]))
    return found


def _touches(span: Span, words: Sequence[tuple[int, int]]) -> bool:
    return span.start < words[-1][1] and words[0][0] < span.end


def floor(task: Task, split: SplitName, data_root: Path | None) -> dict[str, float]:
    """``floor``: what a constant (tagging: a dictionary) learnt from the training data reaches on a split.

    For similarity also ``token_overlap_pearson``, a floor for a model that reads.
    """
    gold = catalogue.read_gold(task, split, data_root)
    if task.kind is Kind.TAGGING:
        dictionary = floors.MentionDictionary(_sentences(task, "train", data_root), _mentions(task, "train", data_root))
        value = floors.tagging_floor(task, dictionary, _sentences(task, split, data_root), cast(TaggingGold, gold))
        return {"floor": value}
    if task.kind is Kind.SIMILARITY:
        scores = cast(SimilarityGold, gold)
        pairs = [
            (example.first, example.second)
            for example in catalogue.read_examples(task, split, data_root)
            if isinstance(example, PairExample)
        ]
        overlap = floors.token_overlap_pearson(pairs, list(scores.values()))
        return {"floor": floors.SIMILARITY_FLOOR, "token_overlap_pearson": overlap}
    # One at a time: the training gold may be larger than memory.
    train = (item.value for item in catalogue.iterate_gold(task, "train", data_root))
    if task.kind is Kind.RELATION:
        value = floors.relation_floor(task, cast(Iterator[tuple[str, ...]], train), cast(RelationGold, gold))
    else:
        value = floors.inference_floor(task, cast(Iterator[str], train), cast(InferenceGold, gold))
    return {"floor": value}


def _tagged(task: Task, split: SplitName, data_root: Path | None) -> Iterator[TaggedExample]:
    for example in catalogue.read_examples(task, split, data_root):
        assert isinstance(example, TaggedExample)
        yield example


def _sentences(task: Task, split: SplitName, data_root: Path | None) -> Iterator[floors.Sentence]:
    for example in _tagged(task, split, data_root):
        yield floors.Sentence(example.document, example.offset, example.text)


def _mentions(task: Task, split: SplitName, data_root: Path | None) -> Iterator[tuple[str, str]]:
    for example in _tagged(task, split, data_root):
        for span in example.spans:
            yield example.text[span.start - example.offset : span.end - example.offset], span.label
