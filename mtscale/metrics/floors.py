"""Floors: what a constant or a dictionary reaches on a task, printed beside every score.

A constant is chosen on the training gold and scored on the split, through the same door as any prediction.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from mtscale import names
from mtscale.metrics.regression import pearson
from mtscale.metrics.scoring import score_inference, score_relation
from mtscale.metrics.spans import Mention, SpanLike, strict_f1
from mtscale.tasks import Task

# A constant has no linear association with the gold.
SIMILARITY_FLOOR = 0.0

_WORD = re.compile(r"\w+")
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]")


def inference_floor(task: Task, train: Iterable[str], gold: Mapping[str, str]) -> float:
    """Accuracy of the most frequent of the training classes; of equally frequent ones, the first in the task's order.

    Raises:
        DataError: the gold is empty or holds a label the task does not declare.
    """
    constant = _most_frequent(task.labels, train)
    return score_inference(task, gold, dict.fromkeys(gold, constant)).values[names.SCORE]


def relation_floor(task: Task, train: Iterable[tuple[str, ...]], gold: Mapping[str, tuple[str, ...]]) -> float:
    """Micro F1 of calling every pair the one positive class that does best on the classes of the training pairs.

    Raises:
        ConfigError: the task does not name its negative class, or has no other.
        DataError: the gold is empty or holds a label the task does not declare.
    """
    # With every pair called c, F1 = 2 * (pairs of class c) / (pairs + gold relations): the most frequent class is best.
    constant = _most_frequent(task.positives, (label for labels in train for label in set(labels)))
    return score_relation(task, gold, dict.fromkeys(gold, constant)).values[names.SCORE]


def token_overlap_pearson(pairs: Iterable[tuple[str, str]], gold: Sequence[float]) -> float:
    """Pearson's r of the gold scores with the word overlap of the two texts: a floor for similarity that reads.

    The overlap is Jaccard's: shared words over all words, lower-cased, each counted once; 0 where there are none.

    Raises:
        DataError: fewer than two gold scores, or constant or non-finite ones.
        ValueError: not as many pairs as gold scores.
    """
    return pearson(gold, [_overlap(first, second) for first, second in pairs])


class Sentence(NamedTuple):
    """A sentence as its document has it, and where it starts there."""

    document: str
    offset: int
    text: str


class MentionDictionary:
    """The mentions of a training text, to be found again as strings in another.

    A string is kept, with its most frequent label, if it is a mention with that label at least half of the times it
    occurs in the training text. Strings are lower-cased and occur only between word boundaries: not next to a letter,
    digit or underscore of a longer word.
    """

    def __init__(self, sentences: Iterable[Sentence], mentions: Iterable[tuple[str, str]]):
        """Learn from all training sentences, and the (text, label) of each mention in them."""
        annotated: dict[str, Counter[str]] = defaultdict(Counter)
        for text, label in mentions:
            annotated[_lower(text)][label] += 1
        index = _StringIndex(annotated)
        occurrences = Counter(
            match.string for sentence in sentences for matches in index.matches(sentence.text) for match in matches
        )
        self._labels: dict[str, str] = {}
        for string, counts in annotated.items():
            # Of equally frequent labels the first by name: the order of the corpus must not matter.
            label = min(counts, key=lambda label: (-counts[label], label))
            if 2 * counts[label] >= occurrences[string]:
                self._labels[string] = label
        self._index = _StringIndex(self._labels)

    def find(self, sentences: Iterable[Sentence]) -> dict[str, frozenset[Mention]]:
        """The mentions of each document, in document offsets.

        Each sentence is read left to right; at each place the longest string wins, and mentions do not overlap.
        """
        found: dict[str, set[Mention]] = defaultdict(set)
        for document, offset, text in sentences:
            free = 0
            for matches in self._index.matches(text):
                start, end, string = matches[0]
                if start >= free:
                    found[document].add(Mention(offset + start, offset + end, self._labels[string]))
                    free = end
        return {document: frozenset(mentions) for document, mentions in found.items()}


class _Match(NamedTuple):
    start: int
    end: int
    string: str


class _StringIndex:
    """Lower-cased strings by first word and length, so that the work on a text does not grow with their number."""

    def __init__(self, strings: Collection[str]):
        self._strings = frozenset(strings)
        lengths: dict[str, set[int]] = defaultdict(set)
        for string in strings:
            if first := _WORD_OR_SIGN.match(string):
                lengths[first.group()].add(len(string))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def matches(self, text: str) -> Iterator[list[_Match]]:
        """For each word where strings begin, left to right, all of them, the longest first."""
        text = _lower(text)
        words = list(_WORD_OR_SIGN.finditer(text))
        ends = {word.end() for word in words}
        for word in words:
            start = word.start()
            at_word = (
                _Match(start, start + length, text[start : start + length])
                for length in self._lengths.get(word.group(), ())
            )
            if found := [match for match in at_word if match.end in ends and match.string in self._strings]:
                yield found


def tagging_floor(
    task: Task, dictionary: MentionDictionary, sentences: Iterable[Sentence], gold: Mapping[str, AbstractSet[SpanLike]]
) -> float:
    """Strict F1 of the training mentions found again as strings in the sentences of the split.

    Raises:
        DataError: the gold has no document or holds a label the task does not declare.
        ValueError: a sentence with a mention belongs to no document of the gold.
    """
    return strict_f1(gold, dictionary.find(sentences), task.labels).micro.f1


def _most_frequent(labels: Sequence[str], found: Iterable[str]) -> str:
    counts = Counter(found)
    return max(labels, key=lambda label: counts[label])


def _overlap(first: str, second: str) -> float:
    one, other = set(_WORD.findall(first.lower())), set(_WORD.findall(second.lower()))
    return len(one & other) / len(one | other) if one | other else 0.0


def _lower(text: str) -> str:
    """Lower-case without moving an offset: U+0130 is the one character whose lower case is longer than itself."""
    return text.replace("\u0130", "i").lower()
