"""The Arrow cache of encoded splits, keyed by content, memory-mapped: memory does not grow with the corpus.

A cache file is text in another spelling. It lies under the data root in ``.mtscale-cache`` (that of the packaged
sample in the user's cache folder), readable by its owner alone. ``MTSCALE_CACHE`` names another place.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import datasets
import numpy as np
import platformdirs
from datasets.arrow_writer import ArrowWriter

from mtscale.corpora import catalogue
from mtscale.corpora.example import SplitName
from mtscale.errors import ConfigError
from mtscale.inputs import encode
from mtscale.inputs.encode import EncodingCounts, PieceVocabulary, TaskEncoder
from mtscale.inputs.schedule import IntColumn
from mtscale.recipe import Cut
from mtscale.runs import write_atomically
from mtscale.tasks import Access, Kind, Task

datasets.disable_progress_bars()

_INTEGERS = datasets.Sequence(datasets.Value("int32"))


@dataclass(frozen=True)
class EncodedSplit:
    """The encoded rows of one split of one task."""

    task: Task
    split: SplitName
    rows: datasets.Dataset
    counts: EncodingCounts
    source_hash: str

    @cached_property
    def lengths(self) -> IntColumn:
        """The word pieces of each row."""
        return self._column("length")

    @cached_property
    def terms(self) -> IntColumn:
        """The terms each row adds to the loss: 1, or its labelled words."""
        return self._column("terms")

    def _column(self, name: str) -> IntColumn:
        """A column as one array over a file that has no name: memory does not grow with the rows."""
        values = np.empty(0, dtype=np.int32)
        if len(self.rows):
            with tempfile.TemporaryFile() as file:
                values = np.asarray(np.memmap(file, dtype=np.int32, mode="w+", shape=(len(self.rows),)))
        start = 0
        for chunk in self.rows.data.column(name).chunks:
            values[start : start + len(chunk)] = chunk.to_numpy()
            start += len(chunk)
        return values


def open_split(
    task: Task,
    split: SplitName,
    data_root: Path | None,
    vocabulary: PieceVocabulary,
    max_pieces: int,
    cut: Cut = "gold_blind",
) -> EncodedSplit:
    """The encoded split, from the cache or encoded now; one process encodes, the others wait for it.

    The test split is encoded without labels: what trains and chooses cannot read them by mistake. ``cut`` is that of
    sentences to tag (see ``TaskEncoder``).

    Raises:
        DataError: a corpus file is missing or malformed. Nothing is left in the cache then.
        ConfigError: the cache cannot be written.
    """
    source_hash = files_hash(catalogue.corpus_files(task, split, data_root))
    key = _key(task, split, source_hash, vocabulary, max_pieces, cut)
    folder = _cache_folder(task, data_root)
    arrow, facts = folder / f"{task.name}.{split}.{key}.arrow", folder / f"{task.name}.{split}.{key}.json"
    with _locked(folder):
        if not (arrow.exists() and facts.exists()):
            encoder = TaskEncoder(task, vocabulary, max_pieces, with_labels=split != "test", cut=cut)
            _write(encoder, task, split, data_root, arrow)
            mark = {"access": task.access.value, "task": task.name, "split": split, "counts": encoder.counts.as_dict()}
            write_atomically(facts, json.dumps(mark))
    counts = EncodingCounts(**json.loads(facts.read_text(encoding="utf-8"))["counts"])
    return EncodedSplit(task, split, datasets.Dataset.from_file(str(arrow)), counts, source_hash)


def join_splits(one: EncodedSplit, other: EncodedSplit) -> EncodedSplit:
    """The rows of both, one after the other, under the name of the first."""
    return EncodedSplit(
        one.task,
        one.split,
        datasets.concatenate_datasets([one.rows, other.rows]),
        one.counts + other.counts,
        f"{one.source_hash}-{other.source_hash}",
    )


def _features(kind: Kind, *, with_labels: bool) -> datasets.Features:
    text, integer = datasets.Value("string"), datasets.Value("int32")
    features = {"id": text, "document": text, "pieces": _INTEGERS, "second": integer}
    features |= {"length": integer, "terms": integer}
    if kind is Kind.TAGGING:
        features |= {"word_pieces": _INTEGERS, "starts": _INTEGERS, "ends": _INTEGERS}
    if with_labels:
        label = {
            Kind.SIMILARITY: {"score": datasets.Value("float32")},
            Kind.TAGGING: {"word_labels": _INTEGERS},
        }.get(kind, {"label": integer})
        features |= label
    return datasets.Features(features)


def _write(encoder: TaskEncoder, task: Task, split: SplitName, data_root: Path | None, arrow: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=arrow.parent, prefix=".encoding-")
    os.close(handle)
    try:
        features = _features(task.kind, with_labels=encoder.with_labels)
        with ArrowWriter(path=temporary, features=features) as writer:
            for row in encoder.rows(catalogue.read_examples(task, split, data_root)):
                terms = len(row["word_pieces"]) if task.kind is Kind.TAGGING else 1
                writer.write({**row, "length": len(row["pieces"]), "terms": terms})
            writer.finalize()
        os.replace(temporary, arrow)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _key(task: Task, split: SplitName, source_hash: str, vocabulary: PieceVocabulary, max_pieces: int, cut: Cut) -> str:
    parts = [
        _code_hash(),
        source_hash,
        # Whatever of a task can change its examples; where its files lie cannot.
        repr(
            replace(
                task,
                domain="",
                corpus="",
                files={},
                packaged=False,
                licence="",
                source="",
                obtain="",
                loss_weight=1.0,
                cap=None,
            )
        ),
        split,
        vocabulary.backend.to_str(),
        str(max_pieces),
        cut if task.kind is Kind.TAGGING else "",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def _code_hash() -> str:
    """Of the code that makes rows from files: a changed reader or encoder must not find rows of the one before."""
    digest = hashlib.sha256()
    for path in [*sorted(Path(catalogue.__file__).parent.rglob("*.py")), Path(encode.__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def files_hash(paths: Sequence[Path]) -> str:
    """The hash of a split: of the contents of files, and of folders with the names of what is in them."""
    if len(paths) == 1 and paths[0].is_file():
        return _file_hash(paths[0])
    digest = hashlib.sha256()
    for path in paths:
        for file in [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file()):
            digest.update(f"{file.relative_to(path)}\0{_file_hash(file)}\n".encode())
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cache_folder(task: Task, data_root: Path | None) -> Path:
    """The first permitted place that can be written; encoded ``dua`` text never leaves the data root unasked."""
    chosen = os.environ.get("MTSCALE_CACHE")
    own = Path(platformdirs.user_cache_dir("mtscale")) / "encoded"
    if chosen:
        # A folder of its own: the one named may be shared, and making that private would shut others out.
        places = [Path(chosen).expanduser() / "encoded"]
    elif task.packaged:
        places = [own]
    else:
        beside = catalogue.corpus_folder(task, data_root) / ".mtscale-cache"
        places = [beside] if task.access is Access.DUA else [beside, own]
    problem = ""
    for place in places:
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.chmod(0o700)
            if os.access(place, os.W_OK):
                return place
            problem = "no permission to write"
        except OSError as error:
            problem = error.strerror or str(error)
    raise ConfigError(
        f"task {task.name}: cannot write the cache of encoded text in {places[0]}: {problem}. "
        "Make it writable or name another private folder with MTSCALE_CACHE"
    )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the cache folder's lock, so that the ranks of a run do not encode the same split side by side."""
    with open(folder / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
