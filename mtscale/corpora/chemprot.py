"""ChemProt of BioCreative VI (Krallinger et al. 2017): relations between chemicals and genes in PubMed abstracts.

A split is a folder of tab-separated files without header, which are found by the words in their names:

    *abstracts*.tsv      12345<TAB>Title<TAB>Abstract
    *entities*.tsv       12345<TAB>T1<TAB>CHEMICAL<TAB>0<TAB>8<TAB>Naloxone
    *gold_standard*.tsv  12345<TAB>CPR:4<TAB>Arg1:T1<TAB>Arg2:T20

Offsets are half-open and count characters of title, one blank and abstract. Arg1 is a chemical and Arg2 a gene; the
types GENE-Y and GENE-N (with and without an entry in a database) are both GENE here. The gold standard holds the five
groups of relations that the shared task evaluated; the file ``*relations*.tsv`` with all groups is not read.

The candidates of a relation task are the pairs of a chemical and a gene in one sentence, whether they overlap or not,
with ``PMID.Tchemical.Tgene`` as id. A related pair whose mentions share no sentence is no candidate, but in the gold.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Mention, Relation
from mtscale.corpora.example import Example, GoldItem, RelationExample, Span
from mtscale.corpora.lines import Line, numbered_lines
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

ARGUMENTS = ("CHEMICAL", "GENE")
TYPES = {"CHEMICAL": "CHEMICAL", "GENE-Y": "GENE", "GENE-N": "GENE"}
GROUPS = ("CPR:3", "CPR:4", "CPR:5", "CPR:6", "CPR:9")

_PMID = re.compile(r"[0-9]{1,10}")
_ENTITY = re.compile(r"T[0-9]{1,9}")
_OFFSET = re.compile(r"[0-9]{1,9}")
_GROUP = re.compile(r"CPR:[0-9]{1,2}")


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of a relation or tagging task in folders of the corpus.

    A pair without a relation of the task's labels is negative; one with several keeps them, in the labels' order.

    Raises:
        ConfigError: the task is of another kind, or its labels or arguments are not the corpus' own.
        DataError: as ``read_documents``.
    """
    _check(task)
    documents = read_documents(*paths)
    return _relation_examples(task, documents) if task.kind is Kind.RELATION else annotated.examples(task, documents)


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The gold of a relation or tagging task in folders of the corpus.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    _check(task)
    documents = read_documents(*paths)
    return _relation_gold(task, documents) if task.kind is Kind.RELATION else annotated.gold(task, documents)


def read_documents(*folders: Path) -> Iterator[Document]:
    """Read folders one document at a time; a mention's concept is its own id (``T1``), which relations name.

    The entities and relations of a folder are held in memory, as they need not be in the order of the abstracts.

    Raises:
        DataError: a file is missing, there are several of one role, or one is malformed, with file and line.
    """
    seen: set[str] = set()
    for folder in folders:
        entities = _read_entities(_file(folder, "entities"))
        relations = _read_relations(_file(folder, "gold_standard"), entities)
        abstracts = _file(folder, "abstracts")
        before = len(seen)
        for line in numbered_lines(abstracts):
            pmid, title, abstract = _columns(line, 3)
            if pmid in seen:
                raise line.error(f"document {pmid} occurs a second time; ids must be unique in a split")
            seen.add(pmid)
            text = f"{title} {abstract}"
            mentions = tuple(_mention(entity, text) for entity in entities.pop(pmid, {}).values())
            yield Document(pmid, text, len(title), mentions, tuple(relations.pop(pmid, {})))
        if len(seen) == before:
            raise DataError(f"{abstracts}: expected at least one document, found an empty file")
        for left in entities.values():
            line = next(iter(left.values())).line
            raise line.error(f"expected an entity of a document in {abstracts.name}, found one of another")


class _Entity(NamedTuple):
    """A row of the entities file, not yet laid on its text."""

    line: Line
    id: str
    type: str
    start: int
    end: int
    text: str


_Entities = dict[str, dict[str, _Entity]]


def _file(folder: Path, role: str) -> Path:
    """The one file of a role; the authors' and the organisers' names both hold the role's word."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with the files of a split, found none")
    found = sorted(path for path in folder.glob(f"*{role}*.tsv") if not path.name.startswith("."))
    if len(found) != 1:
        raise DataError(
            f"{folder}: expected one file *{role}*.tsv, found {', '.join(path.name for path in found) or 'none'}; "
            "keep one of them there"
        )
    return found[0]


def _columns(line: Line, count: int) -> list[str]:
    columns = line.text.split("\t")
    if len(columns) != count:
        raise line.error(f"expected {count} columns separated by tabs, found {len(columns)}")
    if not _PMID.fullmatch(columns[0]):
        raise line.error("expected a PubMed id in column 1, up to 10 digits, found something else")
    return columns


def _read_entities(path: Path) -> _Entities:
    entities: _Entities = defaultdict(dict)
    for line in numbered_lines(path):
        pmid, id_, type_, start, end, text = _columns(line, 6)
        if not _ENTITY.fullmatch(id_):
            raise line.error("expected an entity's id in column 2, T and a number, found something else")
        if id_ in entities[pmid]:
            raise line.error(f"entity {id_} of document {pmid} occurs a second time; ids must be unique")
        if type_ not in TYPES:
            raise line.error(f"expected one of the types {', '.join(TYPES)} in column 3, found another")
        if not (_OFFSET.fullmatch(start) and _OFFSET.fullmatch(end)):
            raise line.error("expected whole numbers as offsets in columns 4 and 5, found something else")
        entities[pmid][id_] = _Entity(line, id_, TYPES[type_], int(start), int(end), text)
    return entities


def _mention(entity: _Entity, text: str) -> Mention:
    start, end = entity.start, entity.end
    if not start < end <= len(text):
        raise entity.line.error(f"expected offsets 0 <= start < end <= {len(text)}, found {start} and {end}")
    if text[start:end] != entity.text:
        raise entity.line.error(
            f"the text at {start}-{end} is not the entity's text (column 6); "
            "offsets must count characters of title + one blank + abstract"
        )
    return Mention(start, end, entity.type, (entity.id,))


def _read_relations(path: Path, entities: _Entities) -> dict[str, dict[Relation, None]]:
    """The relations by document, in the file's order."""
    relations: dict[str, dict[Relation, None]] = defaultdict(dict)
    for line in numbered_lines(path):
        pmid, group, first, second = _columns(line, 4)
        if not _GROUP.fullmatch(group):
            raise line.error("expected a group of relations in column 2, CPR: and a number, found something else")
        known = entities.get(pmid, {})
        relation = Relation(
            group,
            _argument(line, known, "Arg1:", first, ARGUMENTS[0]),
            _argument(line, known, "Arg2:", second, ARGUMENTS[1]),
        )
        if relation in relations[pmid]:
            raise line.error("this relation has occurred before; give each only once")
        relations[pmid][relation] = None
    return relations


def _argument(line: Line, known: dict[str, _Entity], prefix: str, cell: str, type_: str) -> str:
    id_ = cell.removeprefix(prefix)
    if not cell.startswith(prefix) or not _ENTITY.fullmatch(id_):
        raise line.error(f"expected an argument like {prefix}T1, found something else")
    if id_ not in known:
        raise line.error(f"expected an entity of the document as {prefix[:-1]}, found {id_}, which it does not have")
    if known[id_].type != type_:
        raise line.error(f"expected a {type_} as {prefix[:-1]}, found {id_}, a {known[id_].type}")
    return id_


class _Pair(NamedTuple):
    """A candidate: a chemical and a gene, with the sentence that holds both and its offset."""

    text: str
    offset: int
    chemical: Mention
    gene: Mention


def _relation_examples(task: Task, documents: Iterable[Document]) -> Iterator[RelationExample]:
    for document in documents:
        related = _related(task, document)
        for id_, pair in _candidates(document).items():
            chemical, gene = (Span(one.start, one.end, one.type) for one in (pair.chemical, pair.gene))
            yield RelationExample(
                id=id_,
                document=document.id,
                text=pair.text,
                offset=pair.offset,
                arguments=(chemical, gene),
                labels=related.get(id_, _unrelated(task)),
            )


def _relation_gold(task: Task, documents: Iterable[Document]) -> Iterator[GoldItem]:
    """The labels of all candidates, then those of the related pairs that are none."""
    for document in documents:
        labels = {**dict.fromkeys(_candidates(document), _unrelated(task)), **_related(task, document)}
        for id_, value in labels.items():
            yield GoldItem(document.id, id_, value)


def _candidates(document: Document) -> dict[str, _Pair]:
    """The candidates of a document by example id."""
    pairs: dict[str, _Pair] = {}
    for start, end in document.sentences():
        text, mentions = document.text[start:end], document.mentions_inside(start, end)
        chemicals, genes = ([one for one in mentions if one.type == type_] for type_ in ARGUMENTS)
        for chemical, gene in product(chemicals, genes):
            pairs[f"{document.id}.{chemical.concepts[0]}.{gene.concepts[0]}"] = _Pair(text, start, chemical, gene)
    return pairs


def _related(task: Task, document: Document) -> dict[str, tuple[str, ...]]:
    """The labels of the pairs that have a relation among the task's labels, by example id."""
    groups: dict[str, set[str]] = defaultdict(set)
    for relation in document.relations:
        if relation.type in task.positives:
            groups[f"{document.id}.{relation.first}.{relation.second}"].add(relation.type)
    return {id_: tuple(label for label in task.positives if label in found) for id_, found in groups.items()}


def _unrelated(task: Task) -> tuple[str, ...]:
    assert task.negative is not None
    return (task.negative,)


def _check(task: Task) -> None:
    if task.kind is Kind.TAGGING and not set(task.labels) <= set(ARGUMENTS):
        raise ConfigError(
            f"task {task.name}: expected labels among {', '.join(ARGUMENTS)}, the types that format {task.format} has, "
            "found others; correct `labels`"
        )
    if task.kind is Kind.RELATION and not (
        task.arguments == ARGUMENTS
        and task.negative is not None
        and set(task.positives) <= set(GROUPS)
        and task.relation is None
        and task.candidates == "all"
    ):
        raise ConfigError(
            f"task {task.name}: a relation task of format {task.format} needs `arguments` = {list(ARGUMENTS)}, a "
            f"`negative` label, other labels among {', '.join(GROUPS)}, and neither `relation` nor `candidates`; "
            "correct these"
        )
