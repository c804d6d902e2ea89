r"""ShARe/CLEF eHealth 2013 Task 1 (Suominen et al. 2013): disorders in hospital reports.

A split is read from a folder of reports (REPORT.txt), a folder of gold and, where the split is not all of the reports,
a list of theirs, one name a line. Gold belongs to a report by its name and is either of

    REPORT.txt                  REPORT.txt||Disease_Disorder||C0000001||85||96||111||118
    REPORT.txt.knowtator.xml    see ``knowtator``

Offsets are half-open and count the characters of the report, line ends included. Every pair of them is a part of the
mention. So with the list of development reports that others have used, and one of the rest, made with ``grep -vf``:

    [[tasks]]
    name = "disorders"
    kind = "tagging"
    format = "shareclef"
    labels = ["Disease_Disorder"]
    files.train = ["reports", "gold", "training_docids.txt"]
    files.dev = ["reports", "gold", "devel_docids.txt"]
    files.test = ["test-reports", "test-gold"]

**Parts.** Parts with nothing but blanks between are one. A tag sequence cannot hold a mention that has gaps, so those
are in no example. In the gold they stand from the start of their first part to the end of their last: a prediction of
one part is wrong there, as it is for the task's own strict score, which asks for all the parts.

**Masks.** In the text of examples the marks of de-identification, ``[**...**]``, are "PATTERN" after blanks, and
``||||``, ``___`` and ``~~`` are blanks, all as long as they were: offsets stay those of the report. BLUE does the same.

**Sentences** end as in ``sentences``, at blank lines, after a line that ends in a colon and before an item of a list.
Other line breaks are blanks, since the lines of the reports are wrapped.

**Names.** The names of the reports, without ``.txt`` their ids, carry patients' numbers. They leave this reader as they
are; outside the corpus the reports are called otherwise (``naming``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import annotated
from mtscale.corpora.annotated import Document, Mention
from mtscale.corpora.clinical_files import lines_of, text_of
from mtscale.corpora.example import GoldItem, TaggedExample
from mtscale.corpora.knowtator import Annotation, read_annotations
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task

_SUFFIXES = (".xml", ".knowtator", ".pipe", ".txt")
_OFFSETS = re.compile(r"[0-9]{1,9}(?:\|\|[0-9]{1,9}\|\|[0-9]{1,9})*\|\|[0-9]{1,9}")
# A mark without its end reaches no further than the next one, so that the search stays linear.
_IDENTITY = re.compile(r"\[\*\*(?:(?!\[\*\*|\*\*\])[^\n])++\*\*\]")
_RULES = re.compile(r"\|{4}|___|~~")
_ITEM = re.compile(r"\s*(?:[-*#\u2022]|[0-9]{1,2}[.)])\s")


class Disorder(NamedTuple):
    """A mention: its type and its parts in text order, with more than blanks between them."""

    type: str
    parts: tuple[tuple[int, int], ...]


class Report(NamedTuple):
    """A report, its text with masks, and its mentions."""

    id: str
    text: str
    disorders: tuple[Disorder, ...]


def read_examples(task: Task, paths: Sequence[Path]) -> Iterator[TaggedExample]:
    """The sentences of a split with the mentions that have no gaps.

    Raises:
        ConfigError: the task is no tagging task, or its split has not two or three paths.
        DataError: as ``read_reports``.
    """
    _check(task, paths)
    return annotated.tagged_examples(task, (_document(report, gaps=False) for report in read_reports(*paths)))


def read_gold(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
    """The mentions of each report of a split.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    _check(task, paths)
    return annotated.tagging_gold(task, (_document(report, gaps=True) for report in read_reports(*paths)))


def read_reports(reports: Path, gold: Path, listed: Path | None = None) -> Iterator[Report]:
    """Read reports one at a time, in the order of their names; all of a folder, or those of a list.

    Raises:
        DataError: a report or its gold is missing or there twice, or a file is malformed, with file and line.
    """
    texts, golds = _files(reports, (".txt",)), _files(gold, (".txt", ".pipe", ".xml"))
    if listed is None:
        wanted = texts
        _same_reports(golds, reports, texts)
    else:
        wanted = {name: texts[name] for name in sorted(_names(listed, reports, texts))}
    _same_reports(wanted, gold, golds)
    if not wanted:
        raise DataError(f"{listed or reports}: expected reports, found none (files REPORT.txt, or names of them)")
    for name, path in wanted.items():
        text, found = text_of(path), golds[name]
        annotations = read_annotations(found) if found.suffix == ".xml" else _pipes(found, name)
        yield Report(name, _masked(text), tuple(dict.fromkeys(_disorder(text, one) for one in annotations)))


def _check(task: Task, paths: Sequence[Path]) -> None:
    if task.kind is not Kind.TAGGING:
        raise ConfigError(
            f"task {task.name}: format {task.format} gives tagging tasks, not {task.kind.value}; "
            "change the task's kind or format"
        )
    if len(paths) not in (2, 3):
        raise ConfigError(
            f"task {task.name}: format {task.format} reads a split from a folder of reports, a folder of gold and "
            f"perhaps a list of reports, found {len(paths)} paths; name two or three"
        )


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files with these suffixes directly in a folder, by the report's name, in order."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: expected a folder, found: {error.strerror}") from None
    files: dict[str, Path] = {}
    for path in paths:
        # Names that begin with a dot are the file system's own (macOS leaves "._REPORT.txt" beside REPORT.txt).
        if path.name.startswith(".") or path.suffix not in suffixes:
            continue
        name = _stem(path.name)
        if name in files:
            raise DataError(f"{path}: expected one file of this report, found two in its folder; remove one")
        files[name] = path
    return files


def _stem(name: str) -> str:
    """A report's name, from the name of its text or of its gold."""
    while name.endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    return name


def _same_reports(names: dict[str, Path], folder: Path, there: dict[str, Path]) -> None:
    missing = [name for name in names if name not in there]
    if missing:
        raise DataError(
            f"{folder}: expected a file here for each of {len(names)} reports, found none for {len(missing)}, first "
            f"that of {names[missing[0]]}; add them, or name the reports to be read in a list"
        )


def _names(listed: Path, reports: Path, texts: dict[str, Path]) -> Iterator[str]:
    for line in lines_of(listed):
        name = _stem(line.text.strip())
        if name and name not in texts:
            raise line.error(f"expected the name of a report in {reports}, found another")
        if name:
            yield name


def _pipes(path: Path, name: str) -> Iterator[Annotation]:
    for line in lines_of(path):
        if not line.text.strip():
            continue
        columns = line.text.strip().split("||", 3)
        if len(columns) != 4 or not columns[1] or not _OFFSETS.fullmatch(columns[3]):
            raise line.error(
                "expected REPORT.txt||TYPE||CONCEPT||START||END, and more pairs of offsets for more parts, found "
                "something else"
            )
        if _stem(columns[0]) != name:
            raise line.error("expected a mention of this report (column 1), found another report's name")
        offsets = [int(offset) for offset in columns[3].split("||")]
        yield Annotation(line, columns[1], tuple(zip(offsets[::2], offsets[1::2], strict=True)), "")


def _disorder(text: str, found: Annotation) -> Disorder:
    """A mention whose offsets have been checked against the report.

    Of the text that the file gives only letters and digits count: tools write blanks and the gaps in various ways.
    """
    for start, end in found.parts:
        if not start < end <= len(text):
            raise found.line.error(f"expected offsets 0 <= start < end <= {len(text)}, found {start} and {end}")
    if found.text and _letters(*(text[start:end] for start, end in found.parts)) != _letters(found.text):
        raise found.line.error(
            f"the text at {found.parts[0][0]}-{found.parts[-1][1]} is not the mention's text; offsets must count "
            "characters of the report, line ends included"
        )
    parts: list[tuple[int, int]] = []
    for start, end in sorted(found.parts):
        if parts and not text[parts[-1][1] : start].strip():
            parts[-1] = (parts[-1][0], max(parts[-1][1], end))
        else:
            parts.append((start, end))
    return Disorder(found.type, tuple(parts))


def _letters(*texts: str) -> list[str]:
    return sorted(character for text in texts for character in text.lower() if character.isalnum())


def _document(report: Report, *, gaps: bool) -> Document:
    mentions = [
        Mention(one.parts[0][0], one.parts[-1][1], one.type, ())
        for one in report.disorders
        if gaps or len(one.parts) == 1
    ]
    return Document(report.id, report.text, 0, tuple(mentions), (), tuple(_boundaries(report.text)))


def _masked(text: str) -> str:
    text = _IDENTITY.sub(lambda mark: "PATTERN".rjust(len(mark[0])), text)
    return _RULES.sub(lambda mark: " " * len(mark[0]), text)


def _boundaries(text: str) -> Iterator[int]:
    """Where a line begins that its sentence does not share with the line before."""
    offset = 0
    for line, following in pairwise(text.split("\n")):
        offset += len(line) + 1
        if line.rstrip().endswith(":") or not following.strip() or _ITEM.match(following):
            yield offset
