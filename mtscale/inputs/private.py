"""Folders for encoded text, readable by their owner alone, and what is done in them by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import platformdirs

from mtscale.errors import ConfigError

# Beside text that must not leave its place.
BESIDE = ".mtscale-cache"


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
    with open(folder / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
