"""Units to annotations: mentions by all taggers at once, then the relations between mentions of a sentence.

Entity pairs are those that the task's ``candidates`` rule makes of a document in training (``corpora.annotated``): two
mentions of the task's argument types (capitals make no difference) inside one sentence. The mentions are predicted, or
those that the input brings. Where a task takes the "closest" pair of each two concepts, predicted mentions with the
same text (capitals aside) are taken for one concept, since nothing else tells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document
from mtscale.corpora.example import Example, PairExample, RelationExample, Span, TaggedExample
from mtscale.corpora.mention_relations import is_own_concept
from mtscale.errors import ConfigError
from mtscale.predictions import Prediction
from mtscale.serving.predictor import Outcome, Predictor, windows
from mtscale.serving.units import Unit
from mtscale.tasks import Kind, Task

Entities = Literal["predicted", "given"]

# The tasks that read a ready example.
_KINDS: Mapping[type[Example], tuple[Kind, ...]] = {
    TaggedExample: (Kind.TAGGING,),
    RelationExample: (Kind.RELATION,),
    PairExample: (Kind.SIMILARITY, Kind.INFERENCE),
}

# Units whose mentions are found before relations between them are looked at.
WINDOW = 256
# Candidate pairs of a document and task. An article has hundreds; a list without sentence ends may ask for millions.
MOST_PAIRS = 20_000


@dataclass(frozen=True, slots=True)
class FoundMention:
    """A mention, the task that found it and the mean probability of its words; both None where the input brought it."""

    start: int
    end: int
    label: str
    concepts: tuple[str, ...] = ()
    task: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class FoundRelation:
    """What a task says of two mentions of a document: a class, which may be its negative one, and all probabilities."""

    task: str
    first: Span
    second: Span
    label: str
    probabilities: Mapping[str, float]
    negative: bool


@dataclass(frozen=True, slots=True)
class Annotated:
    """A unit with what was found: in a document mentions and relations, of an example the predictions by task.

    ``crowded``: the relation tasks that looked at no pair of a document, as there were more than ``MOST_PAIRS``.
    """

    unit: Unit
    mentions: Sequence[FoundMention] = ()
    relations: Sequence[FoundRelation] = ()
    predictions: Outcome = field(default_factory=dict)
    crowded: Sequence[str] = ()


class Annotator:
    """Annotates units with a predictor. ``entities``: the mentions whose pairs are candidates of relations."""

    def __init__(self, predictor: Predictor, entities: Entities | None = None) -> None:
        self._predictor = predictor
        self._taggers = {task.name for task in predictor.of_kind(Kind.TAGGING)}
        self.entities: Entities = entities or ("predicted" if self._taggers else "given")
        self._relations = [task for task in predictor.of_kind(Kind.RELATION) if _makes_candidates(task)]

    def annotate(self, units: Iterable[Unit]) -> Iterator[Annotated]:
        """The units in their order, with what was found.

        Raises:
            ConfigError: no chosen task fits a unit of this kind.
        """
        for window in windows(units, WINDOW):
            for unit in window:
                self.require_heads(unit)
            yield from self._annotate(window)

    def _annotate(self, units: Sequence[Unit]) -> Iterator[Annotated]:
        examples = [(number, example) for number, unit in enumerate(units) for example in self._examples(unit)]
        mentions: list[list[FoundMention]] = [[] for _ in units]
        predictions: list[Outcome] = [{} for _ in units]
        outcomes = self._predictor.predict(example for _, example in examples)
        for (number, _), outcome in zip(examples, outcomes, strict=True):
            if isinstance(units[number].content, Document):
                mentions[number] += _mentions(outcome)
            else:
                predictions[number] = outcome
        for number, unit in enumerate(units):
            if self.entities == "given" and isinstance(unit.content, Document):
                mentions[number] = [
                    FoundMention(
                        one.start, one.end, one.type, tuple(itertools.filterfalse(is_own_concept, one.concepts))
                    )
                    for one in unit.content.mentions
                ]
        crowded: list[list[str]] = [[] for _ in units]
        found = self._relate(units, mentions, crowded)
        for unit, own, relations, outcome, left in zip(units, mentions, found, predictions, crowded, strict=True):
            in_order = sorted(own, key=lambda one: (one.start, one.end, one.label))
            yield Annotated(unit, in_order, relations, outcome, left)

    def _examples(self, unit: Unit) -> Iterator[Example]:
        if not isinstance(unit.content, Document):
            yield unit.content
        elif self.entities == "predicted":
            for number, (start, end) in enumerate(unit.content.sentences()):
                text = unit.content.text[start:end]
                yield TaggedExample(f"{unit.id}.s{number}", unit.id, text, start, ())

    def _relate(
        self, units: Sequence[Unit], mentions: Sequence[Sequence[FoundMention]], crowded: Sequence[list[str]]
    ) -> list[list[FoundRelation]]:
        """The relations of each unit: a pair that several tasks look at is read by their heads together."""
        relations: list[list[FoundRelation]] = [[] for _ in units]
        pairs = (
            (number, candidate)
            for number, (unit, found) in enumerate(zip(units, mentions, strict=True))
            if isinstance(unit.content, Document) and found
            for candidate in self._candidates(unit.content, found, crowded[number])
        )
        # One document's pairs are made at a time, and read ahead by what the predictor sorts.
        read, kept = itertools.tee(pairs)
        outcomes = self._predictor.predict(candidate.example for _, candidate in read)
        for (number, candidate), outcome in zip(kept, outcomes, strict=True):
            for task in candidate.tasks:
                relations[number].append(_relation(task, candidate.example, outcome[task.name]))
        return relations

    def _candidates(
        self, document: Document, found: Sequence[FoundMention], crowded: list[str]
    ) -> Iterator[_Candidate]:
        """The pairs of all tasks; one that several tasks make of the same types comes once."""
        made: dict[tuple[str, ...], _Candidate] = {}
        for task in self._relations:
            assert task.arguments is not None
            types = {type_.casefold(): type_ for type_ in task.arguments}
            mentions = tuple(
                annotated.Mention(one.start, one.end, types[one.label.casefold()], _concepts(document, one))
                for one in found
                if one.label.casefold() in types
            )
            typed = replace(document, mentions=mentions, relations=())
            if annotated.count_pairs(task, typed) > MOST_PAIRS:
                crowded.append(task.name)
                continue
            for example in annotated.relation_examples(task, [typed]):
                assert example.arguments is not None
                key = (example.id, *(one.label.casefold() for one in example.arguments))
                made.setdefault(key, _Candidate(example, [])).tasks.append(task)
        return iter(made.values())

    def require_heads(self, unit: Unit) -> None:
        """Raises ConfigError if no chosen task fits a unit of this kind."""
        content = unit.content
        if isinstance(content, Document):
            fits = bool(self._taggers and self.entities == "predicted") or bool(self._relations)
            wanted = "tagging or relation"
        else:
            kinds = _KINDS[type(content)]
            fits = bool(self._predictor.of_kind(*kinds))
            wanted = " or ".join(kinds)
        if not fits:
            names = ", ".join(task.name for task in self._predictor.tasks)
            raise ConfigError(f"expected a {wanted} task for this kind of input, found none among {names}")


class _Candidate(NamedTuple):
    """A sentence with two mentions, and the tasks whose rule makes it."""

    example: RelationExample
    tasks: list[Task]


def _makes_candidates(task: Task) -> bool:
    """Whether pairs can be made for a task: i2b2's classes go with argument types that its reader alone knows."""
    return task.arguments is not None and task.negative is not None


def _mentions(outcome: Outcome) -> Iterator[FoundMention]:
    for task, prediction in outcome.items():
        for (start, end, label), score in zip(prediction["spans"], prediction["probabilities"], strict=True):
            yield FoundMention(start, end, label, (), task, score)


def _concepts(document: Document, mention: FoundMention) -> tuple[str, ...]:
    if mention.task is None:
        return mention.concepts
    return ("text " + document.text[mention.start : mention.end].casefold(),)


def _relation(task: Task, example: RelationExample, prediction: Prediction) -> FoundRelation:
    assert example.arguments is not None
    return FoundRelation(
        task.name,
        *example.arguments,
        prediction["label"],
        dict(zip(task.labels, prediction["probabilities"], strict=True)),
        prediction["label"] == task.negative,
    )
