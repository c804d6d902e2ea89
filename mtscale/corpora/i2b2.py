r"""i2b2/VA 2010 (Uzuner et al. 2011): clinical records with concepts and the relations between them.

    DOC.txt   one tokenized sentence a line
    DOC.con   c="invented fever" 3:3 3:4||t="problem"
    DOC.rel   c="fictamycin" 4:0 4:0||r="TrAP"||c="the invented fever" 4:4 4:6

Positions are LINE:TOKEN, lines from 1, tokens from 0, the last one included; a concept's text is written in lower case.
Tokens stand between blanks. On a line that begins with blanks they are counted from an empty token 0 (as in BLUE), or
from the first word where only that gives the concept's text.

The paths of a split are searched with all their subfolders, whatever these are called (``concept``, ``concepts``,
``beth``, ``partners``), and files belong together by name. Records in a folder ``unannotated`` are left out. Where
the paths hold no text at all, as the test set is handed out, it is taken from a folder ``test_data`` beside them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Mention
from mtscale.corpora.clinical_files import lines_of, text_of
from mtscale.corpora.example import Example, GoldItem, RelationExample, Span
from mtscale.corpora.lines import Line
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

CONCEPT_TYPES = ("problem", "treatment", "test")
# The annotation guideline's relations: of treatments with problems, of tests with problems, of problems.
RELATIONS = ("TrIP", "TrWP", "TrCP", "TrAP", "TrNAP", "TeRP", "TeCP", "PIP")
_RELATED_TYPES = (("problem", "treatment"), ("problem", "test"), ("problem", "problem"))

# A concept's text may hold quotes: it ends where a position follows.
_PLACE = r'c="(.*)" ([0-9]{1,9}):([0-9]{1,9}) ([0-9]{1,9}):([0-9]{1,9})'
_CONCEPT = re.compile(rf'{_PLACE}\|\|t="([^"]*)"')
_RELATION = re.compile(rf'{_PLACE}\|\|r="([^"]*)"\|\|{_PLACE}')
_WORD = re.compile(r"\S+")
_UNANNOTATED, _TEST_TEXTS = "unannotated", "test_data"


class Concept(NamedTuple):
    """A concept at document offsets, and the position LINE:FIRST-LAST that the corpus gives."""

    start: int
    end: int
    type: str
    line: int
    first: int
    last: int

    @property
    def position(self) -> str:
        """Line and tokens, as in example ids."""
        return f"{self.line}:{self.first}-{self.last}"


class Stated(NamedTuple):
    """A relation between two concepts, the first one in the text first."""

    label: str
    first: Concept
    second: Concept


@dataclass(frozen=True, slots=True)
class Record(Document):
    """A record, whose sentences are its lines; ``words`` are the document offsets of the words of each line."""

    words: tuple[tuple[tuple[int, int], ...], ...] = ()
    concepts: tuple[Concept, ...] = ()
    stated: tuple[Stated, ...] = ()

    def line(self, number: int) -> tuple[int, int]:
        """The offsets of a line that has words, numbers from 1, without blanks at its ends."""
        words = self.words[number - 1]
        return words[0][0], words[-1][1]

    def sentences(self) -> list[tuple[int, int]]:
        """The offsets of the lines that are not blank."""
        return [self.line(number) for number, words in enumerate(self.words, start=1) if words]


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of a relation task (``relation_examples``) or a tagging task (words are the corpus' own tokens).

    Raises:
        ConfigError: the task is of another kind, or a relation task without ``negative``.
        DataError: as ``read_records``.
    """
    if task.kind is Kind.TAGGING:
        examples = annotated.tagged_examples(task, read_records(paths, with_relations=False))
        return (replace(one, words=tuple(_words(one.text, one.offset))) for one in examples)
    negative = _negative(task)
    records = read_records(paths, with_relations=True)
    return (example for record in records for example in relation_examples(task, negative, record))


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The gold of a relation or tagging task, with the relations that are no candidates.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    if task.kind is Kind.TAGGING:
        return annotated.tagging_gold(task, read_records(paths, with_relations=False))
    negative = _negative(task)
    records = read_records(paths, with_relations=True)
    return (item for record in records for item in _relation_gold(task, negative, record))


def relation_examples(task: Task, negative: str, record: Record) -> Iterator[RelationExample]:
    """One example for each two concepts of a line whose types a relation can join, in text order.

    These are a problem with a treatment, a test or another problem. (BLUE also writes pairs of other types; all of
    those are negative.) Of concepts at one place the first in the file is taken. The id is ``DOC.L:A-B.L:A-B``, with
    lines and tokens as the corpus counts them.
    """
    labels = _labels(task, record)
    for one, other in _candidates(record):
        start, end = record.line(one.line)
        yield RelationExample(
            id=_pair_id(record, one, other),
            document=record.id,
            text=record.text[start:end],
            offset=start,
            arguments=(Span(one.start, one.end, one.type), Span(other.start, other.end, other.type)),
            labels=labels.get((one, other), (negative,)),
        )


def read_records(paths: Sequence[Path], *, with_relations: bool) -> Iterator[Record]:
    """Read records one at a time, in the order of their names.

    Raises:
        DataError: a record occurs twice or lacks one of its files, or a file is malformed, with file and line.
    """
    concepts, texts = _files(paths, ".con"), _files(paths, ".txt")
    if not concepts:
        raise DataError(f"{', '.join(map(str, paths))}: expected files *.con in these folders, found none")
    if not texts:
        beside = _files(sorted({path.parent / _TEST_TEXTS for path in paths}), ".txt")
        texts = {name: path for name, path in beside.items() if name in concepts}
    _match(concepts, texts, ".txt")
    _match(texts, concepts, ".con")
    relations = _files(paths, ".rel") if with_relations else {}
    if with_relations:
        _match(concepts, relations, ".rel")
        _match(relations, concepts, ".con")
    for name in sorted(concepts):
        yield _record(name, texts[name], concepts[name], relations.get(name))


def _negative(task: Task) -> str:
    if task.kind is not Kind.RELATION:
        raise ConfigError(
            f"task {task.name}: format {task.format} gives tagging and relation tasks, not {task.kind.value}; "
            "change the task's kind or format"
        )
    if task.negative is None:
        raise ConfigError(f"task {task.name}: a relation task needs `negative`, the label of unrelated pairs; give it")
    return task.negative


def _relation_gold(task: Task, negative: str, record: Record) -> Iterator[GoldItem]:
    labels = _labels(task, record)
    for pair in dict.fromkeys([*_candidates(record), *labels]):
        yield GoldItem(record.id, _pair_id(record, *pair), labels.get(pair, (negative,)))


def _labels(task: Task, record: Record) -> dict[tuple[Concept, Concept], tuple[str, ...]]:
    """The task's labels of the related pairs, also of those that are no candidates."""
    found: dict[tuple[Concept, Concept], set[str]] = defaultdict(set)
    for label, first, second in record.stated:
        found[first, second].add(label)
    labels = {pair: tuple(label for label in task.positives if label in stated) for pair, stated in found.items()}
    return {pair: kept for pair, kept in labels.items() if kept}


def _candidates(record: Record) -> Iterator[tuple[Concept, Concept]]:
    by_line: dict[int, dict[tuple[int, int], Concept]] = defaultdict(dict)
    for concept in record.concepts:
        by_line[concept.line].setdefault((concept.start, concept.end), concept)
    for line in sorted(by_line):
        for one, other in combinations(sorted(by_line[line].values()), 2):
            if (one.type, other.type) in _RELATED_TYPES or (other.type, one.type) in _RELATED_TYPES:
                yield one, other


def _pair_id(record: Record, one: Concept, other: Concept) -> str:
    return f"{record.id}.{one.position}.{other.position}"


def _files(folders: Iterable[Path], suffix: str) -> dict[str, Path]:
    """The files with a suffix in folders and their subfolders, by the record's name."""
    files: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob(f"*{suffix}")):
            # Names that begin with a dot are the file system's own (macOS leaves "._DOC.txt" beside DOC.txt).
            if path.name.startswith(".") or _UNANNOTATED in path.relative_to(folder).parts:
                continue
            if not path.stem.isprintable():
                raise DataError(
                    f"{folder}: expected names of printable characters, found others in the name of a {suffix} file; "
                    "rename it"
                )
            if path.stem in files:
                raise DataError(f"{path}: record {path.stem} has a {suffix} file already at {files[path.stem]}")
            files[path.stem] = path
    return files


def _match(these: Mapping[str, Path], others: Mapping[str, Path], suffix: str) -> None:
    alone = sorted(these.keys() - others.keys())
    if alone:
        raise DataError(
            f"{these[alone[0]]}: expected a file {alone[0]}{suffix} for this record, found none in the task's folders "
            f"({len(alone)} such records in all); add them"
        )


def _record(name: str, text_path: Path, concept_path: Path, relation_path: Path | None) -> Record:
    text = text_of(text_path)
    words = []
    start = 0
    for line in text.split("\n"):
        words.append(tuple(_words(line, start)))
        start += len(line) + 1
    reader = _PlaceReader(text, words)
    concepts = _concepts(concept_path, reader)
    by_place: dict[tuple[int, int], Concept] = {}
    for concept in concepts:
        by_place.setdefault((concept.start, concept.end), concept)
    stated = [_stated(line, reader, by_place) for line in _filled(relation_path)] if relation_path else []
    return Record(
        id=name,
        text=text,
        title_end=0,
        mentions=tuple(Mention(concept.start, concept.end, concept.type, ()) for concept in concepts),
        relations=(),
        words=tuple(words),
        concepts=concepts,
        stated=tuple(stated),
    )


def _words(text: str, offset: int) -> list[tuple[int, int]]:
    return [(offset + word.start(), offset + word.end()) for word in _WORD.finditer(text)]


def _filled(path: Path) -> Iterator[Line]:
    return (line for line in lines_of(path) if line.text.strip())


def _concepts(path: Path, reader: _PlaceReader) -> tuple[Concept, ...]:
    """The concepts of a file; one that it gives twice is one."""
    concepts: dict[Concept, None] = {}
    places: dict[str, tuple[int, int]] = {}
    for line in _filled(path):
        concept = _concept(line, reader)
        place = (concept.start, concept.end)
        # Tokens of a line that begins with blanks may be counted in two ways, but not so that ids of pairs meet.
        if places.setdefault(concept.position, place) != place:
            raise line.error("expected a position that names one place, found one that has named another place before")
        concepts[concept] = None
    return tuple(concepts)


def _concept(line: Line, reader: _PlaceReader) -> Concept:
    match = _CONCEPT.fullmatch(line.text.strip())
    if match is None:
        raise line.error('expected a concept, c="TEXT" LINE:TOKEN LINE:TOKEN||t="TYPE", found something else')
    if match[6] not in CONCEPT_TYPES:
        raise line.error(f"expected one of the types {', '.join(CONCEPT_TYPES)}, found another")
    start, end = reader.offsets(line, *match.groups()[:5])
    return Concept(start, end, match[6], int(match[2]), int(match[3]), int(match[5]))


def _stated(line: Line, reader: _PlaceReader, concepts: Mapping[tuple[int, int], Concept]) -> Stated:
    match = _RELATION.fullmatch(line.text.strip())
    if match is None:
        raise line.error('expected a relation, CONCEPT||r="RELATION"||CONCEPT, found something else')
    if match[6] not in RELATIONS:
        raise line.error(f"expected one of the relations {', '.join(RELATIONS)}, found another")
    places = [reader.offsets(line, *groups) for groups in (match.groups()[:5], match.groups()[6:])]
    if not all(place in concepts for place in places):
        raise line.error("expected a relation between two concepts of the .con file, found a place that has none there")
    one, other = sorted(concepts[place] for place in places)
    return Stated(match[6], one, other)


class _PlaceReader(NamedTuple):
    """Turns positions in lines and tokens into offsets."""

    text: str
    words: Sequence[Sequence[tuple[int, int]]]

    def offsets(self, line: Line, concept: str, row: str, first: str, last_row: str, last: str) -> tuple[int, int]:
        """The offsets of the tokens FIRST to LAST of a row, whose text has to be the concept's.

        Raises:
            DataError: there are no such tokens, or their text is another.
        """
        if row != last_row or not 1 <= int(row) <= len(self.words):
            raise line.error(
                f"expected a concept on one of the text's {len(self.words)} lines, found lines {row} and {last_row}"
            )
        words = self.words[int(row) - 1]
        start = words[0][0] if words else 0
        begins_blank = start > 0 and self.text[start - 1] != "\n"
        for empty_tokens in (1, 0) if begins_blank else (0,):
            one, other = int(first) - empty_tokens, int(last) - empty_tokens
            if 0 <= one <= other < len(words):
                start, end = words[one][0], words[other][1]
                if _same_text(self.text[start:end], concept):
                    return start, end
        raise line.error(
            f"the text at {row}:{first} to {row}:{last} is not the concept's text, or line {row} has no such tokens; "
            "lines count from 1, tokens from 0"
        )


def _same_text(one: str, other: str) -> bool:
    return one.lower().split() == other.lower().split()
