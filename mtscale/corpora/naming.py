"""What documents under a data use agreement are called outside their corpus.

Names of clinical documents may carry numbers of patients, and names that follow a format can be found from a plain
hash by trying them all. So they are hashed with a key, and the key is made of the text itself: it is written nowhere,
whoever holds the corpus can make it again, and others can try no name. Two runs on one corpus name a document alike, on
whatever machine; a corpus that has been changed has other names. The hash that a run stores of its data gives no key.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mtscale.errors import DataError

_PERSON = b"mtscale names"
_HASH = "[0-9a-f]{16}"
# What readers add to a document's name: the sentence and two mentions, or two of i2b2's places.
_PLACES = r"\.s[0-9]+(?:\.[0-9]+-[0-9]+){0,2}|(?:\.[0-9]+:[0-9]+-[0-9]+){2}"
# Of the files that some formats keep for one document.
_SUFFIXES = (".txt", ".ann", ".con", ".rel", ".ast", ".pipe", ".knowtator", ".xml")
_SUFFIX = f"(?:{'|'.join(map(re.escape, _SUFFIXES))})*"
_HASHED_ID = re.compile(rf"{_HASH}(?:{_PLACES}|\.{_HASH})?")


@dataclass(frozen=True)
class Naming:
    """Gives names that say nothing, always the same ones of one text."""

    key: bytes

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Naming:
        """The naming of what is in some files, or in the files below some folders.

        Raises:
            OSError: one of them cannot be read.
        """
        digest = hashlib.blake2b(digest_size=32, person=_PERSON)
        for path in paths:
            for file in _files(path):
                facts = file.stat()
                content = _content(file, facts.st_size, facts.st_mtime_ns)
                digest.update(os.fsencode(file.relative_to(path)) + b"\0" + content)
        return cls(digest.digest())

    def document(self, name: str) -> str:
        """Of a document, or a file: 16 hexadecimal digits of the keyed BLAKE2b (RFC 7693) of its name."""
        return hashlib.blake2b(os.fsencode(name), digest_size=8, key=self.key, person=_PERSON).hexdigest()

    def example(self, id_: str, document: str) -> str:
        """Of an example: what its document is called, then its place there, which says nothing, or its id's hash."""
        named = self.document(document)
        if id_ == document:
            return named
        place = id_.removeprefix(document)
        if place != id_ and re.fullmatch(_PLACES, place):
            return named + place
        return f"{named}.{self.document(id_)}"

    def message(self, message: str, paths: Sequence[Path]) -> str:
        """A message in which the files below the folders among some paths are called what their documents are.

        Files and folders that a recipe names are left as they are.
        """
        for folder in (path for path in paths if path.is_dir()):
            for file in sorted({_without_suffixes(file) for file in _files(folder)}, reverse=True):
                named = str(file.with_name(self.document(file.name)))
                message = re.sub(rf"{re.escape(str(file))}(?={_SUFFIX}(?![\w-]))", named, message)
        return message

    @contextlib.contextmanager
    def hiding(self, paths: Sequence[Path]) -> Iterator[None]:
        """Errors of the block that name files below these folders name them otherwise.

        Raises:
            DataError: one was raised.
        """
        try:
            yield
        except DataError as error:
            raise DataError(self.message(str(error), paths)) from None


# Every reading of a split asks for the key; a large table is not hashed each time.
@lru_cache(maxsize=4096)
def _content(file: Path, size: int, changed_ns: int) -> bytes:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(person=_PERSON)).digest()


def is_hashed(id_: str, document: str) -> bool:
    """Whether an id and a document's name could have been given by a ``Naming``."""
    return bool(re.fullmatch(_HASH, document) and id_.startswith(document) and _HASHED_ID.fullmatch(id_))


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())


def _without_suffixes(file: Path) -> Path:
    while file.suffix in _SUFFIXES:
        file = file.with_suffix("")
    return file
