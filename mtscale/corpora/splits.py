"""Which documents belong to a split, where the corpus itself does not say it by file, or not all are wanted.

A split is always made of whole documents, so that no sentence of a training document is seen in dev or test. A
draw ranks the documents by a hash of their ids: it depends on no order of files and no generator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from math import ceil
from pathlib import Path

from mtscale.corpora.example import SplitName
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Task

Membership = Callable[[str], bool]


def source_split(task: Task, split: SplitName) -> SplitName:
    """The split whose files hold the documents of ``split``: itself, or train where it is taken from there.

    Raises:
        ConfigError: the task says neither where the split's files are nor how to take it from others.
    """
    if split in task.files and not task.folds:
        return split
    if task.folds or (split == "dev" and (task.dev_documents or task.dev_fraction)):
        return "train"
    raise ConfigError(f"task {task.name}: no file is given for {split}, only for {', '.join(task.files)}")


def membership(
    task: Task, split: SplitName, paths: Sequence[Path], documents: Callable[[], Iterable[str]]
) -> Membership | None:
    """A test whether a document of the files of ``source_split`` is in the split; None where all of them are.

    ``paths`` are these files, for errors to name. ``documents`` gives the ids of all documents in them; it is called
    only where the cut depends on them.

    Raises:
        DataError: the listed dev documents are not all there, or there are too few documents to cut.
    """
    cut = _cut(task, split, paths, documents)
    of_dev = task.train_documents if task.trains_on_dev else task.choosing_documents
    limit = {"train": task.train_documents, "dev": of_dev}.get(split)
    if limit is None:
        return cut
    whole = {document for document in documents() if cut is None or cut(document)}
    drawn = sorted(whole, key=lambda document: _draw(task, document))[:limit]
    return frozenset(drawn).__contains__


def _cut(
    task: Task, split: SplitName, paths: Sequence[Path], documents: Callable[[], Iterable[str]]
) -> Membership | None:
    if task.folds:
        return _in_fold(task, split, paths, documents())
    if split == "test" or "dev" in task.files or not (task.dev_documents or task.dev_fraction):
        return None
    dev = _dev_documents(task, paths, list(dict.fromkeys(documents())))
    if split == "dev":
        return dev.__contains__
    return lambda document: document not in dev


def _dev_documents(task: Task, paths: Sequence[Path], documents: list[str]) -> frozenset[str]:
    if task.dev_documents:
        listed = frozenset(_listed(task.dev_documents))
        missing = len(listed - set(documents))
        if missing:
            raise DataError(
                f"{_joined(paths)}: task {task.name}: expected the {len(listed)} documents of {task.dev_documents} in "
                f"the training files, found all but {missing}; is the corpus whole?"
            )
        return listed
    assert task.dev_fraction is not None
    count = ceil(task.dev_fraction * len(documents))
    if not 0 < count < len(documents):
        raise DataError(
            f"{_joined(paths)}: task {task.name}: expected enough documents to hold out {task.dev_fraction:.0%} of "
            f"them for dev, found {len(documents)}"
        )
    return frozenset(sorted(documents, key=lambda document: _draw(task, document))[:count])


def _in_fold(task: Task, split: SplitName, paths: Sequence[Path], documents: Iterable[str]) -> Membership:
    assert task.folds is not None
    ranked = sorted(set(documents), key=lambda document: _draw(task, document))
    if len(ranked) < task.folds:
        raise DataError(
            f"{_joined(paths)}: task {task.name}: expected at least {task.folds} documents for folds, "
            f"found {len(ranked)}"
        )
    test, dev = task.fold, (task.fold + 1) % task.folds
    wanted = {"test": {test}, "dev": {dev}}.get(split, set(range(task.folds)) - {test, dev})
    return frozenset(document for rank, document in enumerate(ranked) if rank % task.folds in wanted).__contains__


def _joined(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _draw(task: Task, document: str) -> str:
    return hashlib.sha256(f"{task.split_seed}\0{document}".encode()).hexdigest()


def _listed(name: str) -> list[str]:
    text = (resources.files("mtscale.splits") / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
