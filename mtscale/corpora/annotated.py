"""Documents with mentions and relations, and the tagging and relation examples that sentences of them give.

A mention belongs to a sentence when it lies entirely inside. Mentions that cross a sentence end are in no example, yet
they stay in the gold of tagging, where they count as misses.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

from mtscale.corpora.example import Example, GoldItem, RelationExample, Span, TaggedExample
from mtscale.corpora.sentences import split_sentences
from mtscale.errors import ConfigError
from mtscale.tasks import Kind, Task


@dataclass(frozen=True, slots=True)
class Mention:
    """An annotated stretch of text, the concepts it names (several for a composite mention, none if unknown)."""

    start: int
    end: int
    type: str
    concepts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation between two concepts, stated for the document as a whole."""

    type: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Document:
    """A title and an abstract joined by one blank; the title is ``text[:title_end]``.

    ``boundaries`` are the further offsets that no sentence crosses, where a format gives some (paragraphs, passages).
    """

    id: str
    text: str
    title_end: int
    mentions: tuple[Mention, ...]
    relations: tuple[Relation, ...]
    boundaries: tuple[int, ...] = ()

    def sentences(self) -> list[tuple[int, int]]:
        """The offsets of the sentences; the end of the title always ends one."""
        return split_sentences(self.text, (self.title_end, *self.boundaries))

    def mentions_inside(self, start: int, end: int) -> list[Mention]:
        """The mentions that lie entirely in ``text[start:end]``, in the file's order."""
        return [mention for mention in self.mentions if start <= mention.start and mention.end <= end]


def examples(task: Task, documents: Iterable[Document]) -> Iterator[Example]:
    """The examples of a tagging or relation task.

    Raises:
        ConfigError: the task is of another kind, or a relation task lacks what its labels need.
    """
    if task.kind is Kind.TAGGING:
        return tagged_examples(task, documents)
    if task.kind is Kind.RELATION:
        return relation_examples(task, documents)
    raise _wrong_kind(task)


def gold(task: Task, documents: Iterable[Document]) -> Iterator[GoldItem]:
    """The gold of a tagging or relation task.

    Raises:
        ConfigError: as ``examples``.
    """
    if task.kind is Kind.TAGGING:
        return tagging_gold(task, documents)
    if task.kind is Kind.RELATION:
        return relation_gold(task, documents)
    raise _wrong_kind(task)


def tagged_examples(task: Task, documents: Iterable[Document]) -> Iterator[TaggedExample]:
    """One example a sentence, with id ``<document>.s<number>``, numbers from 0.

    Of spans of one type that are equal or nested only the longest is kept: a tag sequence cannot hold both.
    """
    for document in documents:
        for number, (start, end) in enumerate(document.sentences()):
            spans = _spans(task, document.mentions_inside(start, end))
            yield TaggedExample(
                f"{document.id}.s{number}", document.id, document.text[start:end], start, _outermost(spans)
            )


def tagging_gold(task: Task, documents: Iterable[Document]) -> Iterator[GoldItem]:
    """Every mention of the task's types by document, also those that no sentence holds whole."""
    for document in documents:
        yield GoldItem(document.id, document.id, frozenset(_spans(task, document.mentions)))


def relation_examples(task: Task, documents: Iterable[Document]) -> Iterator[RelationExample]:
    """One example for each pair of argument mentions in a sentence, or for the closest pairs alone.

    A task whose ``candidates`` are "closest" has, for each pair of concepts that meets in a sentence of a document,
    the mention pair with the fewest characters between; of equally close ones the first.

    The id is ``<document>.s<number>.<start1>-<end1>.<start2>-<end2>``. The labels are distant: a pair is positive when
    the document relates any concept of the first mention to any of the second, whatever the sentence says.

    Raises:
        ConfigError: the task lacks ``arguments`` or ``negative``, or maps its relation to several classes.
    """
    scheme = _Scheme.of(task)
    return (example for document in documents for example in _document_examples(scheme, document))


def count_pairs(task: Task, document: Document) -> int:
    """The pairs of argument mentions in a sentence, of which a relation task's examples are made."""
    scheme = _Scheme.of(task)
    first, second = scheme.arguments
    total = 0
    for start, end in document.sentences():
        inside = document.mentions_inside(start, end)
        count = len(_arguments(inside, first))
        total += count * (count - 1) // 2 if first == second else count * len(_arguments(inside, second))
    return total


def relation_gold(task: Task, documents: Iterable[Document]) -> Iterator[GoldItem]:
    """The labels of every candidate pair by example id.

    Raises:
        ConfigError: as ``relation_examples``.
    """
    return (GoldItem(example.document, example.id, example.labels) for example in relation_examples(task, documents))


class Coverage(NamedTuple):
    """How many of a corpus' document relations no sentence has a candidate for, and how many there are."""

    uncovered: int
    total: int


def uncovered_relations(task: Task, documents: Iterable[Document]) -> Coverage:
    """Count the document relations that sentence-level examples cannot express.

    Raises:
        ConfigError: as ``relation_examples``.
    """
    scheme = _Scheme.of(task)
    uncovered = total = 0
    for document in documents:
        wanted = {relation for relation in document.relations if relation.type in scheme.classes}
        covered = {
            relation
            for start, end in document.sentences()
            for first, second in _pairs(scheme, document.mentions_inside(start, end))
            for relation in wanted
            if _joins(relation, first, second)
        }
        uncovered += len(wanted - covered)
        total += len(wanted)
    return Coverage(uncovered, total)


class _Scheme(NamedTuple):
    """What a relation task takes from a document; ``classes`` maps the format's relation types to the labels."""

    arguments: tuple[str, str]
    negative: str
    classes: dict[str, str]
    closest: bool

    @classmethod
    def of(cls, task: Task) -> _Scheme:
        if task.arguments is None or task.negative is None:
            raise ConfigError(
                f"task {task.name}: a relation task on documents with mentions needs `arguments` (two entity "
                "types) and `negative` (the label of unrelated pairs); give both"
            )
        closest = task.candidates == "closest"
        if task.relation is None:
            return cls(task.arguments, task.negative, {label: label for label in task.positives}, closest)
        if len(task.positives) != 1:
            raise ConfigError(
                f"task {task.name}: `relation` names one relation and needs one label besides `negative`, found "
                f"{len(task.positives)}; leave `relation` out to take the labels as the names of the relations"
            )
        return cls(task.arguments, task.negative, {task.relation: task.positives[0]}, closest)


class _Candidate(NamedTuple):
    """Two mentions in the sentence ``text[start:end]`` of a document; ``number`` is the sentence's."""

    number: int
    start: int
    end: int
    first: Mention
    second: Mention


def _document_examples(scheme: _Scheme, document: Document) -> Iterator[RelationExample]:
    related = _related(scheme, document)
    texts: dict[int, str] = {}  # one of each sentence, however many pairs it has
    for number, start, end, first, second in _candidates(scheme, document):
        found = {type_ for pair in product(first.concepts, second.concepts) for type_ in related.get(pair, ())}
        labels = tuple(label for relation, label in scheme.classes.items() if relation in found)
        yield RelationExample(
            id=f"{document.id}.s{number}.{first.start}-{first.end}.{second.start}-{second.end}",
            document=document.id,
            text=texts.setdefault(number, document.text[start:end]),
            offset=start,
            arguments=(Span(first.start, first.end, first.type), Span(second.start, second.end, second.type)),
            labels=labels or (scheme.negative,),
        )


def _related(scheme: _Scheme, document: Document) -> dict[tuple[str, str], set[str]]:
    """The types of a document's relations by their two concepts, in both orders if both arguments have one type."""
    related: dict[tuple[str, str], set[str]] = {}
    for relation in document.relations:
        related.setdefault((relation.first, relation.second), set()).add(relation.type)
        if scheme.arguments[0] == scheme.arguments[1]:
            related.setdefault((relation.second, relation.first), set()).add(relation.type)
    return related


def _candidates(scheme: _Scheme, document: Document) -> list[_Candidate]:
    """The candidates of a document in text order."""
    candidates = [
        _Candidate(number, start, end, first, second)
        for number, (start, end) in enumerate(document.sentences())
        for first, second in _pairs(scheme, document.mentions_inside(start, end))
    ]
    if not scheme.closest:
        return candidates
    closest: dict[tuple[Hashable, Hashable], _Candidate] = {}
    for candidate in candidates:
        for pair in product(_concepts(candidate.first), _concepts(candidate.second)):
            if pair not in closest or _gap(candidate) < _gap(closest[pair]):
                closest[pair] = candidate
    kept = set(closest.values())
    return [candidate for candidate in candidates if candidate in kept]


def _concepts(mention: Mention) -> Sequence[Hashable]:
    """What a mention names; one without a known concept names itself."""
    return mention.concepts or ((mention.start, mention.end),)


def _gap(candidate: _Candidate) -> int:
    """The characters between the two mentions; negative where they overlap."""
    first, second = candidate.first, candidate.second
    return max(second.start - first.end, first.start - second.end)


def _pairs(scheme: _Scheme, mentions: list[Mention]) -> Iterator[tuple[Mention, Mention]]:
    """All candidate pairs; where both arguments have one type, each unordered pair once, in text order."""
    first, second = scheme.arguments
    if first == second:
        return combinations(_arguments(mentions, first), 2)
    return product(_arguments(mentions, first), _arguments(mentions, second))


def _arguments(mentions: list[Mention], type_: str) -> list[Mention]:
    """The mentions of a type in text order; mentions of the same stretch become one, so that ids stay unique."""
    concepts: dict[tuple[int, int], tuple[str, ...]] = {}
    for mention in mentions:
        if mention.type == type_:
            stretch = (mention.start, mention.end)
            concepts[stretch] = concepts.get(stretch, ()) + mention.concepts
    return [Mention(start, end, type_, concepts[start, end]) for start, end in sorted(concepts)]


def _joins(relation: Relation, first: Mention, second: Mention) -> bool:
    if relation.first in first.concepts and relation.second in second.concepts:
        return True
    swapped = relation.first in second.concepts and relation.second in first.concepts
    return first.type == second.type and swapped


def _spans(task: Task, mentions: Iterable[Mention]) -> list[Span]:
    return [Span(mention.start, mention.end, mention.type) for mention in mentions if mention.type in task.labels]


def _outermost(spans: list[Span]) -> tuple[Span, ...]:
    kept: list[Span] = []
    # In this order a span that holds another of its type comes before it.
    for span in sorted(spans, key=lambda span: (span.start, -span.end, span.label)):
        if not any(outer.label == span.label and span.end <= outer.end for outer in kept):
            kept.append(span)
    return tuple(kept)


def _wrong_kind(task: Task) -> ConfigError:
    return ConfigError(
        f"task {task.name}: format {task.format} gives tagging and relation tasks, not {task.kind.value}; "
        "change the task's kind or format"
    )
