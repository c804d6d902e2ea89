"""A corpus of text as *shards*: parts of about equal size, each encoded by itself.

What is read at a time is one shard, memory-mapped, so memory does not grow with the corpus. Encoded shards lie in a
private cache folder, keyed by the contents of their files and all that makes rows of them; beyond a limit on disk those
used longest ago are dropped, and encoded anew when their turn comes. What a run needs of every shard stays: its counts,
how often each piece occurs in it, and its held-out rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtscale.errors import DataError
from mtscale.inputs.encode import PieceVocabulary
from mtscale.inputs.private import InUse, file_hash, locked
from mtscale.inputs.schedule import IntColumn
from mtscale.pretraining.cleaning import clean
from mtscale.pretraining.documents import Stretch, read
from mtscale.pretraining.masking import Pieces
from mtscale.recipe_sections import Cleaning, TextFormat
from mtscale.runs import write_atomically

# Of text: some 13 million pieces, or 100,000 rows, are shuffled together.
SHARD_BYTES = 64 << 20
# Characters that are handed to the tokenizer at once.
_CHUNK = 1 << 20

Part = Literal["train", "heldout"]


@dataclass(frozen=True)
class TextCounts:
    """What encoding found: documents, rows and word pieces, those held out counted apart."""

    documents: int = 0
    heldout_documents: int = 0
    rows: int = 0
    heldout_rows: int = 0
    pieces: int = 0
    heldout_pieces: int = 0

    def __add__(self, other: TextCounts) -> TextCounts:
        return TextCounts(**{name: count + getattr(other, name) for name, count in asdict(self).items()})


@dataclass(frozen=True)
class TextSource:
    """How files become documents: format, the member of a jsonl object, cleaning, the share that is held out."""

    text_format: TextFormat
    field: str | None
    cleaning: Cleaning
    heldout: float


@dataclass(frozen=True)
class TextEncoding:
    """How documents become rows of at most ``max_pieces`` pieces, [CLS] and [SEP] included."""

    source: TextSource
    vocabulary: PieceVocabulary
    max_pieces: int

    def key(self) -> str:
        """All of it as one text."""
        return "\0".join([repr(self.source), str(self.max_pieces), self.vocabulary.backend.to_str()])


class TextRows:
    """Rows of pieces without [CLS] and [SEP], over memory-mapped files."""

    def __init__(self, pieces: NDArray[Any], ends: NDArray[np.int64]) -> None:
        self._pieces = pieces
        self._starts = np.concatenate(([0], ends))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, row: int) -> Pieces:
        return self._pieces[self._starts[row] : self._starts[row + 1]].astype(np.int32)

    @cached_property
    def lengths(self) -> IntColumn:
        """The pieces of each row with [CLS] and [SEP]."""
        return (np.diff(self._starts) + 2).astype(np.int32)


class TextCorpus:
    """Shards of text and their encoded rows."""

    def __init__(
        self, shards: Sequence[tuple[Stretch, ...]], encoding: TextEncoding, folder: Path, largest: float
    ) -> None:
        """``folder`` is the private cache, ``largest`` the bytes of encoded training rows that may lie there.

        The shard being encoded comes on top for as long as it is written, and the one just asked for always stays.
        """
        self.encoding = encoding
        self._shards = shards
        self._folder = folder
        self._in_use = InUse(folder)
        self._largest = largest
        self._vocabulary_size = encoding.vocabulary.backend.get_vocab_size()
        hashes = {path: file_hash(path) for path in dict.fromkeys(part.path for shard in shards for part in shard)}
        self.hash = _digest(hashes.values())
        self._keys = [self._key(shard, hashes) for shard in shards]

    @cached_property
    def counts(self) -> tuple[TextCounts, ...]:
        """What is in each shard; those not known are encoded now.

        Raises:
            DataError: a file is malformed, or nothing is left to train on or held out.
        """
        found = tuple(self._counts(number) for number in range(len(self._shards)))
        total = sum(found, TextCounts())
        if not total.rows or not total.heldout_rows:
            raise DataError(
                f"{self._shards[0][0].path} and the other pretrain.files: expected enough documents to hold out "
                f"{self.encoding.source.heldout:.2%} of them (pretrain.heldout) and to train on the rest, found "
                f"{total.documents} to train on and {total.heldout_documents} held out"
            )
        return found

    @property
    def total(self) -> TextCounts:
        """What is in all shards together."""
        return sum(self.counts, TextCounts())

    def rows(self, number: int, part: Part) -> TextRows:
        """The rows of a shard, encoded anew if they were dropped."""
        pieces, ends = self._files(number, part)
        with locked(self._folder):
            if not (pieces.exists() and ends.exists()):
                self._encode(number)
            if part == "train":
                os.utime(pieces)
                self._drop(pieces)
            return TextRows(np.load(pieces, mmap_mode="r"), np.load(ends, mmap_mode="r"))

    def unigrams(self) -> NDArray[np.int64]:
        """How often each piece of the vocabulary occurs in the training rows."""
        total = np.zeros(self._vocabulary_size, dtype=np.int64)
        for number in range(len(self.counts)):
            total += np.load(self._path(number, "unigrams.npy"))
        return total

    def _counts(self, number: int) -> TextCounts:
        path = self._path(number, "json")
        with locked(self._folder):
            if not path.exists():
                self._encode(number)
        return TextCounts(**json.loads(path.read_text(encoding="utf-8")))

    def _encode(self, number: int) -> None:
        """Encode a shard, within the limit on disk; for whoever holds the folder's lock.

        Its counts are written last: where they are, all of it has been there.
        """
        builders: dict[Part, _Builder] = {
            part: _Builder(self._continues(), self.encoding.max_pieces - 2) for part in ("train", "heldout")
        }
        backend = self.encoding.vocabulary.backend
        for chunk in _chunks(documents(self._shards[number], self.encoding.source)):
            encoded = backend.encode_batch([text for text, _ in chunk], add_special_tokens=False)
            for (_, held_out), one in zip(chunk, encoded, strict=True):
                builders["heldout" if held_out else "train"].add(one.ids)
        for part, builder in builders.items():
            for path, column in zip(self._files(number, part), builder.columns(self._vocabulary_size), strict=True):
                _save(path, column)
        train, heldout = builders["train"], builders["heldout"]
        _save(self._path(number, "unigrams.npy"), train.unigrams(self._vocabulary_size))
        # Here and not only where rows are read: all shards are encoded for their counts before any is trained on.
        self._drop(self._files(number, "train")[0])
        found = TextCounts(train.documents, heldout.documents, train.rows, heldout.rows, train.pieces, heldout.pieces)
        write_atomically(self._path(number, "json"), json.dumps(asdict(found)))

    def _continues(self) -> NDArray[np.bool_]:
        return continuing_pieces(self.encoding.vocabulary)

    def _drop(self, needed: Path) -> None:
        """Remove the encoded training rows used longest ago until all that is left is small enough."""
        found = {path: path.stat() for path in self._folder.glob("text.*.train.pieces.npy")}
        size = sum(status.st_size for status in found.values())
        for path in sorted(found, key=lambda path: found[path].st_mtime_ns):
            if size <= self._largest:
                return
            if path != needed:
                path.unlink()
                size -= found[path].st_size

    def _files(self, number: int, part: Part) -> tuple[Path, Path]:
        return self._path(number, f"{part}.pieces.npy"), self._path(number, f"{part}.ends.npy")

    def _path(self, number: int, ending: str) -> Path:
        return self._folder / f"text.{self._keys[number]}.{ending}"

    def _key(self, shard: tuple[Stretch, ...], hashes: Mapping[Path, str]) -> str:
        places = [f"{hashes[part.path]} {part.start} {part.end}" for part in shard]
        return _digest([_code_hash(), self.encoding.key(), *places])[:16]


def documents(shard: Sequence[Stretch], source: TextSource) -> Iterator[tuple[str, bool]]:
    """The cleaned documents of a shard, each with whether it is held out."""
    for stretch in shard:
        for text in read(stretch, source.text_format, source.field):
            yield clean(text, source.cleaning), is_held_out(text, source.heldout)


def is_held_out(text: str, share: float) -> bool:
    """Whether a document is held out: drawn by its text alone, but for blanks and capitals.

    So it is in every run, whatever its seed and its other documents, and copies of one document are on one side.
    """
    same = " ".join(text.lower().split())
    return int.from_bytes(hashlib.blake2b(same.encode(), digest_size=8).digest()) < share * 2**64


def continuing_pieces(vocabulary: PieceVocabulary) -> NDArray[np.bool_]:
    """By piece, whether it goes on with a word: WordPiece marks these by ``##``."""
    found = np.zeros(vocabulary.backend.get_vocab_size(), dtype=bool)
    for piece, number in vocabulary.backend.get_vocab().items():
        found[number] = piece.startswith("##") and len(piece) > 2
    return found


def cut_rows(begins: NDArray[np.bool_], room: int) -> list[int]:
    """Where the rows of a document end: each of at most ``room`` pieces, and before a word where there is one.

    ``begins``: by piece, whether a word begins there.
    """
    words = np.flatnonzero(begins)
    ends: list[int] = []
    first = 0
    while len(begins) - first > room:
        before = words[: np.searchsorted(words, first + room, side="right")]
        first = int(before[-1]) if len(before) and before[-1] > first else first + room
        ends.append(first)
    return [*ends, len(begins)]


class _Builder:
    """The rows of one part of a shard."""

    def __init__(self, continues: NDArray[np.bool_], room: int) -> None:
        self._continues = continues
        self._room = room
        self._documents: list[NDArray[np.int32]] = []
        self._ends: list[int] = []
        self.pieces = 0

    def add(self, ids: Sequence[int]) -> None:
        if not ids:
            return
        pieces = np.array(ids, dtype=np.int32)
        self._ends += [self.pieces + end for end in cut_rows(~self._continues[pieces], self._room)]
        self._documents.append(pieces)
        self.pieces += len(pieces)

    @property
    def documents(self) -> int:
        return len(self._documents)

    @property
    def rows(self) -> int:
        return len(self._ends)

    def columns(self, vocabulary_size: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        kind = np.uint16 if vocabulary_size <= 2**16 else np.int32
        return np.concatenate([np.empty(0, kind), *self._documents]).astype(kind), np.array(self._ends, dtype=np.int64)

    def unigrams(self, vocabulary_size: int) -> NDArray[np.uint32]:
        pieces = np.concatenate([np.empty(0, np.int32), *self._documents])
        return np.bincount(pieces, minlength=vocabulary_size).astype(np.uint32)


def _chunks(found: Iterator[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    chunk: list[tuple[str, bool]] = []
    size = 0
    for document in found:
        chunk.append(document)
        size += len(document[0])
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _save(path: Path, column: NDArray[Any]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".encoding-")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, column)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _digest(parts: Any) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@cache
def _code_hash() -> str:
    """Of the code that makes rows from text: a changed reader must not find rows of the one before."""
    return _digest(file_hash(path) for path in sorted(Path(__file__).parent.glob("*.py")))
