"""Relations between two annotations, as stand-off formats state them (BRAT, BioC).

Such a relation holds for two mentions and no others, while an ``annotated.Relation`` holds for every mention of two
concepts. So each of these mentions bears a concept of its own, made of its annotation's id, and the relation names
those. Which argument the file names first has no meaning here: where a task's arguments differ in type their types
say which is which, and where they do not the pair is unordered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Relation
from mtscale.corpora.example import Example, GoldItem, Span
from mtscale.errors import ConfigError
from mtscale.tasks import Kind, Task

_OWN = "annotation "


def own_concept(annotation: str) -> str:
    """The concept of one annotation of a document, given its id there."""
    return _OWN + annotation


def is_own_concept(concept: str) -> bool:
    """Whether a concept is that of one annotation, and no id of the file's."""
    return concept.startswith(_OWN)


def examples(task: Task, documents: Iterable[Document]) -> Iterator[Example]:
    """The examples of a tagging or relation task, as ``annotated.examples`` gives them.

    Raises:
        ConfigError: as ``annotated.examples``, or a relation between two annotations is met by a task whose
            ``candidates`` are the "closest" mentions of two concepts.
    """
    return annotated.examples(task, _in_argument_order(task, documents))


def gold(task: Task, documents: Iterable[Document]) -> Iterator[GoldItem]:
    """The gold of a tagging or relation task, with the relations between mentions that share no sentence.

    These are never candidates, so they count as misses. The id is ``<document>.lost.<start1>-<end1>.<start2>-<end2>``.
    A relation whose arguments have other types than the task's is not of the task.

    Raises:
        ConfigError: as ``examples``.
    """
    if task.kind is not Kind.RELATION:
        return annotated.gold(task, documents)
    annotated.relation_gold(task, ())  # refuses an incomplete task now, not with the first document
    return _relation_gold(task, documents)


def _relation_gold(task: Task, documents: Iterable[Document]) -> Iterator[GoldItem]:
    for document in _in_argument_order(task, documents):
        candidates = set()
        for example in annotated.relation_examples(task, [document]):
            candidates.add(example.arguments)
            yield GoldItem(example.document, example.id, example.labels)
        for pair, labels in _relations_by_pair(task, document).items():
            if pair not in candidates:
                first, second = (f"{argument.start}-{argument.end}" for argument in pair)
                yield GoldItem(document.id, f"{document.id}.lost.{first}.{second}", labels)


def _in_argument_order(task: Task, documents: Iterable[Document]) -> Iterator[Document]:
    """The documents with each relation's ends in the order of the task's arguments, where their types tell it."""
    for document in documents:
        if task.arguments is None or not document.relations:
            yield document
            continue
        if task.candidates == "closest" and any(one.first.startswith(_OWN) for one in document.relations):
            raise ConfigError(
                f'task {task.name}: expected relations between concepts, as `candidates` are "closest", found one '
                f'between two annotations in document {document.id}; write candidates = "all"'
            )
        types: dict[str, set[str]] = defaultdict(set)
        for mention in document.mentions:
            for concept in mention.concepts:
                types[concept].add(mention.type)
        relations = (_ordered(one, task.arguments, types) for one in document.relations)
        yield replace(document, relations=tuple(relations))


def _ordered(relation: Relation, arguments: tuple[str, str], types: dict[str, set[str]]) -> Relation:
    first, second = types[relation.first], types[relation.second]
    straight = arguments[0] in first and arguments[1] in second
    if not straight and arguments[0] in second and arguments[1] in first:
        return Relation(relation.type, relation.second, relation.first)
    return relation


def _relations_by_pair(task: Task, document: Document) -> dict[tuple[Span, Span], tuple[str, ...]]:
    """The labels of the task's relations between two annotations, by their arguments."""
    spans = {
        concept: Span(mention.start, mention.end, mention.type)
        for mention in document.mentions
        for concept in mention.concepts
        if concept.startswith(_OWN)
    }
    classes = {task.relation: task.positives[0]} if task.relation else {label: label for label in task.positives}
    labels: dict[tuple[Span, Span], set[str]] = defaultdict(set)
    for relation in document.relations:
        if relation.type in classes and relation.first in spans:
            pair = spans[relation.first], spans[relation.second]
            if (pair[0].label, pair[1].label) == task.arguments:
                # A candidate of two mentions of one type has them in text order.
                one, two = sorted(pair) if pair[0].label == pair[1].label else pair
                labels[one, two].add(classes[relation.type])
    return {pair: tuple(label for label in task.positives if label in found) for pair, found in labels.items()}
