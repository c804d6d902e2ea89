"""The tasks that files of one format give: kind, labels and columns, guessed from what is in them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from mtscale.corpora import bioc, brat, pubtator, table_columns
from mtscale.corpora.annotated import Document
from mtscale.corpora.example import SplitName
from mtscale.corpora.lines import numbered_lines
from mtscale.corpora.sniff import cells_of, head_lines, tag_column
from mtscale.errors import DataError
from mtscale.tasks import Access, Kind, Task

# The best known first: of two forms of one corpus with equally many splits the first is taken.
FORMATS = ("pubtator", "brat", "bioc", "blue", "conll", "jsonl", "tsv", "csv")
MAX_LABELS = 200

_DOCUMENTS = {"pubtator": pubtator.read_documents, "brat": brat.read_documents, "bioc": bioc.read_documents}
_NO_RELATION = ("none", "no relation", *map("none{}".format, range(MAX_LABELS)))
_NEGATIVES = {"false", "none", "no", "negative", "no_relation", "no relation", "norelation", "unrelated", "other", "0"}
_TYPE_OF_BARE_TAGS = "Entity"


class Source(NamedTuple):
    """Files of one format by split, relative to a folder, and how the splits they do not have are made."""

    folder: Path
    format: str
    files: Mapping[SplitName, tuple[str, ...]]
    unused: tuple[str, ...]
    folds: int | None = None
    dev_fraction: float | None = None

    def paths(self) -> list[list[Path]]:
        """The paths of each split."""
        return [[self.folder / name for name in names] for names in self.files.values()]


class Found(NamedTuple):
    """A task, and what is to be said of it: what was guessed and what is left to decide."""

    task: Task
    notes: tuple[str, ...]


class _TypedRelation(NamedTuple):
    """A relation's type and the types of its two arguments, in the order of the file."""

    type: str
    first: str
    second: str

    @property
    def pair(self) -> frozenset[str]:
        """The arguments' types in no order."""
        return frozenset((self.first, self.second))


def is_readable(path: Path, format_: str) -> bool:
    """Whether a file that looks like a format is one: a table must name columns that make a task."""
    if format_ not in table_columns.FORMATS:
        return True
    try:
        return bool(table_columns.kinds(table_columns.header(path, format_)))
    except DataError:  # any text with a comma in its first line may come here
        return False


def tasks_of(source: Source, name: str) -> Iterator[Found]:
    """The tasks of files of one format; ``name`` is that of the first one.

    Raises:
        DataError: a file is malformed or holds nothing annotated.
    """
    if source.format in _DOCUMENTS:
        return _document_tasks(source, name)
    if source.format in table_columns.FORMATS:
        return _table_tasks(source, name)
    return _tag_tasks(source, name)


def _task(source: Source, name: str, kind: Kind, **fields: Any) -> Task:
    return Task(
        name=name,
        kind=kind,
        domain="own",
        access=Access.DUA,
        corpus="",
        format=source.format,
        files={str(split): names for split, names in source.files.items()},
        folds=source.folds,
        dev_fraction=source.dev_fraction,
        **fields,
    )


def _document_tasks(source: Source, name: str) -> Iterator[Found]:
    read = _DOCUMENTS[source.format]
    types: Counter[str] = Counter()
    relations: Counter[_TypedRelation] = Counter()
    for document in chain.from_iterable(read(*paths) for paths in source.paths()):
        types.update(mention.type for mention in document.mentions)
        relations.update(_typed_relations(document))
    labels = _labels(source, types)
    yield Found(
        _task(source, name, Kind.TAGGING, labels=labels),
        (
            "kind: mentions are annotated",
            "labels: all types of mentions, the most frequent first; drop what you do not want",
        ),
    )
    if relations:
        yield _relation_task(source, f"{name}-relations", relations)


def _typed_relations(document: Document) -> Iterator[_TypedRelation]:
    types = {concept: mention.type for mention in document.mentions for concept in mention.concepts}
    for relation in document.relations:
        if relation.first in types and relation.second in types:
            yield _TypedRelation(relation.type, types[relation.first], types[relation.second])


def _relation_task(source: Source, name: str, relations: Counter[_TypedRelation]) -> Found:
    by_pair: Counter[frozenset[str]] = Counter()
    for relation, count in relations.items():
        by_pair[relation.pair] += count
    pair, _ = by_pair.most_common(1)[0]
    kinds: Counter[str] = Counter()
    orders: Counter[tuple[str, str]] = Counter()
    for relation, count in relations.items():
        if relation.pair == pair:
            kinds[relation.type] += count
            orders[relation.first, relation.second] += count
    labels = _labels(source, kinds)
    negative = next(one for one in _NO_RELATION if one not in labels)
    notes = ["kind: relations are annotated", "negative: the name given here to pairs without a relation"]
    for other, count in by_pair.most_common()[1:]:
        notes.append(
            f"not in this task: {count} relations of {' and '.join(sorted(other))}; they need one of their own"
        )
    arguments, _ = orders.most_common(1)[0]
    task = _task(source, name, Kind.RELATION, labels=(*labels, negative), negative=negative, arguments=arguments)
    return Found(task, tuple(notes))


def _tag_tasks(source: Source, name: str) -> Iterator[Found]:
    """Columns with tags. The layout is that of the first file's beginning."""
    column = tag_column(head_lines(source.paths()[0][0]))
    assert column is not None
    types: Counter[str] = Counter()
    for path in chain.from_iterable(source.paths()):
        types.update(_types(path, column))
    bare = set(types) == {""}
    labels = (
        (_TYPE_OF_BARE_TAGS,) if bare else _labels(source, Counter({type_: n for type_, n in types.items() if type_}))
    )
    notes = ["kind: a column has tags (B, I, O and the like)"]
    if bare:
        notes.append(f"labels: the tags name no type; {_TYPE_OF_BARE_TAGS!r} stands for it, choose another")
    columns = {}
    if source.format == "conll":
        columns = {"token": "0", "tag": str(column)}
        notes += [
            "columns: counted from 0",
            'scheme = "IOB2" (or IOB1, BIOES) refuses the tags of other schemes; not needed',
        ]
    yield Found(_task(source, name, Kind.TAGGING, labels=labels, columns=columns), tuple(notes))


def _types(path: Path, column: int) -> Iterator[str]:
    """The types in the tags of a file that begin a mention or go on with one; of bare tags, the empty one."""
    for line in numbered_lines(path):
        cells = cells_of(line.text)
        if len(cells) > column and not line.text.startswith("-DOCSTART-") and cells[column] != "O":
            yield cells[column].partition("-")[2]


def _table_tasks(source: Source, name: str) -> Iterator[Found]:
    first = source.paths()[0][0]
    names = table_columns.header(first, source.format)
    kinds = table_columns.kinds(names)
    for kind, columns in kinds.items():
        notes = ["kind: guessed from the names of the columns"]
        own = name if len(kinds) == 1 else f"{name}-{kind.value}"
        content = table_columns.content(source.format, source.paths(), columns)
        if not content.index_is_unique:
            notes.append(f"columns: {columns.pop('index')!r} looks like an index but is not unique, rows are numbered")
        named = {role: column for role, column in columns.items() if role != column}
        if kind is Kind.SIMILARITY:
            notes.append("score_range: whole numbers around the scores found; write those of the scale")
            score_range = (float(math.floor(content.low)), float(math.ceil(content.high)))
            yield Found(_task(source, own, kind, columns=named, score_range=score_range), tuple(notes))
            continue
        labels = _labels(source, content.labels)
        negative = None
        if kind is Kind.RELATION:
            negative, note = _negative(labels)
            notes.append(note)
        yield Found(_task(source, own, kind, columns=named, labels=labels, negative=negative), tuple(notes))


def _negative(labels: Sequence[str]) -> tuple[str, str]:
    for label in labels:
        if label.lower() in _NEGATIVES or label.lower().endswith("-false"):
            return label, "negative: by its name the class that means no relation"
    return labels[0], "negative: NOT KNOWN, the most frequent class stands for it; name the one that means no relation"


def _labels(source: Source, found: Counter[str]) -> tuple[str, ...]:
    """The labels, the most frequent first.

    Raises:
        DataError: there are none, or too many or too strange ones to be labels.
    """
    if not 0 < len(found) <= MAX_LABELS:
        raise DataError(
            f"{source.folder}: expected 1 to {MAX_LABELS} labels in the {source.format} files, found {len(found)}"
        )
    if not all(label.strip() and label.isprintable() for label in found):
        raise DataError(
            f"{source.folder}: expected labels of printable characters in the {source.format} files, found others"
        )
    return tuple(label for label, _ in sorted(found.items(), key=lambda item: (-item[1], item[0])))
