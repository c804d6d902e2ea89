"""Which encoded text lies in caches, and its removal. Without torch.

Only folders that bear our mark are touched (``private``), in them only what has a name that we give, and nothing while
a process uses the folder. Links are not followed. Files are removed, not overwritten.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mtscale.inputs.private import BESIDE, LOCK, TAG, is_cache, not_in_use, own_cache
from mtscale.names import TASK_NAME
from mtscale.runs import UNFINISHED

TEXT, VOCABULARY, LEFT = "text to pretrain on", "vocabularies", "unfinished"
_KEY = "[0-9a-f]{16}"
_ROWS = re.compile(rf"({TASK_NAME.pattern})\.(?:train|dev|test)\.{_KEY}\.(?:arrow|json)")
_NAMES = {
    TEXT: re.compile(rf"text\.{_KEY}\.(?:(?:train|heldout)\.(?:pieces|ends)\.npy|unigrams\.npy|json)"),
    VOCABULARY: re.compile(rf"vocabulary\.{_KEY}"),
    LEFT: re.compile(rf"\.encoding-\w+|\.training-vocabulary\.{_KEY}|\..+{re.escape(UNFINISHED)}"),
}

State = Literal["found", "removed", "in use", "not marked"]


@dataclass
class Part:
    """What a cache holds of one thing: ``task`` (None: of no task), its access where that is known, its files."""

    what: str
    task: str | None
    access: str | None = None
    files: int = 0
    bytes: int = 0
    paths: list[Path] = field(default_factory=list, repr=False)


@dataclass
class Cache:
    """A folder: what of ours lies in it, and the names of what is not ours, which stays."""

    folder: Path
    state: State
    parts: list[Part] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """The size of all parts."""
        return sum(part.bytes for part in self.parts)


def own_folder() -> Path:
    """The cache in the user's cache folder, or where ``MTSCALE_CACHE`` points."""
    chosen = os.environ.get("MTSCALE_CACHE")
    return Path(chosen).expanduser() / "encoded" if chosen else own_cache()


def cache_folders(roots: Sequence[Path]) -> list[Path]:
    """The caches at and below these folders, and ``own_folder``."""
    found = [own_folder()] if own_folder().is_dir() else []
    for root in roots:
        for folder, below, _ in os.walk(root):
            if BESIDE in below:
                below.remove(BESIDE)
                found.append(Path(folder) / BESIDE)
    return list(dict.fromkeys(found))


def look(folder: Path, tasks: Sequence[str] = ()) -> Cache:
    """What of ours lies in a cache, of some tasks or of all and of none."""
    if folder.is_symlink() or not is_cache(folder):
        return Cache(folder, "not marked")
    parts: dict[str, Part] = {}
    foreign = []
    for path in sorted(folder.iterdir()):
        if path.name in (LOCK, TAG):
            continue
        part = _part_of(path)
        if part is None:
            foreign.append(path.name)
        elif not tasks or part.task in tasks:
            part = parts.setdefault(part.what, part)
            inside = list(_files(path))
            part.files += len(inside)
            part.bytes += sum(file.lstat().st_size for file in inside)
            part.access = part.access or _access(path)
            part.paths.append(path)
    return Cache(folder, "found", list(parts.values()), foreign)


def purge(folder: Path, tasks: Sequence[str] = ()) -> Cache:
    """Remove what ``look`` finds, unless a process uses the folder.

    Raises:
        OSError: something cannot be removed.
    """
    if folder.is_symlink() or not is_cache(folder):
        return Cache(folder, "not marked")
    with not_in_use(folder) as free:
        cache = look(folder, tasks)
        if not free:
            cache.state = "in use"
            return cache
        for path in (path for part in cache.parts for path in part.paths):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        cache.state = "removed"
    return cache


def _part_of(path: Path) -> Part | None:
    """A new part of the kind that a path belongs to; None where its name is none of ours."""
    if path.is_symlink():
        return None
    if path.is_file() and (found := _ROWS.fullmatch(path.name)):
        return Part(f"task {found[1]}", found[1])
    what = next((what for what, name in _NAMES.items() if name.fullmatch(path.name)), None)
    return None if what is None else Part(what, None)


def _access(path: Path) -> str | None:
    """The mark that the facts beside encoded rows bear."""
    if path.suffix != ".json":
        return None
    try:
        access = json.loads(path.read_text(encoding="utf-8")).get("access")
    except (OSError, ValueError, AttributeError):
        return None
    return access if access in ("open", "dua") else None


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (one for one in path.rglob("*") if not one.is_dir())
    else:
        yield path
