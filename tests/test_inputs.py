"""Which format a file to predict on has, told by how it begins, and which files may stand beside another."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mtscale.corpora import sniff
from mtscale.errors import ConfigError, DataError
from mtscale.serving.inputs import find_inputs

WORDS = "given naloxone and hypotensive " * 3000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Patient with hepatitis B was given naloxone.", "text"),
        ("Patient with hepatitis B was given naloxone.\n", "text"),
        ("When I saw her she had a headache.", "text"),
        ("Hepatitis B and naloxone\n\nThe patient was hypotensive.\n", "text"),
        ("Hepatitis B\nVitamin E\nAsthma\n", "text"),
        ("Hepatitis\tB\nVitamin\tE\nAsthma\tI\n", "text"),
        ("Iron\tO\nhurts\tO\n.\tO\n", "conll"),
        ("Iron B-Chemical\nhurts O\n. O\n", "conll"),
        ("-DOCSTART- (1)\n\nIron X O\n", "conll"),
        ("Iron\t1\t0\tB\nhurts\t1\t5\tO\n.\t1\t10\tO\n", "conll"),
        (json.dumps({"text": "Iron."}) + "\n", "jsonl"),
        (json.dumps({"id": "1", "text": WORDS}) + "\n" + json.dumps({"id": "2", "text": "Iron."}) + "\n", "jsonl"),
        ('{"text": "Iron."', "text"),
        ("{" + WORDS, "text"),
    ],
)
def test_a_format_is_told_by_how_a_file_begins(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "a").write_text(content, encoding="utf-8")
    (found,) = find_inputs([tmp_path / "a"], None)
    assert found.format == expected


def test_a_file_that_cannot_be_opened_is_left_to_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, errors: str) -> None:
        raise DataError(f"{path}: expected a readable file, found: Permission denied")

    monkeypatch.setattr(sniff, "format_of", refuse)
    (tmp_path / "a").write_text("Iron.", encoding="utf-8")
    assert [one.format for one in find_inputs([tmp_path], None)] == ["text"]


@pytest.mark.parametrize("names", [["done.jsonl"], ["predict.json"], ["notes", "notes.predictions.jsonl"]])
def test_what_the_output_folder_needs_itself_is_no_input(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("Iron.", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"{names[-1]}: its output would be called like another file"):
        find_inputs([tmp_path], None)


def test_new_annotations_make_a_brat_document_another_input(tmp_path: Path) -> None:
    for name in ("a.txt", "a.ann"):
        (tmp_path / name).write_text("", encoding="utf-8")
        os.utime(tmp_path / name, ns=(10, 10))
    (before,) = find_inputs([tmp_path], None)
    os.utime(tmp_path / "a.ann", ns=(20, 20))
    (after,) = find_inputs([tmp_path], None)
    assert before.format == "brat"
    assert before.changed_ns != after.changed_ns
