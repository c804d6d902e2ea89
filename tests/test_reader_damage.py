"""A small number of damaged corpora in each format, and that the harness for a large number finds what is wrong."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mtscale.corpora import catalogue, tables
from mtscale.corpora.catalogue import READERS, Reader
from mtscale.corpora.example import Example, GoldItem, PairExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Kind, Task
from tests import reader_damage
from tests.damage_case import MARK, Case, splits_of
from tests.reader_damage import CASES, LEAK, Corpus, Tally, main, run

Examples = Callable[[Task, Sequence[Path]], Iterator[Example]]
GoldItems = Callable[[Task, Sequence[Path]], Iterator[GoldItem]]


@pytest.mark.parametrize("format_", READERS)
def test_a_damaged_corpus_gives_examples_or_one_error(tmp_path: Path, format_: str) -> None:
    tally = run(format_, range(200), 1, tmp_path)
    assert tally.failures == []
    assert min(tally.read, tally.refused) > 5


def test_every_format_has_a_case() -> None:
    assert {case.format for case in CASES} == READERS.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}, {case.name}")
def test_undamaged_cases_are_read_and_every_word_of_them_is_marked(tmp_path: Path, case: Case) -> None:
    corpus = Corpus(case, tmp_path)
    assert [answer for answer in corpus.answers() if answer.message or answer.fault] == []
    for task in corpus.tasks:
        examples = [one for split in splits_of(task) for one in catalogue.read_examples(task, split, None)]
        assert len(examples) > (task.kind is not Kind.RELATION)
        texts = [text for one in examples for text in texts_of(one)]
        words = [word for text in texts for word in text.split() if re.search(r"[a-z]", word, re.IGNORECASE)]
        # Arguments that are masked in the file, and what the reader writes for marks of de-identification.
        assert [one for one in words if MARK not in one.lower() and not re.match(r"\W*@[A-Z]+\$|PATTERN", one)] == []


def texts_of(example: Example) -> tuple[str, ...]:
    return (example.first, example.second) if isinstance(example, PairExample) else (example.text,)


# --- what the harness finds


def tally_with(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    examples: Examples = tables.read_examples,
    gold: GoldItems = tables.read_gold,
) -> Tally:
    monkeypatch.setattr(catalogue, "READERS", {**READERS, "tsv": Reader(examples, gold)})
    return run("tsv", range(40), 1, folder)


def raising(error: Callable[[Path, str], Exception]) -> Examples:
    """A reader that raises an error of its first example's text."""

    def read(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
        for example in tables.read_examples(task, paths):
            raise error(paths[0], texts_of(example)[0])
        return iter(())

    return read


def test_a_leak_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaking = raising(lambda path, text: DataError(f"{path}:1: found {text}"))
    tally = tally_with(tmp_path, monkeypatch, leaking)
    assert {failure.fault for failure in tally.failures} == {LEAK}
    assert "0 read, 40 refused" in str(tally)
    assert f"{len(tally.failures)} leaks, 0 other failures" in str(tally)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (lambda path, text: ValueError(text), r"ValueError in test_reader_damage\.py:\d+"),
        (lambda path, text: ConfigError(f"{path}: wrong task"), r"ConfigError in .*"),
        (lambda path, text: DataError("a line is malformed"), "a message without a path of the corpus"),
        (lambda path, text: DataError(f"{path}: a line is malformed"), "a message without a line"),
        (lambda path, text: DataError(f"{path}:1: found a\nb"), "a message over several lines or .*"),
        (lambda path, text: DataError(f"{path}:1: {'x' * 1000}"), r"a message of 1\d\d\d characters"),
    ],
    ids=["another exception", "the user's mistake", "no path", "no line", "two lines", "long"],
)
def test_a_wrong_error_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[Path, str], Exception], fault: str
) -> None:
    failures = tally_with(tmp_path, monkeypatch, raising(error)).failures
    assert failures
    assert all(re.fullmatch(fault, failure.fault) for failure in failures)


def test_examples_that_do_not_conform_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
        for example in tables.read_examples(task, paths):
            yield from (example, example)

    tally = tally_with(tmp_path, monkeypatch, twice)
    assert {failure.fault for failure in tally.failures} == {"examples with an id that has occurred before"}
    assert len(tally.failures) == tally.read > 0


def test_gold_with_one_id_for_two_entries_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(task: Task, paths: Sequence[Path]) -> Iterator[GoldItem]:
        for item in tables.read_gold(task, paths):
            yield from (item, item)

    tally = tally_with(tmp_path, monkeypatch, gold=twice)
    assert {failure.fault for failure in tally.failures} == {"entries of the gold with one id"}


def test_a_second_reading_that_differs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0

    def alternating(task: Task, paths: Sequence[Path]) -> Iterator[Example]:
        nonlocal readings
        readings += 1
        examples = list(tables.read_examples(task, paths))
        return iter(examples if readings % 2 else examples[:-1])

    tally = tally_with(tmp_path, monkeypatch, alternating)
    assert "examples or gold that differ when read again" in {failure.fault for failure in tally.failures}


def test_a_slow_reading_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_damage, "SECONDS", 0.0)
    tally = tally_with(tmp_path, monkeypatch)
    assert {failure.fault for failure in tally.failures} == {"0.0 s"}
    assert len(tally.failures) == 40


def test_the_command_prints_a_line_a_format_and_keeps_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["--count", "8", "--seed", "3", "--format", "tsv", "jsonl"]) == 0
    assert [line.partition(" files")[0] for line in capsys.readouterr().out.splitlines() if line[0] != " "] == [
        "tsv, seed 3, 8",
        "jsonl, seed 3, 8",
    ]
    assert list(tmp_path.iterdir()) == []
    wrong = raising(lambda path, text: ValueError(text))
    monkeypatch.setattr(catalogue, "READERS", {**READERS, "tsv": Reader(wrong, tables.read_gold)})
    assert main(["--count", "40", "--seed", "3", "--format", "tsv"]) == 1
    first = re.search(r"  (\w+), number (\d+) \(table\.tsv\): ValueError", capsys.readouterr().out)
    assert first is not None
    (saved,) = tmp_path.glob(f"*/tsv-3-{first[2]}/table.tsv")
    assert main(["--seed", "3", "--format", "tsv", "--number", first[2]]) == 1
    again = [path for path in tmp_path.glob(f"*/tsv-3-{first[2]}/table.tsv") if path != saved]
    assert [path.read_bytes() for path in again] == [saved.read_bytes()]
