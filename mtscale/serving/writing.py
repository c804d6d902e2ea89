"""What was found, in the format that it was found in, and always as JSON lines without text.

    JSON lines   a document or example a line: its id, mentions or relations with offsets, classes, probabilities
    pubtator     mentions in their columns, the score in the seventh; a mention in a relation has the concept m1, m2 ...
                 where the input gave none, and relations stand between these
    brat         T and R lines; scores as notes (``AnnotatorNotes``)
    bioc         annotations in their passages, relations in the document, scores as infons
    conll        for each task a column with the probability of the tag, and at the end of the line one with the tag
    tsv, jsonl   the row with a column, or a member, for each task

Relations of a task's negative class are in the JSON lines alone.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from lxml import etree

from mtscale.corpora.annotated import Document
from mtscale.corpora.example import RelationExample, TaggedExample
from mtscale.corpora.pubtator import NO_CONCEPT
from mtscale.corpora.safe_xml import Element
from mtscale.predictions import Prediction
from mtscale.serving.annotate import Annotated, FoundMention, FoundRelation
from mtscale.tasks import Kind, Task

_BLANK = re.compile(r"\s")
# What no cell of a line can hold.
_BREAK = re.compile(r"[\t\n\r]")
_Place = tuple[int, int, str]


class Writer(ABC):
    """Writes annotated units of one input to a text stream; ``tasks`` are those that may have been predicted."""

    def __init__(self, stream: TextIO, tasks: Sequence[Task]) -> None:
        self.stream = stream
        self.tasks = {task.name: task for task in tasks}

    @abstractmethod
    def write(self, found: Annotated) -> None:
        """Add a unit."""

    def end(self) -> None:  # noqa: B027  # most formats have no end
        """Write what stands behind the last unit."""


class LinesWriter(Writer):
    """JSON lines without text. ``name`` turns ids of documents and examples into what may be written of them."""

    def __init__(self, stream: TextIO, tasks: Sequence[Task], name: Callable[[str], str]) -> None:
        super().__init__(stream, tasks)
        self._name = name

    def write(self, found: Annotated) -> None:
        """Add a line."""
        self.stream.write(json.dumps(as_json(found, self.tasks, self._name)) + "\n")


class PubtatorWriter(Writer):
    """PubTator."""

    _begun = False

    def write(self, found: Annotated) -> None:
        """Add a document."""
        document, named = _document(found), _numbered(found.mentions)
        related = [relation for relation in found.relations if not relation.negative]
        in_relation = {_place(argument) for one in related for argument in (one.first, one.second)}
        lines = ["", *found.unit.source] if self._begun else [*found.unit.source]
        concepts: dict[_Place, str] = {}
        for mention in found.mentions:
            place = _place(mention)
            concepts.setdefault(place, mention.concepts[0] if mention.concepts else f"m{named[place]}")
            concept = "|".join(mention.concepts) or (concepts[place] if place in in_relation else NO_CONCEPT)
            text = _BREAK.sub(" ", document.text[mention.start : mention.end])
            cells = [document.id, str(mention.start), str(mention.end), text, mention.label, concept]
            lines.append("\t".join([*cells, *([] if mention.score is None else [f"{mention.score:.6f}"])]))
        pairs = ((self._type(one), concepts[_place(one.first)], concepts[_place(one.second)]) for one in related)
        lines += ["\t".join([document.id, *pair]) for pair in dict.fromkeys(pairs)]
        self.stream.write("\n".join(lines) + "\n")
        self._begun = True

    def _type(self, relation: FoundRelation) -> str:
        return relation_type(self.tasks[relation.task], relation)


class BratWriter(Writer):
    """The .ann file of a BRAT document; its text is copied as it is."""

    def write(self, found: Annotated) -> None:
        """Write the document."""
        document = _document(found)
        named = _numbered(found.mentions)
        notes = 0
        for number, mention in enumerate(found.mentions, start=1):
            label, text = _one_word(mention.label), _one_line(document.text[mention.start : mention.end])
            self.stream.write(f"T{number}\t{label} {mention.start} {mention.end}\t{text}\n")
            if mention.score is not None:
                notes += 1
                self.stream.write(f"#{notes}\tAnnotatorNotes T{number}\tscore {mention.score:.6f} {mention.task}\n")
        related = (relation for relation in found.relations if not relation.negative)
        for number, relation in enumerate(related, start=1):
            type_ = _one_word(relation_type(self.tasks[relation.task], relation))
            first, second = named[_place(relation.first)], named[_place(relation.second)]
            score = relation.probabilities[relation.label]
            notes += 1
            self.stream.write(f"R{number}\t{type_} Arg1:T{first} Arg2:T{second}\n")
            self.stream.write(f"#{notes}\tAnnotatorNotes R{number}\tscore {score:.6f} {relation.task}\n")


class BiocWriter(Writer):
    """A BioC collection, with the header and the documents of the input."""

    _begun = False

    def write(self, found: Annotated) -> None:
        """Add a document."""
        header, xml = found.unit.source
        if not self._begun:
            self.stream.write("<?xml version='1.0' encoding='UTF-8'?>\n<collection>" + "".join(header))
            self._begun = True
        root = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
        for old in [*root.iter("annotation"), *root.iter("relation")]:
            parent = old.getparent()
            assert parent is not None
            parent.remove(old)
        named = _numbered(found.mentions)
        document = _document(found)
        parts = list(_parts(root))
        for number, mention in enumerate(found.mentions, start=1):
            # A mention that the input brings may begin in a gap; it goes to what stands before.
            part = next((part for part, start in reversed(parts) if start <= mention.start), parts[0][0])
            part.append(_annotation(number, mention, document.text[mention.start : mention.end]))
        for number, relation in enumerate((one for one in found.relations if not one.negative), start=1):
            nodes = [f"T{named[_place(argument)]}" for argument in (relation.first, relation.second)]
            root.append(_relation(number, relation, relation_type(self.tasks[relation.task], relation), nodes))
        self.stream.write(etree.tostring(root, encoding="unicode", with_tail=False))

    def end(self) -> None:
        """Close the collection."""
        if not self._begun:
            self.stream.write("<?xml version='1.0' encoding='UTF-8'?>\n<collection>")
        self.stream.write("</collection>\n")


class ConllWriter(Writer):
    """Columns with what was predicted behind them."""

    def write(self, found: Annotated) -> None:
        """Add a sentence, with what stood before it."""
        passed, lines, separator = found.unit.source
        assert isinstance(found.unit.content, TaggedExample)
        added = list(found.predictions.values())
        for line in passed:
            self.stream.write(line + ("\n\n" if line.startswith("-DOCSTART-") else "\n"))
        for number, line in enumerate(lines):
            scores = [f"{prediction['word_probabilities'][number]:.6f}" for prediction in added]
            tags = [prediction["tags"][number] for prediction in added]
            self.stream.write(separator.join([line, *scores, *tags]) + "\n")
        self.stream.write("\n")


class TsvWriter(Writer):
    """The rows with a column for each task, and one with the probabilities of its classes."""

    _columns: tuple[str, ...] = ()

    def write(self, found: Annotated) -> None:
        """Add a row."""
        names, cells = found.unit.source
        values = _row_values(self.tasks, found)
        if not self._columns:
            self._columns = tuple(_row_columns(self.tasks, found))
            self.stream.write("\t".join([*names, *self._columns]) + "\n")
        self.stream.write("\t".join([*cells, *(_cell(values.get(column, "")) for column in self._columns)]) + "\n")


class JsonlWriter(Writer):
    """The objects with a member ``predictions``."""

    def write(self, found: Annotated) -> None:
        """Add an object."""
        added = _row_values(self.tasks, found)
        self.stream.write(json.dumps({**found.unit.source, "predictions": added}) + "\n")


WRITERS: Mapping[str, type[Writer]] = {
    "pubtator": PubtatorWriter,
    "brat": BratWriter,
    "bioc": BiocWriter,
    "conll": ConllWriter,
    "tsv": TsvWriter,
    "jsonl": JsonlWriter,
}
"""The formats that hold text: raw text alone has no place for annotations."""


def relation_type(task: Task, relation: FoundRelation) -> str:
    """What the format calls a relation: the task's own name of its one relation, or the class."""
    return task.relation or relation.label


def _document(found: Annotated) -> Document:
    assert isinstance(found.unit.content, Document)
    return found.unit.content


def _place(argument: Any) -> _Place:
    return argument.start, argument.end, argument.label.casefold()


def _numbered(mentions: Sequence[FoundMention]) -> dict[_Place, int]:
    """The number, from 1, of the first mention at each place."""
    numbers: dict[_Place, int] = {}
    for number, mention in enumerate(mentions, start=1):
        numbers.setdefault(_place(mention), number)
    return numbers


def as_json(found: Annotated, tasks: Mapping[str, Task], name: Callable[[str], str]) -> dict[str, Any]:
    """What was found, without text; ``name`` turns ids of documents and examples into what may be told of them."""
    content = found.unit.content
    if isinstance(content, Document):
        return {"document": name(content.id), **_document_json(found)}
    predictions = {task: _prediction_json(tasks[task], one) for task, one in found.predictions.items()}
    return {"id": name(content.id), "document": name(content.document), "predictions": predictions}


def _prediction_json(task: Task, prediction: Prediction) -> dict[str, Any]:
    if "spans" in prediction:
        return {"mentions": list(_spans_json(prediction))}
    return _class_or_score(task, prediction)


def _document_json(found: Annotated) -> dict[str, Any]:
    mentions = [
        {"start": one.start, "end": one.end, "label": one.label, "score": one.score, "task": one.task}
        for one in found.mentions
        if one.task is not None
    ]
    relations = [
        {
            "task": one.task,
            "first": [one.first.start, one.first.end, one.first.label],
            "second": [one.second.start, one.second.end, one.second.label],
            "label": one.label,
            "probabilities": one.probabilities,
        }
        for one in found.relations
    ]
    return {"mentions": mentions, "relations": relations, **({"crowded": list(found.crowded)} if found.crowded else {})}


def _spans_json(prediction: Prediction) -> Iterator[dict[str, Any]]:
    for (start, end, label), score in zip(prediction["spans"], prediction["probabilities"], strict=True):
        yield {"start": start, "end": end, "label": label, "score": score}


def _class_or_score(task: Task, prediction: Prediction) -> dict[str, Any]:
    if "score" in prediction:
        return {"score": prediction["score"]}
    return {
        "label": prediction["label"],
        "probabilities": dict(zip(task.labels, prediction["probabilities"], strict=True)),
    }


def _row_columns(tasks: Mapping[str, Task], found: Annotated) -> Iterator[str]:
    """The columns of a table, the same for all of its rows, whichever heads fit a row's types of arguments."""
    if isinstance(found.unit.content, Document):
        yield from ("mentions", "relations")
        return
    kinds = {Kind.RELATION} if isinstance(found.unit.content, RelationExample) else {Kind.SIMILARITY, Kind.INFERENCE}
    for name, task in tasks.items():
        if task.kind in kinds:
            yield name
            if task.labels:
                yield f"{name}.probabilities"


def _row_values(tasks: Mapping[str, Task], found: Annotated) -> dict[str, Any]:
    if isinstance(found.unit.content, Document):
        return _document_json(found)
    values: dict[str, Any] = {}
    for name, prediction in found.predictions.items():
        one = _class_or_score(tasks[name], prediction)
        values[name] = one.get("score", one.get("label"))
        if "probabilities" in one:
            values[f"{name}.probabilities"] = one["probabilities"]
    return values


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _one_line(text: str) -> str:
    return _BLANK.sub(" ", text)


def _one_word(label: str) -> str:
    return _BLANK.sub("_", label)


def _parts(root: Element) -> Iterator[tuple[Element, int]]:
    """The elements that hold text, with the offset of each."""
    for passage in root.iterfind("passage"):
        for part in [passage] if passage.find("text") is not None else passage.findall("sentence") or [passage]:
            offset = part.find("offset")
            assert offset is not None
            yield part, int("".join(map(str, offset.itertext())))


def _annotation(number: int, mention: FoundMention, text: str) -> Element:
    element = etree.Element("annotation", id=f"T{number}")
    infons = {"type": mention.label}
    if mention.concepts:
        infons["identifier"] = "|".join(mention.concepts)
    if mention.score is not None:
        infons |= {"score": f"{mention.score:.6f}", "task": mention.task or ""}
    _add_infons(element, infons)
    etree.SubElement(element, "location", offset=str(mention.start), length=str(mention.end - mention.start))
    etree.SubElement(element, "text").text = text
    return element


def _relation(number: int, relation: FoundRelation, type_: str, nodes: Sequence[str]) -> Element:
    element = etree.Element("relation", id=f"R{number}")
    infons = {"type": type_, "score": f"{relation.probabilities[relation.label]:.6f}", "task": relation.task}
    _add_infons(element, infons)
    for node in nodes:
        etree.SubElement(element, "node", refid=node, role="")
    return element


def _add_infons(element: Element, infons: Mapping[str, str]) -> None:
    for key, value in infons.items():
        etree.SubElement(element, "infon", key=key).text = value
