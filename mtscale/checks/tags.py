"""Tags that their scheme does not allow, in the one format that leaves the scheme to the file: CoNLL columns.

The reader takes such tags for mentions, as ``conlleval`` does, but a count of them tells a broken conversion. Where the
task names no scheme, the one with the fewest faults is taken: a whole file is in one scheme.

* IOB2: an I that no mention of its type stands before.
* IOB1: a B that does not follow a mention of its type.
* BIOES (BILOU): I or E where nothing of the type is open; B or I that is not continued.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mtscale.checks.findings import Finding, Severity
from mtscale.corpora import catalogue
from mtscale.corpora.example import SplitName
from mtscale.corpora.lines import numbered_lines
from mtscale.corpora.splits import source_split
from mtscale.tasks import Task

DOCUMENT_START = re.compile(r"-DOCSTART-(?:[ \t]|$)")
COMMENT = re.compile(r"# |#$")
OUTSIDE = ("O", "")

Tag = tuple[str, str]


def check_tags(task: Task, split: SplitName, data_root: Path | None) -> Iterator[Finding]:
    """The faulty tags of a split that its reader accepts; nothing for formats without tags.

    Raises:
        ConfigError, DataError: the files are not there.
    """
    if task.format != "conll" or source_split(task, split) != split:
        return
    paths = catalogue.corpus_files(task, split, data_root)
    faults = {scheme: tuple(_faults(scheme, task, paths)) for scheme in _schemes(task, paths)}
    scheme, places = min(faults.items(), key=lambda item: len(item[1]))
    if places:
        what = f"tags that {scheme} does not allow where they stand; read as conlleval does"
        yield Finding(Severity.WARNING, "tags", task.name, split, len(places), what, places)


def _schemes(task: Task, paths: Sequence[Path]) -> Sequence[str]:
    if task.scheme is not None:
        return (task.scheme,)
    prefixes = {prefix for path in paths for sentence in _sentences(task, path) for _, (prefix, _) in sentence}
    return ("BIOES",) if prefixes & set("ESLU") else ("IOB2", "IOB1")


def _faults(scheme: str, task: Task, paths: Iterable[Path]) -> Iterator[str]:
    """The places, ``<file>:<line>``, of the faulty tags."""
    for path in paths:
        for sentence in _sentences(task, path):
            tags = [OUTSIDE, *(tag for _, tag in sentence), OUTSIDE]
            for (line, tag), before, after in zip(sentence, tags, tags[2:], strict=False):
                if _is_faulty(scheme, before, tag, after):
                    yield f"{path.name}:{line}"


def _is_faulty(scheme: str, before: Tag, tag: Tag, after: Tag) -> bool:
    prefix, type_ = tag
    if scheme == "IOB1":
        return prefix == "B" and (before[0] == "O" or before[1] != type_)
    open_before = before[0] in "BI" and before[1] == type_
    if scheme == "IOB2":
        return prefix == "I" and not open_before
    continued = after[0] in "IEL" and after[1] == type_
    return (prefix in "IEL" and not open_before) or (prefix in "BI" and not continued)


def _sentences(task: Task, path: Path) -> Iterator[list[tuple[int, Tag]]]:
    """The tags of each sentence with their lines, of a file that the reader has accepted, cut as the reader cuts it."""
    column = int(task.columns.get("tag", "-1"))
    separator, width = "", 0
    sentence: list[tuple[int, Tag]] = []
    for line in numbered_lines(path):
        if not line.text.strip() or DOCUMENT_START.match(line.text):
            if sentence:
                yield sentence
            sentence = []
            continue
        cells = _cut(line.text, separator)
        if not sentence and COMMENT.match(line.text) and len(cells) != width:
            continue
        if not separator:
            separator = "\t" if "\t" in line.text else " "
            cells = _cut(line.text, separator)
            width = len(cells)
        prefix, _, type_ = cells[column].partition("-")
        sentence.append((line.number, (prefix, type_)))
    if sentence:
        yield sentence


def _cut(text: str, separator: str) -> list[str]:
    return text.split("\t") if separator == "\t" else [cell for cell in text.split(" ") if cell]
