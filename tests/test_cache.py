from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mtscale.corpora import catalogue
from mtscale.corpora.example import PairExample, SplitName
from mtscale.errors import ConfigError, DataError
from mtscale.inputs import cache
from mtscale.inputs.cache import EncodedSplit, join_splits, open_split
from mtscale.inputs.encode import PieceVocabulary, TaskEncoder
from mtscale.tasks import TASKS, Access, Task

HEADER = "index\tsentence1\tsentence2\tscore\n"
PAIRS = HEADER + "a\tthe rat\tthe disease of a rat\t4.5\nb\tx\ty\t0\n"
STS = replace(TASKS["cdr-similarity"], name="sts", corpus="sts", packaged=False, access=Access.DUA)
NLI = replace(TASKS["evidence-inference"], name="nli", corpus="nli", packaged=False)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "sts").mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        (root / "sts" / name).write_text(PAIRS)
    (root / "nli").mkdir()
    rows = "".join(f"{n}\tthe rat\tx y\t{label}\n" for n, label in enumerate(NLI.labels))
    (root / "nli" / "train.tsv").write_text(HEADER.replace("score", "label") + rows)
    return root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the encoded files of a test are."""
    monkeypatch.setenv("MTSCALE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "encoded"


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, with no other place named."""
    monkeypatch.delenv("MTSCALE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "mtscale" / "encoded"


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock", "CACHEDIR.TAG"}


def content(split: EncodedSplit) -> list[dict[str, object]]:
    return [dict(row) for row in split.rows]


def forbid_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(cache, "TaskEncoder", refuse)


def test_a_split_is_encoded_once(
    data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_split(STS, "train", data_root, tiny_vocabulary, 64)
    forbid_encoding(monkeypatch)
    second = open_split(STS, "train", data_root, tiny_vocabulary, 64)
    assert content(second) == content(first)
    assert second.counts == first.counts
    assert second.source_hash == first.source_hash
    assert len(files_in(folder)) == 2


@pytest.mark.parametrize(
    ("task", "split"), [("sts", "train"), ("sts", "test"), ("nli", "train"), ("cdr-disease", "dev")]
)
def test_what_is_read_back_is_what_was_encoded(
    data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary, task: str, split: SplitName
) -> None:
    chosen = {"sts": STS, "nli": NLI}.get(task) or TASKS[task]
    opened = open_split(chosen, split, data_root, tiny_vocabulary, 64)
    encoder = TaskEncoder(chosen, tiny_vocabulary, 64, with_labels=split != "test")
    expected = list(encoder.rows(catalogue.read_examples(chosen, split, data_root)))
    found = content(opened)
    assert [{key: row[key] for key in wanted} for row, wanted in zip(found, expected, strict=True)] == expected
    assert opened.counts == encoder.counts
    assert opened.lengths.tolist() == [len(row["pieces"]) for row in expected]
    assert opened.terms.tolist() == [len(row.get("word_pieces", [0])) for row in expected]
    labels = {"score", "label", "word_labels"} & set(found[0])
    assert len(labels) == (split != "test")


def test_content_labels_and_encoder_make_another_key(
    data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary
) -> None:
    seen: set[str] = set()

    def is_new(task: Task = NLI, vocabulary: PieceVocabulary = tiny_vocabulary, max_pieces: int = 64) -> bool:
        open_split(task, "train", data_root, vocabulary, max_pieces)
        before = set(seen)
        seen.update(files_in(folder))
        return seen != before

    assert is_new()
    assert not is_new()
    assert is_new(max_pieces=65)
    assert is_new(task=replace(NLI, labels=NLI.labels[::-1]))
    assert is_new(task=replace(NLI, candidates="closest"))
    assert not is_new(task=replace(NLI, source="elsewhere"))
    other = type(tiny_vocabulary.backend).from_str(tiny_vocabulary.backend.to_str())
    other.add_tokens(["rat"])
    assert is_new(vocabulary=replace(tiny_vocabulary, backend=other))
    corpus = data_root / "nli" / "train.tsv"
    times = corpus.stat().st_atime_ns, corpus.stat().st_mtime_ns
    corpus.write_text(corpus.read_text().replace("rat", "cat"))
    os.utime(corpus, ns=times)
    assert is_new()
    assert not is_new()


def test_a_cache_file_that_was_deleted_is_made_again(
    data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary
) -> None:
    expected = content(open_split(STS, "dev", data_root, tiny_vocabulary, 64))
    for pattern in ("*.arrow", "*.json"):
        (path,) = folder.glob(pattern)
        path.unlink()
        assert content(open_split(STS, "dev", data_root, tiny_vocabulary, 64)) == expected


def test_a_malformed_corpus_leaves_nothing_behind(
    data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary
) -> None:
    open_split(STS, "dev", data_root, tiny_vocabulary, 64)
    before = files_in(folder)
    (data_root / "sts" / "train.tsv").write_text(PAIRS + "c\tsecret\tx\tnone\n")
    with pytest.raises(DataError, match=r"train\.tsv:4") as caught:
        open_split(STS, "train", data_root, tiny_vocabulary, 64)
    assert "secret" not in str(caught.value)
    assert files_in(folder) == before


def test_an_interrupted_encoding_leaves_nothing_behind(
    data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(task: Task, split: SplitName, root: Path | None) -> Iterator[PairExample]:
        yield PairExample("a", "a", "x", "y", 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "read_examples", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_split(STS, "train", data_root, tiny_vocabulary, 64)
    assert files_in(folder) == set()


def test_a_missing_file_makes_no_cache(data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary) -> None:
    with pytest.raises(DataError, match=r"task nli: expected the dev file at .*dev\.tsv"):
        open_split(NLI, "dev", data_root, tiny_vocabulary, 64)
    assert not folder.exists()


@pytest.mark.parametrize("umask", [0o077, 0o022])
def test_encoded_text_is_private_and_bears_the_mark(
    data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary, umask: int
) -> None:
    folder.mkdir(parents=True, mode=0o755)
    before = os.umask(umask)
    try:
        open_split(STS, "train", data_root, tiny_vocabulary, 64)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes[".arrow"] == modes[".json"] == 0o600
    (facts,) = folder.glob("*.json")
    assert json.loads(facts.read_text()).items() >= {"access": "dua", "task": "sts", "split": "train"}.items()


def test_a_folder_that_is_named_keeps_its_mode(data_root: Path, folder: Path, tiny_vocabulary: PieceVocabulary) -> None:
    folder.parent.mkdir()
    folder.parent.chmod(0o1777)
    open_split(STS, "train", data_root, tiny_vocabulary, 64)
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o1777


def test_encoded_text_lies_beside_its_corpus_and_the_samples_with_the_user(
    data_root: Path, user_cache: Path, tiny_vocabulary: PieceVocabulary
) -> None:
    open_split(STS, "train", data_root, tiny_vocabulary, 64)
    open_split(NLI, "train", data_root, tiny_vocabulary, 64)
    assert not user_cache.exists()
    for task in ("sts", "nli"):
        assert len(files_in(data_root / task / ".mtscale-cache")) == 2
    open_split(TASKS["cdr-similarity"], "dev", None, tiny_vocabulary, 64)
    assert {name.split(".")[0] for name in files_in(user_cache)} == {"cdr-similarity"}


def test_text_under_an_agreement_never_leaves_a_data_root_that_cannot_be_written(
    data_root: Path, user_cache: Path, tiny_vocabulary: PieceVocabulary
) -> None:
    for task in ("sts", "nli"):
        (data_root / task / ".mtscale-cache").write_text("in the way")
    with pytest.raises(ConfigError, match=r"task sts: cannot write .*/sts/\.mtscale-cache: File exists.*MTSCALE_CACHE"):
        open_split(STS, "train", data_root, tiny_vocabulary, 64)
    assert not user_cache.exists()
    open_split(NLI, "train", data_root, tiny_vocabulary, 64)
    assert {name.split(".")[0] for name in files_in(user_cache)} == {"nli"}


PROCESS = """
import sys, time
from pathlib import Path
from mtscale.inputs import cache
from mtscale.inputs.encode import PieceVocabulary, TaskEncoder
from mtscale.tasks import TASKS
from tokenizers import Tokenizer

folder, name = Path(sys.argv[1]), sys.argv[2]

class Slow(TaskEncoder):
    def rows(self, examples):
        (folder / f"encoded-by-{name}").touch()
        time.sleep(0.5)
        return super().rows(examples)

cache.TaskEncoder = Slow
vocabulary = PieceVocabulary(Tokenizer.from_file(sys.argv[3]), 2, 3, 1)
(folder / f"ready-{name}").touch()
deadline = time.monotonic() + 30
while len(list(folder.glob("ready-*"))) < 2 and time.monotonic() < deadline:
    time.sleep(0.01)
print(len(cache.open_split(TASKS["cdr-similarity"], "dev", None, vocabulary, 64).rows))
"""


def test_two_processes_at_once_encode_once(tiny_encoder: Path, tmp_path: Path, folder: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path), name, str(tiny_encoder / "tokenizer.json")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b")
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert len(list(tmp_path.glob("encoded-by-*"))) == 1
    assert len(files_in(folder)) == 2


def test_joined_splits_have_the_rows_of_both(data_root: Path, tiny_vocabulary: PieceVocabulary) -> None:
    train, dev = (open_split(STS, split, data_root, tiny_vocabulary, 64) for split in ("train", "dev"))
    both = join_splits(train, dev)
    assert content(both) == content(train) + content(dev)
    assert both.lengths.tolist() == [*train.lengths.tolist(), *dev.lengths.tolist()]
    assert both.counts.rows == train.counts.rows + dev.counts.rows
    assert both.source_hash != train.source_hash
