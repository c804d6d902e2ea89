from __future__ import annotations

import csv
import json
import os
import tracemalloc
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.example import SPLITS, PairExample
from mtscale.corpora.tables import read_examples, read_gold
from mtscale.errors import DataError
from mtscale.tasks import TASKS, Task

CORPORA = os.environ.get("MTSCALE_TEST_CORPORA")
needs_corpora = pytest.mark.skipif(CORPORA is None, reason="MTSCALE_TEST_CORPORA names no folder of corpora")

SIMILARITY, INFERENCE = TASKS["cdr-similarity"], TASKS["evidence-inference"]
MASKED = replace(TASKS["cdr-relation"], format="tsv", relation=None)
UP = "significantly increased"
HEAD = "index\tsentence1\tsentence2\tscore\n"
LABEL_HEAD = "index\tsentence1\tsentence2\tlabel\n"


def write(folder: Path, text: str | bytes, name: str = "pairs.tsv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def gold(task: Task, *paths: Path) -> dict[str, object]:
    return {item.id: item.value for item in read_gold(task, paths)}


def test_columns_are_found_by_name_and_quotes_are_characters(tmp_path: Path) -> None:
    header = "score\textra\tsentence2\tindex\tsentence1\tdocument\n"
    text = "\ufeff" + header + '2.5\t\t"b\ta1\tA "quoted" one\td1\r\n' + "5\tx\t'\ta2\tß \td1\n"
    path = write(tmp_path, text)
    assert list(read_examples(SIMILARITY, [path])) == [
        PairExample("a1", "d1", 'A "quoted" one', '"b', 2.5),
        PairExample("a2", "d1", "ß ", "'", 5.0),
    ]
    assert [tuple(item) for item in read_gold(SIMILARITY, [path])] == [("d1", "a1", 2.5), ("d1", "a2", 5.0)]


def test_without_a_document_column_a_pair_is_its_own_document(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LABEL_HEAD}9\ta\tb\t{UP}\n")
    assert list(read_examples(INFERENCE, [path])) == [PairExample("9", "9", "a", "b", UP)]
    assert gold(INFERENCE, path) == {"9": UP}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs\.tsv: expected a header line, found an empty file"),
        (HEAD, r"pairs\.tsv: expected rows .*below the header.*, found none"),
        ("index\tsentence1\tscore\n1\tSecretword\t2\n", r":1: .*missing: sentence2"),
        (f"{LABEL_HEAD}1\tSecretword\tb\t{UP}\n", r":1: .*missing: score"),
        ("index\tindex\tsentence1\tsentence2\tscore\n1\t1\ta\tb\t2\n", r":1: .*more than once: index"),
        (f"{HEAD}1\ta\tb\t2\n2\tSecretword\tb\n", r":3: expected 4 columns.* found 3"),
        (f"{HEAD}1\ta\tb\t2\tSecretword\n", r":2: expected 4 columns.* found 5"),
        (f"{HEAD}1\ta\tb\t2\n\n", r":3: expected 4 columns.* found 1"),
        (f"{HEAD}1\ta\tb\t2\n2\ta\tb\t2\n1\tSecretword\tb\t2\n", r":4: this index has occurred before"),
        (f"{HEAD}1\ta\tb\tSecretword\n", r":2: task cdr-similarity: expected a finite number"),
        (f"{HEAD}1\ta\tb\tnan\n", r":2: task cdr-similarity: expected a finite number"),
        (f"{HEAD}1\ta\tb\tinf\n", r":2: task cdr-similarity: expected a finite number"),
        (f"{HEAD}1\ta\tb\t{'9' * 5000}\n", r":2: task cdr-similarity: expected a finite number"),
        (f"{HEAD}1\ta\tb\t5.01\n", r":2: .*expected a score from 0.0 to 5.0, found 5.01"),
        (f"{HEAD}1\ta\tb\t-0.1\n", r":2: .*expected a score from 0.0 to 5.0, found -0.1"),
        (f"{HEAD}1\t \tSecretword\t1\n", r":2: .*empty: sentence1"),
        (f"{HEAD}1\tSecretword\t\t1\n", r":2: .*empty: sentence2"),
        (f"{HEAD}\tSecretword\tb\t1\n", r":2: .*empty: index"),
        (f"{HEAD}1\x00\tSecretword\tb\t1\n", r":2: expected printable characters only in index"),
        (f"{HEAD}1\u00a0\tSecretword\tb\t1\n", r":2: expected printable characters only in index"),
        (f"{HEAD}1\tSecretword ü\tb\t1\n".encode("latin-1"), r":2: expected UTF-8, found byte 0xfc at position 13"),
        (f"{HEAD}1\tSecretword\tb\t4", r":2: expected a line end, found the end of the file"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_gold(SIMILARITY, [write(tmp_path, text)]))


def test_a_label_must_be_one_of_the_tasks(tmp_path: Path) -> None:
    path = write(tmp_path, f"{LABEL_HEAD}1\ta\tb\t{UP}\n2\ta\tb\t{UP.upper()}\n")
    examples = read_examples(INFERENCE, [path])
    assert next(examples) == PairExample("1", "1", "a", "b", UP)
    with pytest.raises(DataError, match=r":3: task evidence-inference: expected one of the labels no significant"):
        next(examples)


def test_a_task_without_a_range_takes_any_finite_score(tmp_path: Path) -> None:
    path = write(tmp_path, f"{HEAD}1\ta\tb\t-7e3\n")
    assert gold(replace(SIMILARITY, score_range=None), path) == {"1": -7000.0}


def test_a_folder_or_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.tsv"):
        with pytest.raises(DataError, match="expected a readable file"):
            list(read_examples(SIMILARITY, [path]))


def test_rows_without_an_index_are_numbered_through_the_files_of_a_split(tmp_path: Path) -> None:
    head = "sentence1\tsentence2\tscore\n"
    one = write(tmp_path, f"{head}a\tb\t1\nc\td\t2\n", "one.tsv")
    two = write(tmp_path, f"{head}e\tf\t3\n", "two.tsv")
    assert gold(SIMILARITY, one, two) == {"1": 1.0, "2": 2.0, "3": 3.0}
    with pytest.raises(DataError, match=r"one\.tsv:1: .*missing: row"):
        gold(replace(SIMILARITY, columns={"index": "row"}), one)


def test_an_id_of_one_file_may_not_come_again_in_the_next(tmp_path: Path) -> None:
    one, two = (write(tmp_path, f"{HEAD}7\ta\tb\t1\n", name) for name in ("one.tsv", "two.tsv"))
    with pytest.raises(DataError, match=r"two\.tsv:2: this index has occurred before"):
        gold(SIMILARITY, one, two)


def test_a_task_says_how_a_file_calls_its_columns(tmp_path: Path) -> None:
    task = replace(SIMILARITY, columns={"sentence1": "left", "sentence2": "right", "index": "id", "document": "id"})
    path = write(tmp_path, "id\tleft\tright\tscore\tindex\tsentence1\nx\ta\tb\t1\t0\t\n")
    assert list(read_examples(task, [path])) == [PairExample("x", "x", "a", "b", 1.0)]
    with pytest.raises(DataError, match=r":1: .*missing: left, right, id"):
        gold(task, write(tmp_path, f"{HEAD}1\ta\tb\t1\n"))


@pytest.mark.parametrize("task", [SIMILARITY, MASKED], ids=["pairs", "relations"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, task: Task) -> None:
    head, row = {
        SIMILARITY.name: (HEAD, "{}\ta{}\t" + "b" * 200 + "\t1\n"),
        MASKED.name: ("index\tsentence\tlabel\n", "{}\t@X$ {} " + "b" * 200 + "\tnone\n"),
    }[task.name]
    path = write(tmp_path, head + "".join(row.format(number, number) for number in range(20_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_examples(task, [path])) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


# --- csv and jsonl

CSV, JSONL = replace(SIMILARITY, format="csv"), replace(SIMILARITY, format="jsonl")
CSV_HEAD = "index,sentence1,sentence2,score\n"


def test_csv_fields_in_quotes_may_hold_commas_line_ends_and_quotes(tmp_path: Path) -> None:
    text = CSV_HEAD + '1,"one, ""two""\r\nthree",b "c",2\r\n"2", d\t,"é","3"\n'
    assert list(read_examples(CSV, [write(tmp_path, text)])) == [
        PairExample("1", "1", 'one, "two"\nthree', 'b "c"', 2.0),
        PairExample("2", "2", " d\t", "é", 3.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r": expected a header line, found an empty file"),
        ('1,"a\nb",c,1\n2,Secretword,c\n', r":4: expected 4 columns.* found 3"),
        ('1,"a\n\n\nb",c,1\n2,Secretword,c,9\n', r":6: .*expected a score"),
        ('1,a,b,1\n2,"Secretword\n3,a,b,2\n', r":3: expected a record as RFC 4180 has it"),
        ('1,"Secretword"x,b,1\n', r":2: expected a record as RFC 4180 has it"),
        ("1,Secret\rword,b,1\n", r":2: expected a record as RFC 4180 has it"),
        (f"1,{'Secretword' * 14000},b,1\n", r":2: expected a record as RFC 4180 has it.* 131072 characters"),
        ("1,a,b,1\n\n", r":3: expected 4 columns.* found 0"),
        ('"1\n2",Secretword,b,1\n', r":2: expected printable characters only in index"),
        ('1,"Secretword\n', r":2: expected a record"),
        ('1,"Secretword\nx', r":3: expected a line end"),
    ],
)
def test_malformed_csv_is_one_error_with_the_line_its_record_begins_on(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_examples(CSV, [write(tmp_path, CSV_HEAD + text if text else "")]))


def test_jsonl_values_are_texts_or_numbers_as_they_are_written(tmp_path: Path) -> None:
    task = replace(INFERENCE, format="jsonl", labels=("0", "1.50"))
    text = (
        '{"index": 12345678901234567890, "sentence1": "\\ud83d\\ude00 \\n", "x": [{"index": null}], "sentence2": 5,'
        ' "label": 0}\n{"label": 1.50, "sentence2": "b", "sentence1": "a", "document": "d", "parse": NaN}\r\n'
    )
    assert list(read_examples(task, [write(tmp_path, text)])) == [
        PairExample("12345678901234567890", "12345678901234567890", "\U0001f600 \n", "5", "0"),
        PairExample("2", "d", "a", "b", "1.50"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs\.tsv: expected rows"),
        ("\n", r":1: expected a JSON object, found something that is not JSON"),
        ('{"sentence1": "Secretword\n', r":1: expected a JSON object, found something that is not JSON"),
        ("[" * 20000 + "\n", r":1: expected a JSON object, .* nested too deeply"),
        ('{"x":' * 20000 + "\n", r":1: expected a JSON object, .* nested too deeply"),
        ('["Secretword"]\n', r":1: expected a JSON object, found another JSON value"),
        ("{}\n", r":1: .*missing: sentence1, sentence2, score"),
        ('{"sentence1": "Secretword", "sentence2": "b"}\n', r":1: .*missing: score"),
        ('{"sentence1": "a", "sentence2": "b", "score": 1, "score": 2}\n', r":1: .*more than once: score"),
        ('{"sentence1": ["Secretword"], "sentence2": "b", "score": 1}\n', r":1: expected a text or a number as sent"),
        ('{"sentence1": "a", "sentence2": null, "score": 1}\n', r":1: expected a text or a number as sentence2"),
        ('{"sentence1": "a", "sentence2": "b", "score": true}\n', r":1: expected a text or a number as score"),
        ('{"sentence1": "a", "sentence2": "\\ud83d", "score": 1}\n', r":1: .* sentence2, found half of a surrogate"),
        ('{"sentence1": "a", "sentence2": "b", "score": Infinity}\n', r":1: .*expected a finite number"),
        ('{"sentence1": "a", "sentence2": "b", "score": 1e999}\n', r":1: .*expected a finite number"),
        (f'{{"sentence1": "a", "sentence2": "b", "score": {"9" * 9000}}}\n', r":1: .*expected a finite number"),
        (
            '{"index": "a\\tb", "sentence1": "a", "sentence2": "b", "score": 1}\n',
            r":1: expected printable .* in index",
        ),
    ],
)
def test_malformed_jsonl_is_one_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^(?!.*Secretword).*{message}"):
        list(read_examples(JSONL, [write(tmp_path, text)]))


# --- round trips

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")).filter(str.strip)
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r")).filter(str.strip)
ID = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" ")).filter(str.strip)
PAIR_COLUMNS = ["index", "sentence1", "sentence2", "score"]


def rows_of(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, str, str, float]]]:
    row = st.tuples(ID, text, text, st.floats(0, 5))
    return st.lists(row, min_size=1, max_size=6, unique_by=lambda row: row[0])


def read_back(task: Task, folder: Path, text: str) -> list[tuple[str, str, str, object]]:
    examples = read_examples(task, [write(folder, text)])
    return [(one.id, one.first, one.second, one.label) for one in examples if isinstance(one, PairExample)]


@settings(deadline=None, max_examples=100)
@given(rows=rows_of(CELL))
def test_tsv_is_read_back(rows: list[tuple[str, str, str, float]], tmp_path_factory: pytest.TempPathFactory) -> None:
    body = "".join(f"{a}\t{b}\t{c}\t{score!r}\n" for a, b, c, score in rows)
    assert read_back(SIMILARITY, tmp_path_factory.mktemp("pairs"), HEAD + body) == rows


@settings(deadline=None, max_examples=100)
@given(rows=rows_of(TEXT))
def test_csv_is_read_back(rows: list[tuple[str, str, str, float]], tmp_path_factory: pytest.TempPathFactory) -> None:
    text = StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([PAIR_COLUMNS, *rows])
    assert read_back(CSV, tmp_path_factory.mktemp("pairs"), text.getvalue()) == rows


@settings(deadline=None, max_examples=100)
@given(rows=rows_of(TEXT), ascii_only=st.booleans())
def test_jsonl_is_read_back(
    rows: list[tuple[str, str, str, float]], ascii_only: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = (dict(zip(PAIR_COLUMNS, row, strict=True)) for row in rows)
    text = "".join(json.dumps(one, ensure_ascii=ascii_only) + "\n" for one in objects)
    assert read_back(JSONL, tmp_path_factory.mktemp("pairs"), text) == rows


# --- corpora as they are distributed


@needs_corpora
def test_every_pair_of_biosses_is_tested_once_and_no_sentence_is_in_two_splits() -> None:
    assert CORPORA is not None
    tested: list[str] = []
    for fold in range(5):
        task = replace(TASKS["biosses"], fold=fold)
        sentences: list[set[str]] = []
        for split in SPLITS:
            read = list(catalogue.read_examples(task, split, Path(CORPORA)))
            pairs = [example for example in read if isinstance(example, PairExample)]
            assert len(pairs) == len(read) == len(catalogue.read_gold(task, split, Path(CORPORA)))
            sentences.append({text for pair in pairs for text in (pair.first, pair.second)})
            tested += [pair.id for pair in pairs if split == "test"]
        train, dev, test = sentences
        assert len(train | dev | test) == len(train) + len(dev) + len(test)
    assert sorted(map(int, tested)) == list(range(1, 101))


@needs_corpora
def test_the_pairs_of_evidence_inference_and_of_sick_are_all_there() -> None:
    assert CORPORA is not None
    folder = Path(CORPORA)
    counts = [
        Counter(gold(INFERENCE, folder / f"evidence_inference/ev2_pairs_{part}.tsv").values())
        for part in ("train", "validation", "test")
    ]
    assert [[count[label] for label in INFERENCE.labels] for count in counts] == [
        [931, 513, 462],
        [95, 70, 64],
        [106, 65, 76],
    ]
    sentences = {"index": "pair_ID", "sentence1": "sentence_A", "sentence2": "sentence_B"}
    labels = ("NEUTRAL", "ENTAILMENT", "CONTRADICTION")
    entailment = replace(INFERENCE, labels=labels, columns={**sentences, "label": "entailment_judgment"})
    assert Counter(gold(entailment, folder / "sick/SICK_train.txt").values()) == dict(
        zip(labels, (2536, 1299, 665), strict=True)
    )
    related = replace(SIMILARITY, columns={**sentences, "score": "relatedness_score"})
    assert len(gold(related, folder / "sick/SICK_test_annotated.txt")) == 4927
