"""Texts as the duplicate checks see them: hashes of a sentence, a document or a pair, with no text in them.

Two texts are *exact* duplicates when they are equal but for the blanks in them. They are *near* duplicates when the
Jaccard similarity of their word shingles (``SHINGLE`` successive words, in lower case and without punctuation) is at
least ``duplicates.NEAR``: Broder 1997, "On the resemblance and containment of documents".
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

SHINGLE = 3

Shingles: TypeAlias = NDArray[np.uint32]

_WORD = re.compile(r"\w+")


@dataclass(slots=True)
class Passage:
    """One text and what it carries.

    ``id`` is how findings name it. ``examples`` counts the examples that were made of it, ``positives`` those with a
    relation, or its mentions. ``words`` counts the words that shingles are made of.
    """

    id: str
    document: str
    digest: bytes
    shingles: Shingles
    words: int
    examples: int = 0
    positives: int = 0


def digest(text: str) -> bytes:
    """A hash of the text, the same for texts that differ in blanks only."""
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def passage(id_: str, document: str, text: str) -> Passage:
    """The passage of a text, with no examples yet."""
    words = _WORD.findall(text.casefold())
    return Passage(id_, document, digest(text), _shingles(words), len(words))


def joined(id_: str, parts: Iterable[Passage]) -> Passage:
    """One passage of several in order. Shingles across two parts are left out, so no text has to be kept for it."""
    parts = list(parts)
    together = hashlib.blake2b(b"".join(part.digest for part in parts), digest_size=16).digest()
    return Passage(
        id=id_,
        document=id_,
        digest=parts[0].digest if len(parts) == 1 else together,
        shingles=np.unique(np.concatenate([part.shingles for part in parts])),
        words=sum(part.words for part in parts),
        examples=sum(part.examples for part in parts),
        positives=sum(part.positives for part in parts),
    )


def jaccard(one: Shingles, other: Shingles) -> float:
    """The size of the intersection by that of the union; 0 if both are empty."""
    union = len(np.union1d(one, other))
    return (len(one) + len(other) - union) / union if union else 0.0


def _shingles(words: list[str]) -> Shingles:
    """Hashes of the word shingles, each once, sorted; a text of fewer words is one shingle."""
    if not words:
        return np.empty(0, dtype=np.uint32)
    starts = range(max(1, len(words) - SHINGLE + 1))
    hashes = {zlib.crc32(" ".join(words[start : start + SHINGLE]).encode("utf-8", "surrogatepass")) for start in starts}
    return np.array(sorted(hashes), dtype=np.uint32)
