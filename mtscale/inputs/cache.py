"""The Arrow cache of encoded splits, keyed by content, memory-mapped: memory does not grow with the corpus.

A cache file is text in another spelling. It lies under the data root in ``.mtscale-cache`` (that of the packaged
sample in the user's cache folder), readable by its owner alone. ``MTSCALE_CACHE`` names another place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import datasets
import numpy as np
from datasets.arrow_writer import ArrowWriter

from mtscale.corpora import catalogue
from mtscale.corpora.example import SplitName
from mtscale.inputs import encode
from mtscale.inputs.encode import EncodingCounts, PieceVocabulary, TaskEncoder
from mtscale.inputs.private import BESIDE, InUse, file_hash, locked, own_cache, private_folder
from mtscale.inputs.schedule import IntColumn
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.runs import write_atomically
from mtscale.tasks import Access, Kind, Task

datasets.disable_progress_bars()

# A record batch that is opened takes some 4 kB of memory.
_RECORD_BATCH = 5000
_INTEGERS = datasets.Sequence(datasets.Value("int32"))


@dataclass(frozen=True)
class EncodedSplit:
    """The encoded rows of one split of one task, and what keeps them from being purged."""

    task: Task
    split: SplitName
    rows: datasets.Dataset
    counts: EncodingCounts
    source_hash: str
    in_use: tuple[InUse, ...] = field(default=(), repr=False)

    @cached_property
    def lengths(self) -> IntColumn:
        """The word pieces of each row."""
        return self._column("length")

    @cached_property
    def terms(self) -> IntColumn:
        """The terms each row adds to the loss: 1, or its labelled words or pieces."""
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
    procedure: PaperSettings = CLEAN_PROCEDURE,
    longest: int = 512,
) -> EncodedSplit:
    """The encoded split, from the cache or encoded now; one process encodes, the others wait for it.

    The test split is encoded without labels: what trains and chooses cannot read them by mistake. Where the
    ``procedure`` keeps long inputs whole at evaluation (see ``TaskEncoder``), ``longest`` is for how many pieces the
    encoder has positions.

    Raises:
        DataError: a corpus file is missing or malformed. Nothing is left in the cache then.
        ConfigError: the cache cannot be written.
    """
    source_hash = files_hash(catalogue.corpus_files(task, split, data_root))
    whole = longest if split == "test" and procedure.too_long == "drop" else None
    named = catalogue.naming(task, data_root)
    naming = "" if named is None else named.key.hex()
    key = _key(task, split, source_hash + naming, vocabulary, max_pieces, _spelling(task.kind, procedure, whole))
    folder = _cache_folder(task, data_root)
    arrow, facts = folder / f"{task.name}.{split}.{key}.arrow", folder / f"{task.name}.{split}.{key}.json"
    in_use = InUse(folder)
    with locked(folder):
        if not (arrow.exists() and facts.exists()):
            encoder = TaskEncoder(
                task, vocabulary, max_pieces, with_labels=split != "test", procedure=procedure, whole=whole
            )
            _write(encoder, task, split, data_root, arrow)
            mark = {"access": task.access.value, "task": task.name, "split": split, "counts": encoder.counts.as_dict()}
            write_atomically(facts, json.dumps(mark))
    counts = EncodingCounts(**json.loads(facts.read_text(encoding="utf-8"))["counts"])
    return EncodedSplit(task, split, datasets.Dataset.from_file(str(arrow)), counts, source_hash, (in_use,))


def join_splits(one: EncodedSplit, other: EncodedSplit) -> EncodedSplit:
    """The rows of both, one after the other, under the name of the first."""
    return EncodedSplit(
        one.task,
        one.split,
        datasets.concatenate_datasets([one.rows, other.rows]),
        one.counts + other.counts,
        f"{one.source_hash}-{other.source_hash}",
        one.in_use + other.in_use,
    )


def _features(kind: Kind, *, with_labels: bool, of_pieces: bool) -> datasets.Features:
    text, integer = datasets.Value("string"), datasets.Value("int32")
    features = {"id": text, "document": text, "pieces": _INTEGERS, "second": integer}
    features |= {"length": integer, "terms": integer}
    if kind is Kind.TAGGING:
        features |= {"word_pieces": _INTEGERS, "starts": _INTEGERS, "ends": _INTEGERS}
    if with_labels:
        label = {
            Kind.SIMILARITY: {"score": datasets.Value("float32")},
            Kind.TAGGING: {"piece_labels" if of_pieces else "word_labels": _INTEGERS},
        }.get(kind, {"label": integer})
        features |= label
    return datasets.Features(features)


def _write(encoder: TaskEncoder, task: Task, split: SplitName, data_root: Path | None, arrow: Path) -> None:
    handle, temporary = tempfile.mkstemp(dir=arrow.parent, prefix=".encoding-")
    os.close(handle)
    try:
        of_pieces = encoder.procedure.tag_classes == "pieces"
        features = _features(task.kind, with_labels=encoder.with_labels, of_pieces=of_pieces)
        with ArrowWriter(path=temporary, features=features, writer_batch_size=_RECORD_BATCH) as writer:
            for row in encoder.rows(catalogue.read_examples(task, split, data_root)):
                length = len(row["pieces"])
                words = length if of_pieces else len(row.get("word_pieces", ()))
                terms = words if task.kind is Kind.TAGGING else 1
                writer.write({**row, "length": length, "terms": terms})
            writer.finalize()
        os.replace(temporary, arrow)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _spelling(kind: Kind, procedure: PaperSettings, whole: int | None) -> str:
    """What of the procedure changes the rows of a kind of tasks."""
    if kind is Kind.TAGGING:
        return repr((procedure.cut, procedure.tag_classes, procedure.too_long, whole))
    return procedure.pair_order if kind in (Kind.SIMILARITY, Kind.INFERENCE) else ""


def _key(
    task: Task, split: SplitName, source_hash: str, vocabulary: PieceVocabulary, max_pieces: int, spelling: str
) -> str:
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
                trains_on_dev=split == "dev" and task.trains_on_dev,
            )
        ),
        split,
        vocabulary.backend.to_str(),
        str(max_pieces),
        spelling,
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
        return file_hash(paths[0])
    digest = hashlib.sha256()
    for path in paths:
        for file in [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file()):
            digest.update(f"{file.relative_to(path)}\0{file_hash(file)}\n".encode())
    return digest.hexdigest()


def _cache_folder(task: Task, data_root: Path | None) -> Path:
    """The first permitted place that can be written; encoded ``dua`` text never leaves the data root unasked."""
    if task.packaged:
        places = [own_cache()]
    else:
        beside = catalogue.corpus_folder(task, data_root) / BESIDE
        places = [beside] if task.access is Access.DUA else [beside, own_cache()]
    return private_folder(places, f"task {task.name}")
