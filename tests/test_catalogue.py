from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mtscale.corpora import catalogue
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS

SIMILARITY = TASKS["cdr-similarity"]
HEAD = "index\tsentence1\tsentence2\tscore\n"
ROW = "1\ta\tb\t2\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_files_are_found_under_the_data_root(tmp_path: Path) -> None:
    task = replace(SIMILARITY, packaged=False, files={"train": ("train.tsv",), "test": ("test.tsv",)})
    write(tmp_path / task.corpus / "train.tsv", HEAD + ROW)
    assert catalogue.corpus_folder(task, tmp_path) == tmp_path / "cdr-similarity"
    assert catalogue.read_gold(task, "train", tmp_path) == {"1": 2.0}
    assert [one.id for one in catalogue.read_examples(task, "train", tmp_path)] == ["1"]
    with pytest.raises(DataError, match=r"task cdr-similarity: expected the test file at .*cdr-similarity/test\.tsv"):
        catalogue.read_examples(task, "test", tmp_path)
    with pytest.raises(ConfigError, match="no file is given for dev, only for train, test"):
        catalogue.read_examples(task, "dev", tmp_path)


def test_without_a_data_root_the_error_says_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match=r"task bc5cdr-disease: .*--data DIR, set MTSCALE_DATA, or write data_root"):
        catalogue.read_gold(TASKS["bc5cdr-disease"], "train", None)


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    task = replace(SIMILARITY, format="docx")
    for read in (catalogue.read_examples, catalogue.read_gold):
        with pytest.raises(ConfigError, match=r"task cdr-similarity: expected one of .*pubtator.*tsv.*'docx'"):
            read(task, "train", None)


TABLES = {
    "tsv": HEAD + ROW,
    "csv": (HEAD + ROW).replace("\t", ","),
    "jsonl": '{"sentence1": "a", "sentence2": "b", "score": 2}\n',
    "blue": "a\tb\tc\td\te\tindex\tsentence1\tsentence2\tscore\n-\t-\t-\t-\t-\t1\ta\tb\t2\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_every_format_of_pairs_has_its_reader(tmp_path: Path, name: str) -> None:
    task = replace(SIMILARITY, packaged=False, format=name)
    write(tmp_path / task.corpus / "test.tsv", TABLES[name])
    assert catalogue.read_gold(task, "test", tmp_path) == {"1": 2.0}
