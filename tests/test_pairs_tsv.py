from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.example import PairExample
from mtscale.corpora.pairs_tsv import read_examples, read_gold
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS

SIMILARITY, INFERENCE = TASKS["cdr-similarity"], TASKS["evidence-inference"]
UP = "significantly increased"
HEAD = "index\tsentence1\tsentence2\tscore\n"
LABEL_HEAD = "index\tsentence1\tsentence2\tlabel\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "pairs.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_columns_are_found_by_name_and_quotes_are_characters(tmp_path: Path) -> None:
    header = "score\textra\tsentence2\tindex\tsentence1\tdocument\n"
    text = header + '2.5\t\t"b\ta1\tA "quoted" one\td1\r\n' + "5\tx\t'\ta2\tß \td1\n"
    path = write(tmp_path, text)
    assert list(read_examples(SIMILARITY, path)) == [
        PairExample("a1", "d1", 'A "quoted" one', '"b', 2.5),
        PairExample("a2", "d1", "ß ", "'", 5.0),
    ]
    assert read_gold(SIMILARITY, path) == {"a1": 2.5, "a2": 5.0}


def test_without_a_document_column_a_pair_is_its_own_document(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LABEL_HEAD}9\ta\tb\t{UP}\n")
    assert list(read_examples(INFERENCE, path)) == [PairExample("9", "9", "a", "b", UP)]
    assert read_gold(INFERENCE, path) == {"9": UP}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs\.tsv: expected a header line, found an empty file"),
        (HEAD, r"pairs\.tsv: expected pairs below the header, found none"),
        ("index\tsentence1\tscore\n1\tSecretword\t2\n", r":1: .*missing: sentence2"),
        (f"{LABEL_HEAD}1\tSecretword\tb\t{UP}\n", r":1: .*missing: score"),
        ("index\tindex\tsentence1\tsentence2\tscore\n1\t1\ta\tb\t2\n", r":1: .*more than once: index"),
        (f"{HEAD}1\ta\tb\t2\n2\tSecretword\tb\n", r":3: expected 4 columns .* found 3"),
        (f"{HEAD}1\ta\tb\t2\tSecretword\n", r":2: expected 4 columns .* found 5"),
        (f"{HEAD}1\ta\tb\t2\n\n", r":3: expected 4 columns .* found 1"),
        (f"{HEAD}1\ta\tb\t2\n2\ta\tb\t2\n1\tSecretword\tb\t2\n", r":4: this index has occurred before"),
        (f"{HEAD}1\ta\tb\tSecretword\n", r":2: task cdr-similarity: expected a finite number"),
        (f"{HEAD}1\ta\tb\tnan\n", r":2: task cdr-similarity: expected a finite number"),
        (f"{HEAD}1\ta\tb\tinf\n", r":2: task cdr-similarity: expected a finite number"),
        (f"{HEAD}1\ta\tb\t5.01\n", r":2: .*expected a score from 0.0 to 5.0, found 5.01"),
        (f"{HEAD}1\ta\tb\t-0.1\n", r":2: .*expected a score from 0.0 to 5.0, found -0.1"),
        (f"{HEAD}1\t \tSecretword\t1\n", r":2: .*empty: sentence1"),
        (f"{HEAD}1\tSecretword\t\t1\n", r":2: .*empty: sentence2"),
        (f"{HEAD}\tSecretword\tb\t1\n", r":2: .*empty: index"),
        (f"{HEAD}1\tSecretword ü\tb\t1\n".encode("latin-1"), r":2: expected UTF-8, found byte 0xfc at position 13"),
        (f"{HEAD}1\tSecretword\tb\t4", r":2: expected a line end, found the end of the file"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_gold(SIMILARITY, write(tmp_path, text))
    assert "Secretword" not in str(caught.value)


def test_a_label_must_be_one_of_the_tasks(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LABEL_HEAD}1\ta\tb\t{UP}\n2\ta\tb\t{UP.upper()}\n")
    examples = read_examples(INFERENCE, path)
    assert next(examples).label == UP
    with pytest.raises(DataError, match=r":3: task evidence-inference: expected one of the labels no significant"):
        next(examples)


def test_a_task_without_a_range_takes_any_finite_score(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}1\ta\tb\t-7e3\n")
    assert read_gold(replace(SIMILARITY, score_range=None), path) == {"1": -7000.0}


def test_a_tagging_task_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cdr-disease: .*not tagging"):
        read_examples(TASKS["cdr-disease"], tmp_path / "absent.tsv")


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r")).filter(str.strip)


@settings(deadline=None, max_examples=100)
@given(rows=st.lists(st.tuples(CELL, CELL, CELL, st.floats(0, 5)), min_size=1, unique_by=lambda row: row[0]))
def test_what_is_written_is_read_back(
    rows: list[tuple[str, str, str, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = "".join(f"{a}\t{b}\t{c}\t{score!r}\n" for a, b, c, score in rows)
    examples = list(read_examples(SIMILARITY, write(tmp_path_factory.mktemp("pairs"), HEAD + body)))
    assert [(one.id, one.first, one.second, one.label) for one in examples] == rows


def test_the_catalogue_finds_files_under_the_data_root(tmp_path: Path) -> None:
    task = replace(SIMILARITY, packaged=False, files={"train": "train.tsv", "test": "test.tsv"})
    (tmp_path / task.corpus).mkdir()
    write(tmp_path / task.corpus, f"{HEAD}1\ta\tb\t2\n").rename(tmp_path / task.corpus / "train.tsv")
    assert catalogue.corpus_folder(task, tmp_path) == tmp_path / "cdr-similarity"
    assert catalogue.read_gold(task, "train", tmp_path) == {"1": 2.0}
    assert [one.id for one in catalogue.read_examples(task, "train", tmp_path)] == ["1"]
    with pytest.raises(DataError, match=r"task cdr-similarity: expected the test file at .*cdr-similarity/test\.tsv"):
        catalogue.read_examples(task, "test", tmp_path)
    with pytest.raises(ConfigError, match="no file is given for dev, only for train, test"):
        catalogue.read_examples(task, "dev", tmp_path)


def test_the_catalogue_says_how_to_name_the_data_root() -> None:
    with pytest.raises(ConfigError, match=r"task bc5cdr-disease: .*--data DIR, set MTSCALE_DATA, or write data_root"):
        catalogue.read_gold(TASKS["bc5cdr-disease"], "train", None)


def test_the_catalogue_names_the_formats_there_are() -> None:
    task = replace(SIMILARITY, format="docx")
    for read in (catalogue.read_examples, catalogue.read_gold):
        with pytest.raises(ConfigError, match=r"task cdr-similarity: expected one of .*pubtator.*tsv.*'docx'"):
            read(task, "train", None)
