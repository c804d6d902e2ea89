"""The files that BLUE prepared from its corpora (Peng, Yan and Lu 2019, arXiv:1906.05474): the format "blue".

All are written by Python's csv module with tabs: a cell that holds a quote or a tab stands in quotes, with the quotes
inside it doubled. The task's kind says which of them it is.

tagging: no header; token, document (first token of a sentence; else ``-``), character offset in the document, and
    B, I or O (or B-Chemical, I-Chemical); a blank line after each sentence. The document's text is rebuilt from the
    tokens at their offsets, with blanks between. A mention is B and the I directly after it, over the end of a
    sentence too: such a mention is in no example, but in the gold. An I that follows no mention is a piece of a
    discontinuous one, or what a later mention left of an earlier one. It is a mention of its own, in the gold too, as
    in ``conlleval`` and in how predicted tags are read: the file does not say what it belongs to, and a piece that were
    in no gold would count against the model that finds it. In ShARe/CLEF this makes more mentions than B tags.
relation: columns index, sentence, label, the arguments masked (``@CHEMICAL$``). A label may have a prefix that the
    task's lacks: DDI-false is false. A pair with two relations stands in two rows, and is one example with both. Its
    document is read from the index: PMID.T1.T2, DOCUMENT.concept.concept, DDI-DrugBank.d1.s0.p0.
inference (MedNLI): columns index, sentence1, sentence2, label in any order. Without a header the column that holds
    nothing but labels is the label; the others are the index and the sentences, in this order.
similarity (MedSTS, BIOSSES): a header and at least 9 columns, the last three of them first sentence, second sentence
    and score; the index is found by name, or is the row's number.

Column names may be changed by the task's ``columns``, as in rows.py. In a recipe, with the files under the data root:

    [[tasks]]
    name = "blue-ddi"
    kind = "relation"
    format = "blue"
    files = { train = "ddi2013/train.tsv", dev = "ddi2013/dev.tsv", test = "ddi2013/test.tsv" }
    labels = ["advise", "effect", "int", "mechanism", "false"]
    negative = "false"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import rows, tables
from mtscale.corpora.example import Example, GoldItem, Span, TaggedExample
from mtscale.corpora.lines import Line, numbered_lines
from mtscale.corpora.rows import Row
from mtscale.errors import ConfigError, DataError
from mtscale.metrics.spans import decode_iob2
from mtscale.tasks import Kind, Task

SAME_SENTENCE = "-"
# Far over any line of a report; it keeps a wrong offset from becoming gigabytes of blanks.
MAX_GAP = 10_000
SIMILARITY_COLUMNS = 9

_TAB = "\t"
_INFERENCE_ROLES = ("index", "sentence1", "sentence2", "label")
_OFFSET = re.compile(r"[0-9]{1,9}")
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
# Only the ids of DDI's documents have a dot of their own.
_DOCUMENT = re.compile(r"DDI-[^.]+\.d[0-9]+(?=\.s[0-9]+\.p[0-9]+$)|[^.]+")


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
    """The examples of a task of any kind; sentences to tag have the id ``<document>.s<number>``, numbers from 0.

    Raises:
        ConfigError: the task's ``columns`` do not fit its kind.
        DataError: a file is empty or malformed, with file and line.
    """
    _check_columns(task)
    if task.kind is Kind.TAGGING:
        return _tagged_examples(task, paths)
    rows_of = {
        Kind.RELATION: _relation_rows,
        Kind.INFERENCE: _inference_rows,
        Kind.SIMILARITY: _similarity_rows,
    }[task.kind]
    return rows.examples(task, lambda: tables.all_rows(paths, lambda path: rows_of(task, path)))


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The scores, classes or relations by example id, or the mentions by document.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    _check_columns(task)
    if task.kind is Kind.TAGGING:
        documents = _documents(task, paths)
        return (GoldItem(one.id, one.id, frozenset(span for _, span in one.mentions())) for one in documents)
    return rows.gold(read_examples(task, paths))


def _check_columns(task: Task) -> None:
    if task.kind is not Kind.TAGGING:
        rows.check_columns(task)
    elif task.columns:
        raise ConfigError(
            f"task {task.name}: expected no columns, as BLUE's tagged files have no header, found "
            f"{', '.join(task.columns)}; format conll lets them be chosen"
        )


class _Word(NamedTuple):
    line: Line
    document: str
    text: str
    start: int
    tag: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class _Document(NamedTuple):
    id: str
    sentences: list[list[_Word]]

    def mentions(self) -> Iterator[tuple[int | None, Span]]:
        """The mentions, each with the number of its sentence, or None if it is in more than one."""
        words = [(number, word) for number, sentence in enumerate(self.sentences) for word in sentence]
        for first, after, label in decode_iob2([word.tag for _, word in words]):
            (sentence, start), (last_sentence, end) = words[first], words[after - 1]
            yield sentence if sentence == last_sentence else None, Span(start.start, end.end, label)


def _tagged_examples(task: Task, paths: Sequence[Path]) -> Iterator[TaggedExample]:
    for document in _documents(task, paths):
        spans: list[list[Span]] = [[] for _ in document.sentences]
        for sentence, span in document.mentions():
            if sentence is not None:
                spans[sentence].append(span)
        for number, words in enumerate(document.sentences):
            yield TaggedExample(
                id=f"{document.id}.s{number}",
                document=document.id,
                text=_text(words),
                offset=words[0].start,
                spans=tuple(spans[number]),
                words=tuple((word.start, word.end) for word in words),
            )


def _text(words: list[_Word]) -> str:
    """The text from the first word to the last, blanks where the file has nothing."""
    parts = [words[0].text]
    for before, word in pairwise(words):
        parts += [" " * (word.start - before.end), word.text]
    return "".join(parts)


def _documents(task: Task, paths: Sequence[Path]) -> Iterator[_Document]:
    """The documents of all files, one at a time."""
    seen: set[str] = set()
    for path in paths:
        empty = True
        for identifier, group in groupby(_sentences(task, path), key=lambda words: words[0].document):
            empty = False
            sentences = list(group)
            first = sentences[0][0].line
            if identifier in seen:
                raise first.error("this document has occurred before; its sentences must stand together, once a split")
            seen.add(identifier)
            words = [word for sentence in sentences for word in sentence]
            for before, word in pairwise(words):
                if word.start < before.end:
                    raise word.line.error(
                        f"expected an offset of at least {before.end}, where the token before ends, found {word.start}"
                    )
            yield _Document(identifier, sentences)
        if empty:
            raise DataError(f"{path}: expected at least one sentence, found an empty file")


def _sentences(task: Task, path: Path) -> Iterator[list[_Word]]:
    for blank, lines in groupby(numbered_lines(path), key=lambda line: not line.text.strip()):
        if blank:
            continue
        words = [_word(task, line) for line in lines]
        if words[0].document == SAME_SENTENCE:
            raise words[0].line.error(f"expected the document's id at a sentence's first token, found {SAME_SENTENCE}")
        for before, word in pairwise(words):
            if word.document != SAME_SENTENCE:
                raise word.line.error(
                    f"expected {SAME_SENTENCE} in the document column inside a sentence, found something else; "
                    "a blank line must stand between sentences"
                )
            if word.start - before.end > MAX_GAP:
                raise word.line.error(
                    f"expected an offset of at most {before.end + MAX_GAP}, {MAX_GAP} after the token before, "
                    f"found {word.start}"
                )
        yield words


def _word(task: Task, line: Line) -> _Word:
    cells = line.text.split(_TAB)
    if len(cells) != 4:
        raise line.error(f"expected 4 columns (token, document, offset, tag) separated by tabs, found {len(cells)}")
    token, document, offset, tag = cells
    quoted = _QUOTED.fullmatch(token)
    text = quoted[1].replace('""', '"') if quoted else token
    if not (text.strip() and document.strip() and document.isprintable()):
        raise line.error("expected a token and a document's id (or -), found an empty or unprintable one")
    if not _OFFSET.fullmatch(offset):
        raise line.error("expected a whole number of up to 9 digits as offset in column 3, found something else")
    return _Word(line, document, text, int(offset), _iob2(task, line, tag))


def _iob2(task: Task, line: Line, tag: str) -> str:
    """The tag with its label; bare ones are of the task's only label."""
    prefix, dash, label = tag.partition("-")
    if tag == "O" or (prefix in ("B", "I") and label in task.labels):
        return tag
    bare = len(task.labels) == 1
    if bare and prefix in ("B", "I") and not dash:
        return f"{tag}-{task.labels[0]}"
    expected = ["O", *(["B", "I"] if bare else []), *(f"{prefix}-{label}" for label in task.labels for prefix in "BI")]
    raise line.error(f"task {task.name}: expected one of the tags {', '.join(expected)}, found another")


def _relation_rows(task: Task, path: Path) -> Iterator[Row]:
    records = tables.csv_records(path, _TAB)
    line, names = tables.header_of(path, records)
    positions = rows.find_columns(task, line, names, ("sentence", "label"))
    before: dict[str, str] = {}
    for row in tables.rows_at(task, records, positions, len(names)):
        cells = {**row.cells, "label": _without_prefix(task, row.cells["label"])}
        if "index" in cells:
            document = _DOCUMENT.match(cells["index"])
            cells = {"document": document[0] if document else cells["index"], **cells}
            # Where the corpus states a relation twice, BLUE writes the same row twice.
            if cells == before:
                continue
            before = cells
        yield Row(row.line, cells)


def _without_prefix(task: Task, label: str) -> str:
    shorter = label.partition("-")[2]
    return shorter if label not in task.labels and shorter in task.labels else label


def _inference_rows(task: Task, path: Path) -> Iterator[Row]:
    records = tables.csv_records(path, _TAB)
    line, cells = tables.header_of(path, records)
    if any(task.columns.get(role, role) in cells for role in _INFERENCE_ROLES):
        positions = rows.find_columns(task, line, cells, rows.required_roles(task, cells))
        return tables.rows_at(task, records, positions, len(cells))
    label = _label_column(task, path)
    others = [role for role in _INFERENCE_ROLES if role != "label"]
    roles = [*others[:label], "label", *others[label:]]
    positions = {role: position for position, role in enumerate(roles)}
    return tables.rows_at(task, tables.csv_records(path, _TAB), positions, len(roles))


def _label_column(task: Task, path: Path) -> int:
    """The position of the one column of a file without a header that holds nothing but labels of the task."""
    count = len(_INFERENCE_ROLES)
    found = set(range(count))
    for line, cells in tables.csv_records(path, _TAB):
        if len(cells) != count:
            raise line.error(f"expected {count} columns (the first line names no known one), found {len(cells)}")
        found = {position for position in found if cells[position] in task.labels}
        if not found:
            raise line.error(
                f"task {task.name}: expected a header with the columns {', '.join(_INFERENCE_ROLES)}, or else a column "
                "of labels of the task, found up to here no column of labels only; add a header, or say with "
                "columns = {role = name} what it calls them"
            )
    if len(found) > 1:
        raise DataError(
            f"{path}: expected one column that holds nothing but labels of task {task.name}, found {len(found)}; "
            f"add a header with the columns {', '.join(_INFERENCE_ROLES)}"
        )
    return found.pop()


def _similarity_rows(task: Task, path: Path) -> Iterator[Row]:
    records = tables.csv_records(path, _TAB)
    line, names = tables.header_of(path, records)
    width = len(names)
    if width < SIMILARITY_COLUMNS:
        raise line.error(
            f"expected at least {SIMILARITY_COLUMNS} columns separated by tabs, found {width}; "
            "format tsv reads files with fewer"
        )
    if _is_number(names[-1]):
        raise line.error("expected a header, found a number as the last column's name")
    found = rows.find_columns(task, line, names, ())
    positions = {"sentence1": width - 3, "sentence2": width - 2, "score": width - 1, **found}
    yield from tables.rows_at(task, records, positions, width)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
