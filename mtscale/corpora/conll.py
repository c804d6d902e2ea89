"""Columns as in the CoNLL shared tasks: a token a line with its tag, an empty line after each sentence.

    -DOCSTART- (227508)

    Naloxone    NN    B-Chemical
    reverses    VBZ   O

Columns are separated by tabs, or by blanks where a file's first token line has no tab. The token stands in the first
and the tag in the last one, unless the task says where: ``columns = { token = "0", tag = "-1" }``, counted from 0, or
from the end below 0. Lines that begin with ``# `` before the first token of a sentence are comments, unless they have
as many columns as the tokens before. A ``-DOCSTART-`` line begins a document, named in parentheses or in the second
column; where there is none every sentence is a document, ``<file>.<line>``. A document's text is its tokens joined by
single blanks, across sentences too, and all offsets count its characters; the tokens are the words of the examples.

The schemes IOB1, IOB2, BIOES and BILOU differ in what they write, not in how it is read, so none has to be guessed:

* B, S and U begin a mention. I, E and L continue the one before if that is open and of their type, else they begin one.
* E, L, S and U close their mention; so do O and the end of the sentence.

Thus what a scheme forbids is still a mention (IOB2: an I after O), as in ``conlleval`` (Tjong Kim Sang and Buchholz
2000). A task's ``scheme`` refuses the tags of other schemes. A bare B, I, ... is of the task's only type. Mentions of
types that are not among the task's labels are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora.example import GoldItem, Span, TaggedExample
from mtscale.corpora.lines import Line, numbered_lines
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

PREFIXES = {None: "BIESLU", "IOB1": "BI", "IOB2": "BI", "BIOES": "BIESLU"}

_DOCUMENT_START = re.compile(r"-DOCSTART-(?:[ \t]|$)")
_IN_PARENTHESES = re.compile(r"\(([^()]*)\)")
# What stands in the columns of a -DOCSTART- line that names no document.
_PLACEHOLDERS = frozenset({"-X-", "X", "O", "0", "_", "-"})
_COLUMN = re.compile(r"-?[0-9]{1,4}")
_TAG = re.compile(r"([A-Z])(?:-(.+))?")


class Tag(NamedTuple):
    """The prefix and the entity type of a tag other than O."""

    prefix: str
    type: str


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[TaggedExample]:
    """The sentences of the files with their words and mentions, with id ``<document>.s<number>``, numbers from 0.

    Raises:
        ConfigError: the task is not tagging, or its columns or its scheme are none.
        DataError: a file is empty or malformed, with file and line.
    """
    return _examples(_Layout.of(task), paths)


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The mentions of the files by document.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    documents = groupby(read_examples(task, paths), key=lambda example: example.document)
    return (
        GoldItem(document, document, frozenset(span for sentence in sentences for span in sentence.spans))
        for document, sentences in documents
    )


def decode(tags: Iterable[Tag | None]) -> list[tuple[int, int, str]]:
    """The mentions in a sentence's tags (None is O) as (first word, word after the last, type), left to right."""
    mentions: list[tuple[int, int, str]] = []
    open_type = None
    for word, tag in enumerate(tags):
        if tag is None:
            open_type = None
            continue
        continues = tag.prefix in "IEL" and tag.type == open_type
        start = mentions.pop()[0] if continues else word
        mentions.append((start, word + 1, tag.type))
        open_type = tag.type if tag.prefix in "BI" else None
    return mentions


class _Token(NamedTuple):
    """A word and its tag; None is O."""

    word: str
    tag: Tag | None


class _Layout(NamedTuple):
    """What a task says of its files."""

    token: int
    tag: int
    prefixes: str
    labels: tuple[str, ...]

    @classmethod
    def of(cls, task: Task) -> _Layout:
        if task.kind is not Kind.TAGGING:
            raise ConfigError(
                f"task {task.name}: format {task.format} gives tagging tasks, not {task.kind.value}; "
                "change the task's kind or format"
            )
        columns = {"token": "0", "tag": "-1", **task.columns}
        if len(columns) > 2 or not all(map(_COLUMN.fullmatch, columns.values())):
            raise ConfigError(
                f'task {task.name}: expected whole numbers for the columns token and tag, as in {{ token = "0", '
                f'tag = "-1" }}, found something else; correct `columns`'
            )
        if task.scheme not in PREFIXES:
            raise ConfigError(
                f"task {task.name}: expected one of the schemes IOB1, IOB2 and BIOES, found another; "
                "leave `scheme` out to allow the tags of all"
            )
        return cls(int(columns["token"]), int(columns["tag"]), PREFIXES[task.scheme], task.labels)

    def parse(self, line: Line, tag: str) -> Tag | None:
        """The tag; None is O."""
        if tag == "O":
            return None
        match = _TAG.fullmatch(tag)
        if match is None or match[1] not in self.prefixes:
            raise line.error(
                f"expected a tag in column {self.tag}: O, or one of {', '.join(self.prefixes)} with or without - and "
                "an entity type, found something else; the task's `columns` say where tags stand, `scheme` which"
            )
        if match[2] is None and len(self.labels) != 1:
            raise line.error(
                f"expected a tag with an entity type (B-TYPE), as the task has {len(self.labels)} labels, found one "
                "without; give the task one label"
            )
        return Tag(match[1], match[2] or self.labels[0])


class _Cutter:
    """Cuts the lines of one file into columns, as many as its first token line has and separated as there."""

    def __init__(self, layout: _Layout) -> None:
        self.layout = layout
        self.separator: str | None = None
        self.width = 0

    def without_comments(self, block: list[Line]) -> list[Line]:
        first = 0
        while first < len(block) and self._is_comment(block[first]):
            first += 1
        return block[first:]

    def token(self, line: Line) -> _Token:
        if self.separator is None:
            self._learn(line)
        cells = self._cut(line)
        if len(cells) != self.width:
            names = {"\t": "tabs", " ": "blanks"}
            raise line.error(
                f"expected {self.width} columns separated by {names[self.separator or ' ']}, as in the file's first "
                f"token line, found {len(cells)}; an empty line must stand between sentences"
            )
        word = cells[self.layout.token]
        if not word:
            raise line.error(f"expected a token in column {self.layout.token}, found an empty one")
        return _Token(word, self.layout.parse(line, cells[self.layout.tag]))

    def _learn(self, line: Line) -> None:
        self.separator = "\t" if "\t" in line.text else " "
        self.width = len(self._cut(line))
        wanted = (self.layout.token, self.layout.tag)
        columns = {column % self.width for column in wanted if -self.width <= column < self.width}
        if len(columns) < 2:
            raise line.error(
                f"expected a token in column {self.layout.token} and its tag in column {self.layout.tag}, counted from "
                f"0, found {self.width} columns; the task's `columns` say where they stand"
            )

    def _cut(self, line: Line) -> list[str]:
        if self.separator == "\t":
            return line.text.split("\t")
        return [cell for cell in line.text.split(" ") if cell]

    def _is_comment(self, line: Line) -> bool:
        if not (line.text.startswith("# ") or line.text == "#"):
            return False
        return self.separator is None or len(self._cut(line)) != self.width


def _examples(layout: _Layout, paths: Sequence[Path]) -> Iterator[TaggedExample]:
    seen = _Seen(set(), set())
    for path in paths:
        empty = True
        for example in _file_examples(layout, path, seen):
            empty = False
            yield example
        if empty:
            raise DataError(f"{path}: expected at least one sentence, found none")


class _Seen(NamedTuple):
    """The documents so far: the names given, and the stems of the files whose sentences are named by their place.

    Names by place are not kept: they are unique in a file, and as many as its sentences.
    """

    names: set[str]
    stems: set[str]


def _file_examples(layout: _Layout, path: Path, seen: _Seen) -> Iterator[TaggedExample]:
    """The sentences of one file; ``seen`` grows."""
    others = frozenset(seen.stems)
    cutter = _Cutter(layout)
    begun = False
    document, number, offset = "", 0, 0
    for block in _blocks(path):
        first, *_ = block
        if is_document_start(first):
            begun = True
            document, number, offset = _new_document(first, name_of_document(first), seen), 0, 0
            continue
        lines = cutter.without_comments(block)
        if not lines:
            continue
        if not begun:
            document, number, offset = _by_place(lines[0]), 0, 0
            if not document.isprintable() or document in seen.names or path.stem in others:
                raise lines[0].error("this document's name has occurred before; names must be unique in a split")
            seen.stems.add(path.stem)
        example = _example(layout, [cutter.token(line) for line in lines], document, number, offset)
        yield example
        number, offset = number + 1, offset + len(example.text) + 1


def _blocks(path: Path) -> Iterator[list[Line]]:
    """Each -DOCSTART- line alone, and the lines of each sentence, comments included."""
    block: list[Line] = []
    for line in numbered_lines(path):
        begins = is_document_start(line)
        blank = not line.text.strip()
        if block and (begins or blank):
            yield block
            block = []
        if begins:
            yield [line]
        elif not blank:
            block.append(line)
    if block:
        yield block


def _example(layout: _Layout, tokens: list[_Token], document: str, number: int, offset: int) -> TaggedExample:
    words: list[tuple[int, int]] = []
    start = offset
    for token in tokens:
        words.append((start, start + len(token.word)))
        start += len(token.word) + 1
    spans = tuple(
        Span(words[first][0], words[after - 1][1], type_)
        for first, after, type_ in decode(token.tag for token in tokens)
        if type_ in layout.labels
    )
    text = " ".join(token.word for token in tokens)
    return TaggedExample(f"{document}.s{number}", document, text, offset, spans, tuple(words))


def is_document_start(line: Line) -> bool:
    """Whether a line begins a document."""
    return _DOCUMENT_START.match(line.text) is not None


def name_of_document(start: Line) -> str:
    """The id of the document that a -DOCSTART- line begins."""
    named = _IN_PARENTHESES.search(start.text)
    columns = start.text.split()
    if named is not None:
        return named[1].strip()
    return columns[1] if len(columns) > 1 and columns[1] not in _PLACEHOLDERS else _by_place(start)


def _by_place(line: Line) -> str:
    return f"{line.path.stem}.{line.number}"


def _new_document(line: Line, name: str, seen: _Seen) -> str:
    if not name or not name.isprintable():
        raise line.error("expected a document's name of printable characters, found another; change it")
    stem, _, number = name.rpartition(".")
    if name in seen.names or (stem in seen.stems and number.isdigit() and name != _by_place(line)):
        raise line.error("this document's name has occurred before; names must be unique in a split")
    seen.names.add(name)
    return name
