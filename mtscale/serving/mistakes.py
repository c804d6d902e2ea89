"""What a model got wrong, in context and grouped by kind: for the one person at the terminal who may read the text.

tagging                boundary   the right type in another stretch that overlaps
                       type       the right stretch with another type
                       both       a stretch that overlaps, with another type
                       missed     a mention of the gold that nothing overlaps
                       spurious   a prediction that overlaps nothing
relation, inference    each pair of classes, gold -> predicted
similarity             the pairs with the largest differences
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mtscale.corpora import catalogue
from mtscale.corpora.example import (
    Gold,
    PairExample,
    RelationExample,
    Span,
    SplitName,
    TaggedExample,
    TaggingGold,
)
from mtscale.predictions import Prediction
from mtscale.serving.shown import visible
from mtscale.tasks import Kind, Task

LARGEST = "largest differences"
_BRACKETS = (("[", "]"), ("{", "}"))


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong prediction or a lost one: its group, the example's or document's id, and the stretches to mark."""

    group: str
    id: str
    gold: str = ""
    predicted: str = ""
    marks: tuple[Span, ...] = ()
    size: float = 0.0


def find_mistakes(task: Task, gold: Gold, predictions: Sequence[Prediction]) -> list[Mistake]:
    """Every mistake, those of a document in text order."""
    if task.kind is Kind.TAGGING:
        return list(_tagging(cast(TaggingGold, gold), predictions))
    if task.kind is Kind.SIMILARITY:
        scores = cast(Mapping[str, float], gold)
        found = (_difference(one["id"], scores[one["id"]], one["score"]) for one in predictions)
        return sorted(found, key=lambda one: -one.size)
    answers = {one["id"]: one["label"] for one in predictions}
    return list(_classes(task, gold, answers))


def _difference(id_: str, gold: float, predicted: float) -> Mistake:
    return Mistake(LARGEST, id_, f"{gold:.2f}", f"{predicted:.2f}", size=abs(gold - predicted))


def _classes(task: Task, gold: Gold, answers: Mapping[str, str]) -> Iterator[Mistake]:
    for id_, value in gold.items():
        expected = value if isinstance(value, tuple) else (str(value),)
        answer = answers.get(id_, task.negative or "nothing")
        if answer not in expected:
            yield Mistake(f"{' and '.join(expected)} -> {answer}", id_, " and ".join(expected), answer)


def _tagging(gold: TaggingGold, predictions: Sequence[Prediction]) -> Iterator[Mistake]:
    found: dict[str, set[Span]] = defaultdict(set)
    for one in predictions:
        found[one["document"]].update(Span(*span) for span in one["spans"])
    for document, expected in gold.items():
        wrong, lost = sorted(found[document] - expected), sorted(expected - found[document])
        touched: set[Span] = set()
        for span in wrong:
            near = [other for other in lost if other.start < span.end and span.start < other.end]
            touched.update(near)
            yield _mention_mistake(document, span, near)
        for span in lost:
            if span not in touched:
                yield Mistake("missed", document, span.label, "", (span,))


def _mention_mistake(document: str, span: Span, near: Sequence[Span]) -> Mistake:
    if not near:
        return Mistake("spurious", document, "", span.label, (span,))
    # Of several the one that tells most: the same stretch, then the same type.
    other = min(near, key=lambda one: ((one.start, one.end) != (span.start, span.end), one.label != span.label))
    same_place, same_type = (other.start, other.end) == (span.start, span.end), other.label == span.label
    group = "type" if same_place else "boundary" if same_type else "both"
    return Mistake(group, document, other.label, span.label, (other, span))


def contexts(
    task: Task, split: SplitName, data_root: Path | None, mistakes: Iterable[Mistake]
) -> Iterator[tuple[Mistake, str]]:
    """Each mistake with its text, the gold in [square] and the prediction in {curly} brackets.

    Raises:
        ConfigError, DataError: the corpus cannot be read.
    """
    wanted: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        wanted[mistake.id].append(mistake)
    for example in catalogue.read_examples(task, split, data_root):
        if isinstance(example, TaggedExample):
            end = example.offset + len(example.text)
            for mistake in wanted.get(example.document, ()):
                if any(example.offset <= span.start < end for span in mistake.marks[-1:]):
                    yield mistake, _marked(example, mistake)
            continue
        for mistake in wanted.get(example.id, ()):
            yield mistake, visible(_text(example))


def _text(example: PairExample | RelationExample) -> str:
    if isinstance(example, PairExample):
        return f"{example.first}  ||  {example.second}"
    if example.arguments is None:
        return example.text
    places = [(span.start - example.offset, span.end - example.offset) for span in example.arguments]
    return _insert(example.text, [(start, end, "[", "]") for start, end in places])


def _marked(example: TaggedExample, mistake: Mistake) -> str:
    brackets = {"spurious": _BRACKETS[1:], "missed": _BRACKETS[:1]}.get(mistake.group, _BRACKETS)
    marks = []
    for span, (opening, closing) in zip(mistake.marks, brackets, strict=True):
        # A mention of the gold may begin or end in another sentence.
        start, end = max(0, span.start - example.offset), min(len(example.text), span.end - example.offset)
        marks.append((start, end, opening, closing))
    return visible(_insert(example.text, marks))


def _insert(text: str, marks: Iterable[tuple[int, int, str, str]]) -> str:
    insertions = [place for start, end, one, other in marks for place in ((start, one), (end, other))]
    for at, mark in sorted(insertions, key=lambda place: place[0], reverse=True):
        text = text[:at] + mark + text[at:]
    return text
