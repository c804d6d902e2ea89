"""What a corpus is turned into: one annotated text with its document, its id and its character offsets.

All offsets are half-open ``[start, end)`` positions in the *document's* text, so that a prediction can be laid on
the original file whatever was cut or masked on the way to the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch of a document's text."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class PairExample:
    """Two texts with a score (similarity) or a class (inference)."""

    id: str
    document: str
    first: str
    second: str
    label: float | str


@dataclass(frozen=True, slots=True)
class RelationExample:
    """A sentence with two arguments and the relation between them.

    ``text`` is the sentence as the document has it and ``offset`` its start there; the arguments carry their
    entity type as label. ``labels`` holds one class, or several where the corpus gives a pair two relations.
    ``arguments`` is None where the format has replaced them in the text already (``@CHEMICAL$``) and kept no offsets.
    """

    id: str
    document: str
    text: str
    offset: int
    arguments: tuple[Span, Span] | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaggedExample:
    """A sentence with its mentions.

    ``words`` are the format's own word boundaries (document offsets), or None where the format has no words and
    the encoder's pre-tokenizer decides.
    """

    id: str
    document: str
    text: str
    offset: int
    spans: tuple[Span, ...]
    words: tuple[tuple[int, int], ...] | None = None


Example = PairExample | RelationExample | TaggedExample

GoldValue = float | str | tuple[str, ...] | frozenset[Span]


class GoldItem(NamedTuple):
    """One entry of the gold: a pair's score, class or relations by its id, a document's mentions by the document's."""

    document: str
    id: str
    value: GoldValue


SimilarityGold = Mapping[str, float]
InferenceGold = Mapping[str, str]
RelationGold = Mapping[str, tuple[str, ...]]
TaggingGold = Mapping[str, frozenset[Span]]
Gold = SimilarityGold | InferenceGold | RelationGold | TaggingGold
