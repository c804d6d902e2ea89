"""Scores and floors of a task: predictions by example id against the gold that the corpus itself holds."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from mtscale.corpora import catalogue
from mtscale.corpora.example import (
    InferenceGold,
    PairExample,
    RelationGold,
    SimilarityGold,
    Span,
    SplitName,
    TaggedExample,
    TaggingGold,
)
from mtscale.inputs.encode import tag_words
from mtscale.metrics import floors, scoring
from mtscale.metrics.scoring import TaskScore
from mtscale.metrics.spans import Mention
from mtscale.tasks import Kind, Task
from mtscale.training.evaluate import Prediction

TEST_LOOKS = "test_looks.jsonl"


def score(task: Task, split: SplitName, predictions: Sequence[Prediction], data_root: Path | None) -> TaskScore:
    """The task's metrics on a split. What was lost on the way to the model counts as missed.

    Raises:
        DataError: the gold cannot be read.
    """
    gold = catalogue.read_gold(task, split, data_root)
    if task.kind is Kind.SIMILARITY:
        scores = {prediction["id"]: prediction["score"] for prediction in predictions}
        return scoring.score_similarity(task, cast(SimilarityGold, gold), scores)
    if task.kind is Kind.TAGGING:
        return _score_tagging(task, cast(TaggingGold, gold), predictions)
    labels = {prediction["id"]: prediction["label"] for prediction in predictions}
    if task.kind is Kind.RELATION:
        return scoring.score_relation(task, cast(RelationGold, gold), labels)
    return scoring.score_inference(task, cast(InferenceGold, gold), labels)


def _score_tagging(task: Task, gold: TaggingGold, predictions: Sequence[Prediction]) -> TaskScore:
    predicted: dict[str, set[Mention]] = defaultdict(set)
    gold_tags = []
    for sentence in predictions:
        predicted[sentence["document"]].update(Mention(*span) for span in sentence["spans"])
        words = sentence["words"]
        inside = [span for span in gold[sentence["document"]] if words and _touches(span, words)]
        gold_tags.append(tag_words(words, inside))
    return scoring.score_tagging(task, gold, predicted, gold_tags, [sentence["tags"] for sentence in predictions])


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
    train = catalogue.read_gold(task, "train", data_root)
    if task.kind is Kind.RELATION:
        return {"floor": floors.relation_floor(task, cast(RelationGold, train), cast(RelationGold, gold))}
    return {"floor": floors.inference_floor(task, cast(InferenceGold, train), cast(InferenceGold, gold))}


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


def record_test_look(runs: Path, run: str, task: str, gold_hash: str, protocol: str) -> None:
    """Write down, before the gold is opened, that a run looks at a test set (``test_looks.jsonl`` beside the runs)."""
    look: Mapping[str, object] = {
        "time": round(time.time(), 3),
        "run": run,
        "task": task,
        "gold_hash": gold_hash,
        "protocol": protocol,
    }
    with open(runs / TEST_LOOKS, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(look) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def count_test_looks(runs: Path) -> dict[str, int]:
    """How often each task's test set was looked at from this runs folder."""
    counts: dict[str, int] = defaultdict(int)
    try:
        lines = (runs / TEST_LOOKS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        counts[json.loads(line)["task"]] += 1
    return dict(counts)
