"""Every reader answers any damage to its files with examples that conform, or with one DataError that says where.

    python -m tests.reader_damage --count 100000 --seed 1 [--format NAME ...] [--number N]

Each number is one damaged corpus of its format, the same for the same seed, and is read by every task of its case.
What else it gets than the two answers is a failure: another exception, a reading of more than a second, examples that
``conformance_faults`` complains of or that differ when they are read again, a message without a path of the corpus and
a line of it, over several lines or as long as a text, and a message with a word of a text (a leak).
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import catalogue
from mtscale.corpora.conformance import conformance_faults
from mtscale.corpora.example import Example, Gold, SplitName
from mtscale.errors import DataError
from mtscale.tasks import Kind, Task
from tests import damage_clinical, damage_literature, damage_tables
from tests.damage_case import MARK, Case, splits_of
from tests.mutations import damage

CASES: tuple[Case, ...] = (*damage_literature.CASES, *damage_clinical.CASES, *damage_tables.CASES)

SECONDS = 1.0
# Of a message without the path of the corpus' folder.
LONGEST_MESSAGE = 500
# In how many of the corpora another file is damaged too.
BOTH = 0.1
# Of a format, after which no more are saved.
MOST_FAILURES = 20

_PLACE = re.compile(r"[^:]*:[0-9]+: ")
# What is said of a whole file or corpus, where there is no line to name.
_OF_ALL = re.compile(
    r"found an empty file$"
    r"|expected (rows|reports|at least one (sentence|document element))\b.*, found none"
    r"|expected (enough|at least [0-9]+) documents .*found [0-9]+$"
    r"|expected one column that holds nothing but labels"
)


class Answer(NamedTuple):
    """What reading came to: the message of a refusal, and what is wrong with the answer, if anything."""

    seconds: float
    message: str | None
    fault: str | None


class Failure(NamedTuple):
    """A damaged corpus that was answered wrongly."""

    format: str
    case: str
    seed: int
    number: int
    files: Sequence[str]
    fault: str

    @property
    def is_leak(self) -> bool:
        return self.fault == LEAK


LEAK = "a word of a text in the message"


@dataclass
class Tally:
    """What reading the damaged corpora of a format came to; ``unplaced`` counts the messages that name no line."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    unplaced: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        leaks = sum(failure.is_leak for failure in self.failures)
        return (
            f"{self.read + self.refused} files: {self.read} read, {self.refused} refused, slowest "
            f"{1000 * self.slowest:.0f} ms, {leaks} leaks, {len(self.failures) - leaks} other failures"
        )


class Corpus:
    """A case with its files in a folder, and its tasks reading from there."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder = case, folder
        self.contents = {name: content.encode() for name, content in case.files.items()}
        self.tasks = tuple(replace(task, corpus=str(folder)) for task in case.tasks)
        for name in self.contents:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        self.write(self.contents)

    def write(self, names: Iterable[str]) -> None:
        """Bring files back to what they were."""
        for name in names:
            (self.folder / name).write_bytes(self.contents[name])

    def damage(self, turn: int, generator: random.Random) -> list[str]:
        """Damage the file whose turn it is, and sometimes another one; returns their names."""
        names = list(self.contents)
        damaged = [names[turn % len(names)]]
        if len(names) > 1 and generator.random() < BOTH:
            damaged.append(generator.choice([name for name in names if name not in damaged]))
        for name in damaged:
            (self.folder / name).write_bytes(damage(self.contents[name], generator))
        return damaged

    def answers(self) -> Iterator[Answer]:
        """What each task gets for each of its splits."""
        return (self._answer(task, split) for task in self.tasks for split in splits_of(task))

    def _answer(self, task: Task, split: SplitName) -> Answer:
        message, fault = None, None
        start = time.process_time()
        try:
            examples, gold = _read(task, split)
        except DataError as error:
            seconds = time.process_time() - start
            message = str(error)
            fault = message_fault(message, self.folder)
        except Exception as error:
            seconds = time.process_time() - start
            place = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
        else:
            seconds = time.process_time() - start
            fault = reading_fault(task, split, examples, gold)
        return Answer(seconds, message, fault or (f"{seconds:.1f} s" if seconds > SECONDS else None))


def reading_fault(task: Task, split: SplitName, examples: list[Example], gold: Gold) -> str | None:
    """What is wrong with what was read, if anything; the texts are read once more for that."""
    for what, _ in conformance_faults(task, examples, gold):
        return what
    if task.kind is not Kind.RELATION and not gold:
        return "no gold"
    if _read(task, split) != (examples, gold):
        return "examples or gold that differ when read again"
    # Of all splits in the files, and before a second entry of one id replaces the first.
    reader, paths = catalogue.READERS[task.format], catalogue.corpus_files(task, split, None)
    entries = Counter(item.id for item in reader.gold(task, paths))
    if max(entries.values(), default=0) > 1:
        return "entries of the gold with one id"
    return None


def message_fault(message: str, folder: Path) -> str | None:
    """What is wrong with the message of a refusal, if anything."""
    without_folder = message.replace(str(folder), "")
    if MARK in without_folder.lower():
        return LEAK
    if without_folder == message:
        return "a message without a path of the corpus"
    if not _PLACE.match(message) and not _OF_ALL.search(message):
        return "a message without a line"
    if not message.isprintable():
        return "a message over several lines or with unprintable characters"
    if len(without_folder) > LONGEST_MESSAGE:
        return f"a message of {len(without_folder)} characters"
    return None


def run(format_: str, numbers: Iterable[int], seed: int, folder: Path, saved: Path | None = None) -> Tally:
    """Read damaged corpora of a format, in folders of their own in ``folder``; copies of failures go to ``saved``."""
    cases = [case for case in CASES if case.format == format_]
    corpora = [Corpus(case, folder / f"{format_}-{number}") for number, case in enumerate(cases)]
    tally = Tally()
    for number in numbers:
        turn, which = divmod(number, len(corpora))
        corpus = corpora[which]
        names = corpus.damage(turn, random.Random(f"{seed} {format_} {number}"))
        answers = list(corpus.answers())
        refusals = [answer.message for answer in answers if answer.message is not None]
        tally.refused += bool(refusals)
        tally.read += not refusals
        tally.slowest = max(tally.slowest, *(answer.seconds for answer in answers))
        tally.unplaced.update(_kind(message, corpus.folder) for message in refusals if not _PLACE.match(message))
        fault = next((answer.fault for answer in answers if answer.fault), None)
        if fault is not None:
            tally.failures.append(Failure(format_, corpus.case.name, seed, number, names, fault))
            if saved is not None and len(tally.failures) <= MOST_FAILURES:
                shutil.copytree(corpus.folder, saved / f"{format_}-{seed}-{number}")
        corpus.write(names)
    return tally


def _read(task: Task, split: SplitName) -> tuple[list[Example], Gold]:
    return list(catalogue.read_examples(task, split, None)), catalogue.read_gold(task, split, None)


def _kind(message: str, folder: Path) -> str:
    """A message without what differs from one damage to the next."""
    return re.sub("[0-9]+", "N", message.replace(str(folder), "CORPUS"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reader_damage", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="damaged corpora of each format (1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", nargs="+", choices=list(catalogue.READERS), default=list(catalogue.READERS))
    parser.add_argument("--number", type=int, help="this one alone, to look at a failure")
    options = parser.parse_args(arguments)
    warnings.simplefilter("error")
    saved = Path(tempfile.mkdtemp(prefix="reader-damage-failures-"))
    memory = Path("/dev/shm")
    numbers = range(options.count) if options.number is None else [options.number]
    failed = False
    with tempfile.TemporaryDirectory(prefix="reader-damage-", dir=memory if memory.is_dir() else None) as folder:
        for format_ in options.format:
            tally = run(format_, numbers, options.seed, Path(folder), saved)
            print(f"{format_}, seed {options.seed}, {tally}", flush=True)
            for failure in tally.failures[:MOST_FAILURES]:
                print(f"  {failure.case}, number {failure.number} ({', '.join(failure.files)}): {failure.fault}")
            for kind, count in tally.unplaced.most_common():
                print(f"  no line in {count}: {kind}")
            failed = failed or bool(tally.failures)
    if failed:
        print(f"the damaged corpora are in {saved}")
    else:
        saved.rmdir()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
