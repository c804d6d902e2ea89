"""What every reader owes to encoding, scoring and reports, checked on what it gives for one split.

Ids stay on one line of a file; offsets, spans and words lie where they should; labels and scores are the task's; and
the gold has every example. A fault says what is wrong and the id where, never a text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from mtscale.corpora.example import Example, GoldValue, PairExample, RelationExample, TaggedExample
from mtscale.tasks import Kind, Task

_CLASSES: Mapping[Kind, type[Example]] = {
    Kind.SIMILARITY: PairExample,
    Kind.INFERENCE: PairExample,
    Kind.RELATION: RelationExample,
    Kind.TAGGING: TaggedExample,
}


class Fault(NamedTuple):
    """What is wrong, in words that count ("examples ..."), and the id, or the number from 1 where that is the fault."""

    what: str
    id: str


def conformance_faults(task: Task, examples: Iterable[Example], gold: Mapping[str, GoldValue]) -> Iterator[Fault]:
    """The faults of a split's examples, drawn one at a time, and then those of its gold; none in what a reader owes.

    Of the examples no more is kept than their ids.
    """
    seen: set[str] = set()
    sentence_ends: dict[str, int] = {}
    for number, example in enumerate(examples, start=1):
        shown = example.id if _is_name(example.id) else f"example {number}"
        if not isinstance(example, _CLASSES[task.kind]):
            yield Fault(f"examples that are none for a task of kind {task.kind.value}", shown)
            continue
        found = chain(_name_faults(example, seen), _content_faults(task, example), _missed(example, gold))
        yield from (Fault(what, shown) for what in found)
        seen.add(example.id)
        if isinstance(example, TaggedExample):
            if example.offset < sentence_ends.get(example.document, 0):
                yield Fault("sentences that begin before the end of the one before them", shown)
            sentence_ends[example.document] = example.offset + len(example.text)
    for number, (id_, value) in enumerate(gold.items(), start=1):
        shown = id_ if _is_name(id_) else f"entry {number}"
        if shown != id_:
            yield Fault("entries of the gold with a blank or unprintable id", shown)
        yield from (Fault(f"entries of the gold with {what}", shown) for what in _gold_faults(task, value))


def _name_faults(example: Example, seen: set[str]) -> Iterator[str]:
    if not _is_name(example.id):
        yield "examples with a blank or unprintable id"
    if example.id in seen:
        yield "examples with an id that has occurred before"
    if not _is_name(example.document):
        yield "examples with a blank or unprintable document id"


def _content_faults(task: Task, example: Example) -> Iterator[str]:
    texts = (example.first, example.second) if isinstance(example, PairExample) else (example.text,)
    if not all(map(_is_unicode, texts)):
        yield "examples with half of a surrogate pair in a text"
    # A sentence to tag may have no words but blanks: some tokenizers make words of those.
    if not all(text if isinstance(example, TaggedExample) else text.strip() for text in texts):
        yield "examples with a blank text"
    if isinstance(example, PairExample):
        yield from (f"examples with {what}" for what in _gold_faults(task, example.label))
        return
    if example.offset < 0:
        yield "examples with an offset below 0"
    if isinstance(example, RelationExample):
        yield from (f"examples with {what}" for what in _gold_faults(task, example.labels))
        arguments = example.arguments or ()
        if not all(_is_inside(example, span.start, span.end) and _is_name(span.label) for span in arguments):
            yield "examples with an argument that is empty, outside of the sentence or without a type"
        return
    if not all(_is_inside(example, span.start, span.end) for span in example.spans):
        yield "examples with a mention that is empty or outside of the sentence"
    if not {span.label for span in example.spans} <= set(task.labels):
        yield "examples with a mention of a type that is none of the task's"
    end = example.offset
    for word_start, word_end in example.words or ():
        if word_start < end or not _is_inside(example, word_start, word_end):
            yield "examples with a word that is empty, outside of the sentence or not behind the one before"
            break
        end = word_end


def _missed(example: Example, gold: Mapping[str, GoldValue]) -> Iterator[str]:
    if isinstance(example, TaggedExample):
        mentions = gold.get(example.document)
        if not isinstance(mentions, frozenset) or not mentions.issuperset(example.spans):
            yield "examples with a mention, or of a document, that the gold lacks"
    elif gold.get(example.id) != (example.labels if isinstance(example, RelationExample) else example.label):
        yield "examples that the gold lacks or gives another label"


def _gold_faults(task: Task, value: GoldValue) -> Iterator[str]:
    """What is wrong with a score, a class, the classes of a pair or the mentions of a document."""
    low, high = task.score_range or (-math.inf, math.inf)
    match task.kind, value:
        case Kind.SIMILARITY, float():
            if not (math.isfinite(value) and low <= value <= high):
                yield "a score that is not finite or out of the task's range"
        case Kind.INFERENCE, str():
            if value not in task.labels:
                yield "a label that is none of the task's"
        case Kind.RELATION, tuple():
            if not value or len(set(value)) < len(value) or not set(value) <= set(task.labels):
                yield "no label, one twice, or one that is none of the task's"
            if len(value) > 1 and task.negative in value:
                yield "a negative label beside another"
        case Kind.TAGGING, frozenset():
            if not all(0 <= one.start < one.end and one.label in task.labels for one in value):
                yield "a mention that is empty, below 0 or of a type that is none of the task's"
        case _:
            yield f"a value that is none for a task of kind {task.kind.value}"


def _is_inside(example: RelationExample | TaggedExample, start: int, end: int) -> bool:
    return example.offset <= start < end <= example.offset + len(example.text)


def _is_name(text: str) -> bool:
    return text.isprintable() and bool(text.strip())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
