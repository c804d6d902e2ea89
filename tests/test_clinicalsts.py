from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.clinicalsts import read_examples, read_gold
from mtscale.corpora.example import PairExample
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Access
from tests.costs import cost

FIXTURES = Path(__file__).parent / "fixtures"
STS = TASKS["clinicalsts"]
TRAIN = 'Secretword "toy\tpain ß.\t2.5\nJoke rash.\tFake scan.\t0\nToy drug.\tsecretword  "TOY \t5.0\n'


def write(folder: Path, text: str | bytes, name: str = "pairs.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_pairs_that_share_a_sentence_are_one_document(tmp_path: Path) -> None:
    path = write(tmp_path, TRAIN)
    assert list(read_examples(STS, [path])) == [
        PairExample("1", "rows-1", 'Secretword "toy', "pain ß.", 2.5),
        PairExample("2", "rows-2", "Joke rash.", "Fake scan.", 0.0),
        PairExample("3", "rows-1", "Toy drug.", 'secretword  "TOY ', 5.0),
    ]
    assert list(read_gold(STS, [path])) == [("rows-1", "1", 2.5), ("rows-2", "2", 0.0), ("rows-1", "3", 5.0)]


def test_test_scores_stand_in_a_file_of_their_own_that_may_lack_the_last_line_end(tmp_path: Path) -> None:
    pairs = write(tmp_path, "\ufeffa\tb\r\nc\td\r\n")
    scores = write(tmp_path, " 4.5\t\r\n1", "scores.txt")
    assert list(read_examples(STS, [pairs, scores])) == [
        PairExample("1", "rows-1", "a", "b", 4.5),
        PairExample("2", "rows-2", "c", "d", 1.0),
    ]


def test_the_fixtures_read_as_a_data_root() -> None:
    task = replace(STS, access=Access.OPEN)
    gold = {split: catalogue.read_gold(task, split, FIXTURES) for split in ("train", "dev", "test")}
    assert gold["test"] == {"1": 4.5, "2": 1.0}
    assert {**gold["train"], **gold["dev"]} == {"1": 3.5, "2": 0.5, "3": 5.0}
    assert (len(gold["train"]), len(gold["dev"])) == (2, 1)


def test_held_out_pairs_share_no_sentence_with_the_rest(tmp_path: Path) -> None:
    rows = [(f"s{number % 60}", f"s{number % 7 + number}") for number in range(200)]
    (tmp_path / STS.corpus).mkdir()
    write(tmp_path / STS.corpus, "".join(f"{one}\t{other}\t3\n" for one, other in rows), STS.files["train"][0])
    sentences = {}
    for split in ("train", "dev"):
        examples = [one for one in catalogue.read_examples(STS, split, tmp_path) if isinstance(one, PairExample)]
        sentences[split] = {text for one in examples for text in (one.first, one.second)}
        assert len(examples) > 0
    assert not sentences["train"] & sentences["dev"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs\.txt: expected one pair a line, found an empty file"),
        ("a\tb\t1\nSecretword\tb\n", r":2: expected two sentences and a score .*found 2 columns"),
        ("Secretword\tb\t1\tc\n", r":1: expected two sentences and a score .*found 4 columns"),
        ("a\tb\t1\n\n", r":2: expected two sentences .*found 1 columns"),
        ("Secretword\t \t1\n", r":1: .*none blank, found 3 columns"),
        ("Secretword\tb\tc\n", r":1: task clinicalsts: expected a decimal number"),
        ("Secretword\tb\t\n", r":1: task clinicalsts: expected a decimal number"),
        ("Secretword\tb\tnan\n", r":1: task clinicalsts: expected a decimal number"),
        ("Secretword\tb\t1_0\n", r":1: task clinicalsts: expected a decimal number"),
        ("Secretword\tb\t٣\n", r":1: task clinicalsts: expected a decimal number"),
        ("Secretword\tb\t4.\n", r":1: task clinicalsts: expected a decimal number"),
        (f"Secretword\tb\t{'9' * 5000}\n", r":1: task clinicalsts: expected a decimal number"),
        ("Secretword\tb\t5.01\n", r":1: task clinicalsts: expected a score from 0.0 to 5.0, found 5.01"),
        ("a\tb\t1\nSecretword ü\tb\t1\n".encode("latin-1"), r":2: expected UTF-8, found byte 0xfc"),
    ],
)
def test_malformed_pairs_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(read_gold(STS, [write(tmp_path, text)]))
    assert "Secretword" not in str(caught.value)


@pytest.mark.parametrize(
    ("pairs", "scores", "message"),
    [
        ("", "", r"pairs\.txt: expected one pair a line, found an empty file"),
        ("Secretword\tb\nc\td\n", "1\n", r"pairs\.txt:2: expected as many scores as pairs"),
        ("Secretword\tb\n", "1\n2\n", r"scores\.txt:2: expected as many scores as pairs"),
        ("Secretword\tb\t1\n", "1\n", r"pairs\.txt:1: expected two sentences separated by tabs, .*found 3 columns"),
        ("Secretword\tb\n", "x\n", r"scores\.txt:1: task clinicalsts: expected a decimal number"),
        ("Secretword\tb\n", "5.5\n", r"scores\.txt:1: task clinicalsts: expected a score from 0.0 to 5.0, found 5.5"),
    ],
)
def test_pairs_and_scores_have_to_go_together(tmp_path: Path, pairs: str, scores: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(read_gold(STS, [write(tmp_path, pairs), write(tmp_path, scores, "scores.txt")]))
    assert "Secretword" not in str(caught.value)


def test_files_that_cannot_be_read_are_data_errors(tmp_path: Path) -> None:
    pairs = write(tmp_path, "a\tb\n")
    for paths in ([tmp_path], [tmp_path / "absent"], [pairs, tmp_path], [pairs, tmp_path / "absent"]):
        with pytest.raises(DataError, match="expected a readable file, found: "):
            list(read_examples(STS, paths))


def test_a_task_without_a_range_takes_any_score(tmp_path: Path) -> None:
    assert list(read_gold(replace(STS, score_range=None), [write(tmp_path, "a\tb\t7000\n")])) == [
        ("rows-1", "1", 7000.0)
    ]


def test_another_kind_and_other_numbers_of_files_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mednli: .*not inference"):
        read_examples(replace(TASKS["mednli"], format="clinicalsts"), [tmp_path])
    for paths in ([], [tmp_path] * 3):
        with pytest.raises(ConfigError, match=rf"clinicalsts: .*found {len(paths)} files"):
            read_gold(STS, paths)


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r")).filter(str.strip)


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(st.tuples(CELL, CELL, st.integers(0, 50)), min_size=1, max_size=8),
    apart=st.booleans(),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read_back(
    rows: list[tuple[str, str, int]], apart: bool, line_end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    scores = [str(tenths / 10) for _, _, tenths in rows]
    lines = [f"{one}\t{other}" for one, other, _ in rows]
    if apart:
        paths = [write(folder, line_end.join(lines)), write(folder, line_end.join(scores), "scores.txt")]
    else:
        paths = [write(folder, line_end.join(f"{line}\t{score}" for line, score in zip(lines, scores, strict=True)))]
    examples = list(read_examples(STS, paths))
    assert [(one.first.removeprefix("\ufeff"), one.second, one.label) for one in examples] == [
        (one.removeprefix("\ufeff"), other, tenths / 10) for one, other, tenths in rows
    ]
    assert [one.id for one in examples] == [str(number) for number in range(1, len(rows) + 1)]


@pytest.mark.parametrize("text", ["a\tb\t1\n" * 3000, "\t" * 20_000, "\n" * 20_000, "a\tb\t" + "1" * 20_000])
def test_no_small_file_takes_long(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)

    def read_it() -> None:
        with suppress(DataError):
            list(read_examples(STS, [path]))

    assert cost(read_it) < 20
