"""Names of documents under a use agreement: outside the corpus there are none, and who holds it finds them again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtscale import cli
from mtscale.corpora import catalogue
from mtscale.corpora.example import SPLITS
from mtscale.corpora.naming import Naming, is_hashed
from mtscale.errors import EXIT_FINISHED, DataError
from mtscale.inputs.cache import open_split
from mtscale.inputs.encode import PieceVocabulary
from mtscale.tasks import TASKS, Access, Kind, Task

FIXTURES = Path(__file__).parent / "fixtures"
CLINICAL = [TASKS[name] for name in ("shareclefe", "i2b2-2010-re", "mednli", "clinicalsts")]
NOTES = Task(
    name="notes",
    kind=Kind.RELATION,
    labels=("yes", "no"),
    domain="clinical",
    negative="no",
    access=Access.DUA,
    corpus="notes",
    format="jsonl",
    files={"train": ("train.jsonl",), "dev": ("dev.jsonl",)},
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=30)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A data root with marked sentences of notes whose names, and those of their sentences, are patients'."""
    rows = [
        {"index": f"smith-{number}", "document": f"4711-{number // 2}", "sentence": "@A$ and @B$.", "label": "yes"}
        for number in range(6)
    ]
    (tmp_path / "notes").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "notes" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_the_hash_is_keyed_blake2b_and_the_key_is_made_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    file.write_text("Toy gout.")
    content = hashlib.blake2b(b"Toy gout.", person=b"mtscale names").digest()
    key = hashlib.blake2b(b".\0" + content, digest_size=32, person=b"mtscale names").digest()
    expected = hashlib.blake2b(b"smith", digest_size=8, key=key, person=b"mtscale names").hexdigest()
    assert Naming.of([file]).document("smith") == expected
    assert expected != hashlib.sha256(b"smith").hexdigest()[:16]
    file.write_text("Toy gout!")
    assert Naming.of([file]).document("smith") != expected


@pytest.mark.parametrize("task", CLINICAL, ids=lambda task: task.name)
def test_no_split_of_a_clinical_corpus_names_a_document(task: Task) -> None:
    opened = replace(task, access=Access.OPEN)
    named = catalogue.naming(task, FIXTURES)
    assert named is not None
    for split in SPLITS:
        own = list(catalogue.iterate_gold(opened, split, FIXTURES))
        hidden = list(catalogue.iterate_gold(task, split, FIXTURES))
        assert [one.value for one in hidden] == [one.value for one in own]
        assert [one.document for one in hidden] == [named.document(one.document) for one in own]
        assert all(is_hashed(one.id, one.document) for one in hidden)
        assert len({one.id for one in hidden}) == len(own)
        examples = list(catalogue.read_examples(task, split, FIXTURES))
        plain = list(catalogue.read_examples(opened, split, FIXTURES))
        assert [replace(one, id="", document="") for one in examples] == [
            replace(one, id="", document="") for one in plain
        ]
        assert all(is_hashed(one.id, one.document) for one in examples)
        assert len({one.id for one in examples}) == len(plain)
        assert catalogue.document_names(task, split, FIXTURES) == {
            named.document(one.document): one.document for one in own
        }


def test_places_in_a_document_are_kept_and_ids_of_its_owner_are_not(notes: Path) -> None:
    named = catalogue.naming(NOTES, notes)
    assert named is not None
    first = next(catalogue.read_examples(NOTES, "train", notes))
    assert (first.id, first.document) == (f"{first.document}.{named.document('smith-0')}", named.document("4711-0"))
    assert named.example("4711.s12.3-4.15-16", "4711") == f"{named.document('4711')}.s12.3-4.15-16"
    assert named.example("4711.12:0-0.12:3-4", "4711") == f"{named.document('4711')}.12:0-0.12:3-4"
    assert named.example("4711.smith", "4711") == f"{named.document('4711')}.{named.document('4711.smith')}"
    assert "smith" not in "".join(item.id for item in catalogue.iterate_gold(NOTES, "dev", notes))


@given(NAMES, NAMES, st.binary(min_size=1, max_size=64))
def test_whatever_the_names_what_is_given_is_hashed(id_: str, document: str, key: bytes) -> None:
    named = Naming(key)
    assert is_hashed(named.example(id_, document), named.document(document))
    assert not is_hashed(id_, document) or re.fullmatch("[0-9a-f]{16}", document)


def test_all_splits_have_one_naming_and_a_change_of_the_training_text_another(notes: Path) -> None:
    train, dev = ({one.document for one in catalogue.iterate_gold(NOTES, split, notes)} for split in ("train", "dev"))
    assert train == dev
    with (notes / "notes" / "train.jsonl").open("a") as stream:
        stream.write(json.dumps({"index": "x", "document": "x", "sentence": "@A$ or @B$.", "label": "no"}) + "\n")
    assert not train & {one.document for one in catalogue.iterate_gold(NOTES, "dev", notes)}


def test_encoded_splits_are_made_again_when_the_naming_changes(notes: Path, tiny_vocabulary: PieceVocabulary) -> None:
    before = open_split(NOTES, "dev", notes, tiny_vocabulary, 16).rows["document"][:]
    with (notes / "notes" / "train.jsonl").open("a") as stream:
        stream.write(json.dumps({"index": "x", "document": "x", "sentence": "@A$ or @B$.", "label": "no"}) + "\n")
    after = open_split(NOTES, "dev", notes, tiny_vocabulary, 16).rows["document"][:]
    assert after == [one.document for one in catalogue.read_examples(NOTES, "dev", notes)]
    assert not set(before) & set(after)


def test_errors_name_files_of_documents_as_their_documents_are_called(tmp_path: Path) -> None:
    task = TASKS["shareclefe"]
    shutil.copytree(FIXTURES / task.corpus, tmp_path / task.corpus)
    name = "90003-000003-RADIOLOGY_REPORT"
    gold = tmp_path / task.corpus / task.files["test"][1] / f"{name}.txt"
    named = catalogue.naming(task, tmp_path)
    assert named is not None
    gold.write_text("nonsense\n")
    for read in (catalogue.read_gold, lambda *given: list(catalogue.read_examples(*given))):
        with pytest.raises(DataError, match=rf"Gold_SN2012/{named.document(name)}\.txt:1: expected REPORT") as caught:
            read(task, "test", tmp_path)
        assert "90003" not in str(caught.value)
    gold.unlink()
    with pytest.raises(DataError, match=rf"that of .*/{named.document(name)}\.txt; add them") as caught:
        catalogue.read_gold(task, "test", tmp_path)
    assert "90003" not in str(caught.value)


def test_the_command_says_which_document_a_hash_is(
    notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = "".join(
        f'[[tasks]]\nname = "{name}"\nkind = "relation"\nformat = "jsonl"\nlabels = ["yes", "no"]\nnegative = "no"\n'
        f'files = {{ train = "notes/train.jsonl", dev = "notes/dev.jsonl", test = "notes/dev.jsonl" }}\n{access}'
        for name, access in (("notes", ""), ("public", 'access = "open"\n'))
    )
    (tmp_path / "notes.toml").write_text(f'name = "notes"\n{tables}')
    assert cli.main(["names", "--recipe", str(tmp_path / "notes.toml")]) == EXIT_FINISHED
    named = catalogue.naming(NOTES, notes)
    assert named is not None
    printed = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert printed == {named.document(name): name for name in ("4711-0", "4711-1", "4711-2")}


@pytest.mark.parametrize("arguments", [[], ["x.txt", "--recipe", "sample"], ["--recipe", "sample"]])
def test_the_command_refuses_what_it_cannot_name(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["names", *arguments]) != EXIT_FINISHED
    assert "expected either" in capsys.readouterr().err or "sample" in arguments
