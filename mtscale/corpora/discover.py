"""What a folder of annotated files is: shipped corpora in their own layout, or files of one of the general formats.

A task of one's own is a guess from the beginning of the files, their names and the labels in them. What was guessed is
said in notes, which end up as comments in a recipe.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mtscale.corpora import guess, inventory
from mtscale.corpora.example import SPLITS, SplitName
from mtscale.corpora.guess import Found, Source
from mtscale.corpora.sniff import format_of, split_of
from mtscale.errors import ConfigError, DataError
from mtscale.names import TASK_NAME
from mtscale.tasks import TASKS, Task

FOLDS = 5
DEV_FRACTION = 0.1


@dataclass(frozen=True)
class Discovery:
    """The tasks of a folder, the data root their files are relative to, and what else was noticed."""

    tasks: tuple[Found, ...]
    data_root: Path
    notes: tuple[str, ...]


def tasks_in(folder: Path) -> Discovery:
    """Find the tasks that the files of an absolute folder give.

    Raises:
        ConfigError: it is no folder.
        DataError: it holds no file of a known format, or a file of the one chosen is malformed.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder of annotated files, found none")
    return _shipped(folder) or _own(folder)


def base_name(folder: Path) -> str:
    """A name for recipes and tasks, made of the folder's."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-_")[:60] or "corpus"
    assert TASK_NAME.fullmatch(name)
    return f"own-{name}" if name in TASKS else name


def _shipped(folder: Path) -> Discovery | None:
    """The shipped tasks whose corpora are in the folder, or are the folder, under whatever name."""
    candidates = [task for task in TASKS.values() if not task.packaged]
    for data_root, tasks in (
        (folder, candidates),
        (folder.parent, [task for task in candidates if task.corpus == folder.name]),
    ):
        found = [task for task in tasks if not inventory.missing_files(task, data_root)]
        if found:
            return Discovery(tuple(Found(task, ()) for task in found), data_root, ())
    here = [task for task in candidates if not inventory.missing_files(replace(task, corpus=str(folder)), None)]
    if not here:
        return None
    note = f"the layout of the corpus {here[0].corpus}: in a folder of this name its shipped tasks can be used"
    return Discovery(tuple(Found(_renamed(task), ()) for task in here), folder, (note,))


def _renamed(task: Task) -> Task:
    """A shipped task as one's own, with a drawn dev split in place of a published one."""
    dev_fraction = DEV_FRACTION if task.dev_documents else task.dev_fraction
    return replace(task, name=f"own-{task.name}", corpus="", dev_documents=None, dev_fraction=dev_fraction)


def _own(folder: Path) -> Discovery:
    names_by_format = _formats(folder)
    if not names_by_format:
        raise DataError(
            f"{folder}: expected files of a known format (PubTator, BioC, BRAT, columns with tags, TSV, CSV or JSONL "
            "with columns named sentence1, sentence2 and score or label, or sentence and label), found none; "
            "rename the columns, or write the recipe by hand"
        )
    sources = [_source(folder, format_, names) for format_, names in names_by_format.items()]
    # Of several forms of one corpus the one with the most splits; of equal ones the first in the order of formats.
    best = max(sources, key=lambda source: len(source.files))
    notes = [_about_splits(best)] if best.folds or best.dev_fraction else []
    notes += [f"not used, as its name says no split: {name}" for name in best.unused]
    notes += [
        f"not used, as another format was chosen: {name} ({source.format})"
        for source in sources
        if source is not best
        for name in (*(name for names in source.files.values() for name in names), *source.unused)
    ]
    return Discovery(tuple(guess.tasks_of(best, base_name(folder))), folder, tuple(notes))


def _about_splits(source: Source) -> str:
    if source.folds:
        return (
            "no names with train and test: all files are cut into folds by document, of which fold 0 is test and "
            "fold 1 dev; or name files for train, dev and test"
        )
    return "no name with dev: documents of train are drawn for it"


def _formats(folder: Path) -> Mapping[str, list[str]]:
    """The files of each format, folders for BRAT, relative to the folder, in the order of guess.FORMATS."""
    found: dict[str, list[str]] = defaultdict(list)
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(filter(_is_visible, folders))
        names = set(filter(_is_visible, files))
        relative = Path(place).relative_to(folder)
        paired = {name for name in names if name.endswith(".txt") and f"{name.removesuffix('.txt')}.ann" in names}
        if paired:
            found["brat"].append(str(relative))
        annotations = {f"{name.removesuffix('.txt')}.ann" for name in paired}
        for name in sorted(names - paired - annotations):
            path = Path(place) / name
            format_ = format_of(path) if path.is_file() else None
            if format_ is not None and guess.is_readable(path, format_):
                found[format_].append(str(relative / name))
    return {format_: found[format_] for format_ in guess.FORMATS if format_ in found}


def _is_visible(name: str) -> bool:
    """Whether a name is no hidden one, and one that can be written into a recipe."""
    return not name.startswith(".") and name.isprintable()


def _source(folder: Path, format_: str, names: list[str]) -> Source:
    """The files of a format by split; without both train and test among them all are train, to be cut into folds."""
    files: dict[SplitName, tuple[str, ...]] = {}
    for split in SPLITS:
        chosen = tuple(name for name in names if split_of(name) == split)
        if chosen:
            files[split] = chosen
    if not {"train", "test"} <= files.keys():
        return Source(folder, format_, {"train": tuple(names)}, (), folds=FOLDS)
    unused = tuple(name for name in names if split_of(name) is None)
    return Source(folder, format_, files, unused, dev_fraction=None if "dev" in files else DEV_FRACTION)
