"""Folders for encoded text, readable by their owner alone, and what is done in them by one process at a time.

Each is marked as a cache by the file ``CACHEDIR.TAG`` (bford.info/cachedir), which backups look for and pass over. A
folder that bears our mark may be purged (``purge``) while nobody holds the mark's lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import platformdirs

from mtscale.errors import ConfigError

# Beside text that must not leave its place.
BESIDE = ".mtscale-cache"
LOCK, TAG = ".lock", "CACHEDIR.TAG"
_TAG_TEXT = b"""Signature: 8a477f597d28d172789f06886806bc55
# Text encoded by mtscale, private to its owner. `mtscale corpora purge` removes it; it is made again when it is needed.
"""


def own_cache() -> Path:
    """The folder for encoded text in the user's cache."""
    return Path(platformdirs.user_cache_dir("mtscale")) / "encoded"


def private_folder(places: Sequence[Path], what: str) -> Path:
    """The first of some places that can be written, or the one that ``MTSCALE_CACHE`` names; made private.

    Raises:
        ConfigError: none of them can be written; ``what`` says for what it was wanted.
    """
    if chosen := os.environ.get("MTSCALE_CACHE"):
        # A folder of its own: the one named may be shared, and making that private would shut others out.
        places = [Path(chosen).expanduser() / "encoded"]
    problem = ""
    for place in places:
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.chmod(0o700)
            if os.access(place, os.W_OK):
                _tag(place)
                return place
            problem = "no permission to write"
        except OSError as error:
            problem = error.strerror or str(error)
    raise ConfigError(
        f"{what}: cannot write the cache of encoded text in {places[0]}: {problem}. "
        "Make it writable or name another private folder with MTSCALE_CACHE"
    )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, so that the ranks of a run do not encode the same text side by side."""
    with open(folder / LOCK, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class InUse:
    """Keeps a folder from being purged for as long as this object lives: what is mapped has to stay."""

    def __init__(self, folder: Path) -> None:
        handle = os.open(folder / TAG, os.O_RDONLY)
        weakref.finalize(self, os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_SH)


@contextlib.contextmanager
def not_in_use(folder: Path) -> Iterator[bool]:
    """Whether nobody uses a marked folder; if so, whoever wants to use it waits until the end of the block."""
    with open(folder / TAG, "r+b") as stream:  # on NFS, who locks alone must be able to write
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def is_cache(folder: Path) -> bool:
    """Whether a folder bears our mark."""
    try:
        return (folder / TAG).read_bytes() == _TAG_TEXT
    except OSError:
        return False


def _tag(folder: Path) -> None:
    if not is_cache(folder):
        # In place: who holds its lock holds that of the same file.
        with open(os.open(folder / TAG, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
            stream.write(_TAG_TEXT)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
