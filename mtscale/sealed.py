"""Folders that are whole or not used at all: a manifest with the hash of every file, written when all of them are.

Stdlib alone: what only reads such a folder (prediction) loads none of the training libraries for it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

MANIFEST = "manifest.json"


def seal(folder: Path) -> None:
    """Write the manifest of a complete folder, and see all of it onto the disk."""
    manifest = {str(path.relative_to(folder)): file_hash(path) for path in files_in(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in files_in(folder):
        with open(path, "rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(folder)


def damage(folder: Path) -> str | None:
    """What differs from the manifest of a sealed folder; None if it is whole. A name that leaves it is damage."""
    try:
        manifest: dict[str, str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest.items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                return f"{MANIFEST} names a file outside the folder"
            if file_hash(folder / name) != expected:
                return f"{name} is not what was saved"
    except OSError as error:
        return f"{Path(error.filename).name}: {error.strerror}"
    except (ValueError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def file_hash(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """See a folder's own entries onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
