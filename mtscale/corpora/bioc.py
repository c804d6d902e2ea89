"""BioC XML collections (Comeau et al. 2013, doi:10.1093/database/bat064; BioC.dtd), those of BC5CDR and others.

A document's text is that of its passages, or of the sentences in them, each at its offset, with blanks in the gaps;
offsets are half-open and count characters. The first passage is taken for the title. No sentence crosses the end of a
passage or of a sentence of the file.

A mention is an annotation with a place. Its type is the infon ``type``, its concepts are those of the infons
``identifier``, ``MESH`` and ``OMIM``. The parts of a composite mention (``CompositeRole`` = ``IndividualMention``) are
left out, as the whole is annotated too and PubTator files hold it alone. A discontinuous mention, with several
locations, becomes one from the start of the first to the end of the last: spans have one start and one end, and so a
prediction of one part alone is wrong.

A relation has its type in the infon ``relation``, ``relation type`` or ``type``, the first it has. If it has two nodes,
it holds between the two annotations they refer to; if it has none, between the two concepts of its infons ``entity1``
and ``entity2``, or else of its two remaining infons (``Chemical`` and ``Disease`` in BC5CDR), in the whole document.
One with another number of nodes or with a node that is a relation is an event, and left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mtscale.corpora import mention_relations
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.example import Example, GoldItem
from mtscale.corpora.mention_relations import own_concept
from mtscale.corpora.safe_xml import Element, attribute, element_error, read_elements
from mtscale.errors import DataError
from mtscale.tasks import Task

# Blanks between two passages. More is an error in the file, and could fill the memory.
MAX_GAP = 10_000

_CONCEPT_INFONS = ("identifier", "MESH", "OMIM")
_NO_CONCEPT = ("", "-", "-1")
_CONCEPT_SEPARATOR = re.compile("[|,;]")
_TYPE_OF_RELATION = ("relation", "relation type", "type")
_ENTITIES = ("entity1", "entity2")
_NUMBER = re.compile(r"\s*([0-9]{1,9})\s*")


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of a tagging or relation task in BioC files; ids as in ``annotated``.

    Raises:
        ConfigError: the task cannot be read from documents with mentions.
        DataError: as ``read_documents``.
    """
    return mention_relations.examples(task, read_documents(*paths))


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The gold of a tagging or relation task in BioC files, with relations of two annotations across sentences.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return mention_relations.gold(task, read_documents(*paths))


def read_documents(*paths: Path) -> Iterator[Document]:
    """Read files one document at a time.

    Raises:
        DataError: a file is empty or malformed, with file and line.
    """
    seen: set[str] = set()
    for path in paths:
        empty = True
        for element in read_elements(path, "document"):
            empty = False
            document = read_document(path, element)
            if document.id in seen:
                raise element_error(
                    path, element, "this document's id has occurred before; ids must be unique in a split"
                )
            seen.add(document.id)
            yield document
        if empty:
            raise DataError(f"{path}: expected at least one document element, found none")


def read_document(path: Path, element: Element) -> Document:
    """The document that an element of the file is.

    Raises:
        DataError: it is malformed, with file and line.
    """
    id_ = _text(_child(path, element, "id")).strip()
    if not id_ or not id_.isprintable():
        raise element_error(path, element, "expected an id of printable characters for this document, found another")
    text, ends = _passages(path, element)
    mentions = {
        annotation: _mention(path, annotation, text)
        for annotation in element.iter("annotation")
        if annotation.find("location") is not None and _infons(annotation).get("CompositeRole") != "IndividualMention"
    }
    if next(element.iter("node"), None) is not None:
        mentions = {
            annotation: replace(mention, concepts=(*mention.concepts, own_concept(str(number))))
            for number, (annotation, mention) in enumerate(mentions.items())
        }
    scopes = element.iter("document", "passage", "sentence")
    relations = tuple(relation for scope in scopes for relation in _relations(path, scope, mentions))
    return Document(id_, text, ends[0], tuple(mentions.values()), relations, tuple(ends[1:-1]))


def _passages(path: Path, document: Element) -> tuple[str, list[int]]:
    """The document's text, and where each passage, or each sentence of one that has no text itself, ends in it."""
    pieces: list[str] = []
    ends: list[int] = []
    end = 0
    for passage in document.iterfind("passage"):
        parts = [passage] if passage.find("text") is not None else passage.findall("sentence") or [passage]
        for part in parts:
            offset = _number(path, part, _text(_child(path, part, "offset")))
            if not end <= offset <= end + MAX_GAP:
                raise element_error(
                    path,
                    part,
                    f"expected an offset from {end}, the end of the text before, to {end + MAX_GAP}, found {offset}; "
                    "offsets must count characters, and passages stand in their order",
                )
            text = part.find("text")
            pieces += [" " * (offset - end), "" if text is None else _text(text)]
            end = offset + len(pieces[-1])
            ends.append(end)
    if not ends:
        raise element_error(path, document, "expected at least one passage in this document, found none")
    return "".join(pieces), ends


def _mention(path: Path, annotation: Element, text: str) -> Mention:
    infons = _infons(annotation)
    if not infons.get("type"):
        raise element_error(path, annotation, 'expected an infon with key "type" in this annotation, found none')
    parts: list[tuple[int, int]] = []
    for location in annotation.iterfind("location"):
        start, length = (_number(path, location, attribute(path, location, name)) for name in ("offset", "length"))
        if not start < start + length <= len(text):
            raise element_error(
                path,
                location,
                f"expected a place in the {len(text)} characters of the document, found {start} + {length}",
            )
        parts.append((start, start + length))
    if not _is_text_of(_text(_child(path, annotation, "text")), [text[start:end] for start, end in parts]):
        raise element_error(
            path,
            annotation,
            "the document's text at this annotation's place is not the annotation's text; offsets must count "
            "characters of the document",
        )
    keys = [key for key in _CONCEPT_INFONS if key in infons]
    concepts = (concept.strip() for key in keys for concept in _CONCEPT_SEPARATOR.split(infons[key]))
    return Mention(
        start=min(start for start, _ in parts),
        end=max(end for _, end in parts),
        type=infons["type"],
        concepts=tuple(concept for concept in concepts if concept not in _NO_CONCEPT),
    )


def _is_text_of(text: str, parts: list[str]) -> bool:
    """Whether an annotation's text is that of its one part, or holds its parts in their order."""
    if len(parts) == 1:
        return text == parts[0]
    position = 0
    for part in parts:
        position = text.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return True


def _relations(path: Path, scope: Element, mentions: dict[Element, Mention]) -> Iterator[Relation]:
    """The relations of a document, passage or sentence, whose nodes refer to what is in the same one."""
    relations = scope.findall("relation")
    if not relations:
        return
    annotations: dict[str, list[Mention]] = defaultdict(list)
    for annotation in scope.iter("annotation"):
        if annotation in mentions:
            annotations[annotation.get("id", "")].append(mentions[annotation])
    events = {relation.get("id") for relation in scope.iter("relation")} - annotations.keys()
    for relation in relations:
        nodes = [attribute(path, node, "refid") for node in relation.iterfind("node")]
        if len(nodes) not in (0, 2) or not events.isdisjoint(nodes):
            continue
        type_, concepts = _type_and_concepts(path, relation)
        if nodes:
            concepts = [_own_concept(path, relation, annotations.get(node, [])) for node in nodes]
        if len(concepts) != 2:
            raise element_error(
                path,
                relation,
                "expected two nodes in this relation, or two concepts in infons beside its type, found "
                f"{len(concepts)} such infons; where there are others, concepts have the keys entity1 and entity2",
            )
        yield Relation(type_, *concepts)


def _type_and_concepts(path: Path, relation: Element) -> tuple[str, list[str]]:
    """A relation's type, and what may be the concepts it relates."""
    infons = [(infon.get("key", ""), _text(infon).strip()) for infon in relation.iterfind("infon")]
    keys = [key for key, _ in infons]
    type_key = next((key for key in _TYPE_OF_RELATION if key in keys), None)
    if type_key is None:
        raise element_error(
            path,
            relation,
            f"expected a relation's type in an infon with key {' or '.join(_TYPE_OF_RELATION)}, found none",
        )
    concept_keys = _ENTITIES if set(_ENTITIES) <= set(keys) else set(keys) - {type_key}
    return dict(infons)[type_key], [value for key, value in infons if key in concept_keys]


def _own_concept(path: Path, relation: Element, annotations: list[Mention]) -> str:
    if len(annotations) != 1:
        raise element_error(
            path,
            relation,
            "expected each node of this relation to refer to one annotation with a place, in the document, passage or "
            f"sentence of the relation, found one that refers to {len(annotations)}",
        )
    return annotations[0].concepts[-1]


def _infons(element: Element) -> dict[str, str]:
    return {infon.get("key", ""): _text(infon).strip() for infon in element.iterfind("infon")}


def _child(path: Path, element: Element, tag: str) -> Element:
    child = element.find(tag)
    if child is None:
        raise element_error(path, element, f"expected an element {tag} in this {element.tag}, found none")
    return child


def _text(element: Element) -> str:
    return "".join(map(str, element.itertext()))


def _number(path: Path, element: Element, text: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise element_error(
            path, element, f"expected whole numbers as offset and length in this {element.tag}, found others"
        )
    return int(match[1])
