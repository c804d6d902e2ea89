"""The DDI corpus of 2013 (Herrero-Zazo et al. 2013): interactions of drugs, in texts of DrugBank and MedLine.

A split is a folder with one XML file a document, in subfolders or not, or such files one by one:

    <document id="DDI-MedLine.d1">
      <sentence id="DDI-MedLine.d1.s0" text="Naloxone slows clonidine.">
        <entity id="DDI-MedLine.d1.s0.e0" charOffset="0-7" type="drug" text="Naloxone"/>
        <entity id="DDI-MedLine.d1.s0.e1" charOffset="15-23" type="drug" text="clonidine"/>
        <pair id="DDI-MedLine.d1.s0.p0" e1="DDI-MedLine.d1.s0.e0" e2="DDI-MedLine.d1.s0.e1" ddi="true" type="effect"/>

The corpus has sentences and no documents' texts: here a document's text is its sentences joined by one blank, and
the sentences stay the corpus' own. A ``charOffset`` counts characters of the sentence and includes its end. Parts of
a discontinuous entity ("alpha- and beta-blockers") are separated by ";". A span has no parts, so such an entity
stands for the whole stretch from its first character to its last, as an argument and in tagging: an entry of the gold
that only a prediction of the whole stretch can reach. Two such entities of one stretch and type are one entry.

The candidates of a relation task are the corpus' pairs, with the pair's id. Entities of all four types are arguments
of type "drug", so that all are masked alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Mention
from mtscale.corpora.example import Example, GoldItem, RelationExample, Span
from mtscale.corpora.safe_xml import Element, attribute, element_error, read_elements
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

TYPES = ("drug", "brand", "group", "drug_n")
INTERACTIONS = ("advise", "effect", "int", "mechanism")
ARGUMENTS = ("drug", "drug")

# Two defects of the corpus as its authors distribute it. An interaction without a type: their edition in BRAT's format
# has one there. An entity without its text: that stands one character after the offsets.
UNTYPED = {"DDI-DrugBank.d236.s29.p0": "int"}
MISPLACED = {("DDI-DrugBank.d216.s16.e2", "95-98;107-114"): "96-99;108-115"}

_ID = re.compile(r"[0-9A-Za-z_.-]{1,100}")
_OFFSETS = re.compile(r"[0-9]{1,9}-[0-9]{1,9}(?:;[0-9]{1,9}-[0-9]{1,9})*+")


class Pair(NamedTuple):
    """A candidate of the corpus, with its sentence's and its arguments' places in the document.

    ``interaction`` is None where the corpus says that the two drugs do not interact there.
    """

    id: str
    sentence: tuple[int, int]
    first: Mention
    second: Mention
    interaction: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DdiDocument(Document):
    """A document whose sentences and candidates the corpus gives."""

    corpus_sentences: tuple[tuple[int, int], ...]
    pairs: tuple[Pair, ...]

    def sentences(self) -> list[tuple[int, int]]:
        """The offsets of the corpus' sentences but the blank ones."""
        return [(start, end) for start, end in self.corpus_sentences if self.text[start:end].strip()]


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of a relation or tagging task in folders or files of the corpus.

    Raises:
        ConfigError: the task is of another kind, or its labels or arguments are not the corpus' own.
        DataError: as ``read_documents``.
    """
    _check(task)
    if task.kind is not Kind.RELATION:
        return annotated.examples(task, read_documents(*paths))
    return (
        RelationExample(
            id=pair.id,
            document=document.id,
            text=document.text[slice(*pair.sentence)],
            offset=pair.sentence[0],
            arguments=(_argument(pair.first), _argument(pair.second)),
            labels=_labels(task, pair),
        )
        for document in read_documents(*paths)
        for pair in document.pairs
    )


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The gold of a relation or tagging task in folders or files of the corpus.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    _check(task)
    if task.kind is not Kind.RELATION:
        return annotated.gold(task, read_documents(*paths))
    return (
        GoldItem(document.id, pair.id, _labels(task, pair))
        for document in read_documents(*paths)
        for pair in document.pairs
    )


def read_documents(*paths: Path) -> Iterator[DdiDocument]:
    """Read files, and the XML files in folders in the order of their names, one document at a time.

    Raises:
        DataError: a folder has no XML file, or a file is malformed, with file and line.
    """
    seen: set[str] = set()
    for path in paths:
        for file in _files(path):
            before = len(seen)
            for element in read_elements(file, "document"):
                yield _document(file, element, seen)
            if len(seen) == before:
                raise DataError(f"{file}:1: expected an element document, found none")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*.xml") if not file.name.startswith("."))
    if not files:
        raise DataError(f"{path}: expected XML files in this folder or below, found none")
    return files


def _document(file: Path, element: Element, seen: set[str]) -> DdiDocument:
    """A document; its id and those of its pairs are added to the ids seen."""
    id_ = _unseen(file, element, seen)
    texts: list[str] = []
    sentences: list[tuple[int, int]] = []
    mentions: list[Mention] = []
    pairs: list[Pair] = []
    start = 0
    for child in _children(file, element, "sentence"):
        text = attribute(file, child, "text")
        sentence = (start, start + len(text))
        entities = _entities(file, child, text, start)
        texts.append(text)
        sentences.append(sentence)
        mentions += entities.values()
        pairs += [_pair(file, one, sentence, entities, seen) for one in child.iterchildren("pair")]
        start = sentence[1] + 1
    return DdiDocument(
        id=id_,
        text=" ".join(texts),
        title_end=0,
        mentions=tuple(mentions),
        relations=(),
        corpus_sentences=tuple(sentences),
        pairs=tuple(pairs),
    )


def _children(file: Path, element: Element, *tags: str) -> Element:
    """The element itself, once it is known to hold only elements of these tags."""
    for child in element:
        if child.tag not in tags:
            raise element_error(file, child, f"expected an element {' or '.join(tags)}, found another")
    return element


def _unseen(file: Path, element: Element, seen: set[str]) -> str:
    id_ = attribute(file, element, "id")
    if not _ID.fullmatch(id_):
        raise element_error(
            file, element, "expected an id of up to 100 letters, digits, dots, hyphens and underscores, found another"
        )
    if id_ in seen:
        raise element_error(file, element, "this id has occurred before; ids must be unique in a split")
    seen.add(id_)
    return id_


def _entities(file: Path, sentence: Element, text: str, start: int) -> dict[str, Mention]:
    """The entities of a sentence by id, placed in the document."""
    entities: dict[str, Mention] = {}
    for element in _children(file, sentence, "entity", "pair").iterchildren("entity"):
        id_, type_ = attribute(file, element, "id"), attribute(file, element, "type")
        if id_ in entities:
            raise element_error(file, element, "this entity's id has occurred before; ids must be unique in a sentence")
        if type_ not in TYPES:
            raise element_error(file, element, f"expected one of the types {', '.join(TYPES)}, found another")
        first, last = _stretch(file, element, id_, text)
        entities[id_] = Mention(start + first, start + last, type_, ())
    return entities


def _stretch(file: Path, element: Element, id_: str, text: str) -> tuple[int, int]:
    """From the first character of an entity to behind its last one, in the sentence's text."""
    offsets = attribute(file, element, "charOffset")
    if not _OFFSETS.fullmatch(offsets):
        raise element_error(file, element, "expected a charOffset like 0-7 or 0-7;12-18, found something else")
    offsets = MISPLACED.get((id_, offsets), offsets)
    parts = [(int(start), int(end) + 1) for start, end in (part.split("-") for part in offsets.split(";"))]
    for start, end in parts:
        if not start < end <= len(text):
            raise element_error(
                file, element, f"expected offsets in a sentence of {len(text)} characters, found {start}-{end - 1}"
            )
    pieces = [text[start:end] for start, end in parts]
    # An entity's text has a blank between its parts, or none where a word has been cut.
    if attribute(file, element, "text") not in (" ".join(pieces), "".join(pieces)):
        raise element_error(
            file,
            element,
            "the sentence's text at this charOffset is not the entity's; it counts characters, end included",
        )
    return min(start for start, _ in parts), max(end for _, end in parts)


def _pair(
    file: Path, element: Element, sentence: tuple[int, int], entities: dict[str, Mention], seen: set[str]
) -> Pair:
    id_ = _unseen(file, element, seen)
    first, second = attribute(file, element, "e1"), attribute(file, element, "e2")
    if first == second or not {first, second} <= entities.keys():
        raise element_error(file, element, "expected two different entities of the sentence as e1 and e2, found others")
    return Pair(id_, sentence, entities[first], entities[second], _interaction(file, element, id_))


def _interaction(file: Path, element: Element, id_: str) -> str | None:
    ddi, type_ = attribute(file, element, "ddi"), element.get("type")
    if ddi == "false" and type_ is None:
        return None
    if ddi == "true" and type_ is None and id_ in UNTYPED:
        return UNTYPED[id_]
    if ddi == "true" and type_ in INTERACTIONS:
        return type_
    raise element_error(
        file, element, f'expected ddi="false", or ddi="true" and a type among {", ".join(INTERACTIONS)}, found others'
    )


def _argument(mention: Mention) -> Span:
    return Span(mention.start, mention.end, ARGUMENTS[0])


def _labels(task: Task, pair: Pair) -> tuple[str, ...]:
    """A pair's interaction where it is one of the task's labels, else the task's negative label."""
    assert task.negative is not None
    return (pair.interaction if pair.interaction in task.positives else task.negative,)


def _check(task: Task) -> None:
    if task.kind is Kind.TAGGING and not set(task.labels) <= set(TYPES):
        raise ConfigError(
            f"task {task.name}: expected labels among {', '.join(TYPES)}, the types that format {task.format} has, "
            "found others; correct `labels`"
        )
    if task.kind is Kind.RELATION and not (
        task.arguments == ARGUMENTS
        and task.negative is not None
        and set(task.positives) <= set(INTERACTIONS)
        and task.relation is None
        and task.candidates == "all"
    ):
        raise ConfigError(
            f"task {task.name}: a relation task of format {task.format} needs `arguments` = {list(ARGUMENTS)}, a "
            f"`negative` label, other labels among {', '.join(INTERACTIONS)}, and neither `relation` nor `candidates`; "
            "correct these"
        )
