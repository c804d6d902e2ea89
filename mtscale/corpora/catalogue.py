"""The catalogue: which reader reads a task's format, where the task's files lie, and what of them is in a split.

A new format is one file with ``read_examples`` and ``read_gold``, and one line in ``READERS``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from mtscale.corpora import (
    bioc,
    blue,
    brat,
    chemprot,
    clinicalsts,
    conll,
    ddi,
    i2b2,
    mednli,
    pubtator,
    shareclef,
    tables,
)
from mtscale.corpora.example import SPLITS, Example, Gold, GoldItem, GoldValue, SplitName
from mtscale.corpora.naming import Naming
from mtscale.corpora.splits import Membership, membership, source_split
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Access, Task

_Item = TypeVar("_Item")

SAMPLE_FOLDER = Path(__file__).parents[1] / "sample"


class Reader(NamedTuple):
    """The two functions of a format; both take a task and the files or folders of one split."""

    examples: Callable[[Task, Sequence[Path]], Iterator[Example]]
    gold: Callable[[Task, Sequence[Path]], Iterator[GoldItem]]


READERS: Mapping[str, Reader] = {
    "bioc": Reader(bioc.read_examples, bioc.read_gold),
    "brat": Reader(brat.read_examples, brat.read_gold),
    "chemprot": Reader(chemprot.read_examples, chemprot.read_gold),
    "clinicalsts": Reader(clinicalsts.read_examples, clinicalsts.read_gold),
    "conll": Reader(conll.read_examples, conll.read_gold),
    "ddi": Reader(ddi.read_examples, ddi.read_gold),
    "i2b2": Reader(i2b2.read_examples, i2b2.read_gold),
    "mednli": Reader(mednli.read_examples, mednli.read_gold),
    "pubtator": Reader(pubtator.read_examples, pubtator.read_gold),
    "shareclef": Reader(shareclef.read_examples, shareclef.read_gold),
    "tsv": Reader(tables.read_examples, tables.read_gold),
    "csv": Reader(tables.read_examples, tables.read_gold),
    "jsonl": Reader(tables.read_examples, tables.read_gold),
    "blue": Reader(blue.read_examples, blue.read_gold),
}


def read_examples(task: Task, split: SplitName, data_root: Path | None) -> Iterator[Example]:
    """The examples of one split, one at a time; their ids are unique in the split.

    Those of a task under a use agreement name no document as its corpus does (``naming``).

    Raises:
        ConfigError: the format has no reader, the task has no such split, or there is no data root.
        DataError: a file is missing or malformed (a malformed one while iterating).
    """
    return _read(task, split, data_root, _own_examples, _rename_example)


def read_gold(task: Task, split: SplitName, data_root: Path | None) -> Gold:
    """The gold of one split, straight from the corpus: what never became an example is still in it.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    gold: dict[str, GoldValue] = {item.id: item.value for item in iterate_gold(task, split, data_root)}
    return cast(Gold, gold)


def iterate_gold(task: Task, split: SplitName, data_root: Path | None) -> Iterator[GoldItem]:
    """The entries of ``read_gold`` one at a time."""
    return _read(task, split, data_root, _own_gold, _rename_item)


def document_names(task: Task, split: SplitName, data_root: Path | None) -> dict[str, str]:
    """What the documents of a split are called outside their corpus, and in it.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    named = naming(task, data_root)
    names = (item.document for item in _own_gold(task, split, corpus_files(task, split, data_root)))
    return {name if named is None else named.document(name): name for name in names}


def naming(task: Task, data_root: Path | None) -> Naming | None:
    """How the documents of a task under a use agreement are called; None for others.

    The key is made of the training files, so that all splits have one; where there are none here, of another split's.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    if task.access is not Access.DUA:
        return None
    for split in SPLITS:
        if split not in task.files:
            continue
        paths = [corpus_folder(task, data_root) / name for name in task.files[split]]
        if all(path.exists() for path in paths):
            try:
                return Naming.of(paths)
            except OSError as error:
                raise DataError(f"task {task.name}: {error.filename}: cannot be read: {error.strerror}") from None
    return Naming.of([])


def corpus_files(task: Task, split: SplitName, data_root: Path | None) -> list[Path]:
    """The files, or the folders where a format has such, that a split is read from.

    Raises:
        ConfigError: the task has no such split, or there is no data root.
        DataError: one of them does not exist.
    """
    folder = corpus_folder(task, data_root)
    paths = [folder / name for name in task.files[source_split(task, split)]]
    for path in paths:
        if not path.exists():
            raise DataError(f"task {task.name}: expected the {split} file at {path}, found nothing there")
    return paths


def data_folder(given: Path | str | None, in_recipe: str | None) -> Path | None:
    """The data root: the option, MTSCALE_DATA, the recipe's ``data_root``, or None."""
    root = given or os.environ.get("MTSCALE_DATA") or in_recipe
    return Path(root).expanduser() if root else None


def corpus_folder(task: Task, data_root: Path | None) -> Path:
    """The folder of a task's corpus: inside the package for packaged tasks, else under the data root.

    A task whose files lie beside its recipe has that folder, absolute, as its corpus and needs no data root.

    Raises:
        ConfigError: the task needs a data root and there is none.
    """
    if task.packaged:
        return SAMPLE_FOLDER / task.corpus
    if Path(task.corpus).is_absolute():
        return Path(task.corpus)
    if data_root is None:
        raise ConfigError(
            f"task {task.name}: the folder that holds the corpus {task.corpus} is not known; "
            "give --data DIR, set MTSCALE_DATA, or write data_root in the recipe"
        )
    return data_root / task.corpus


def _reader(task: Task) -> Reader:
    if task.format not in READERS:
        raise ConfigError(f"task {task.name}: expected one of the formats {', '.join(READERS)}, found {task.format!r}")
    return READERS[task.format]


def _own_examples(task: Task, split: SplitName, paths: Sequence[Path]) -> Iterator[Example]:
    reader = _reader(task)
    examples, keep = reader.examples(task, paths), _membership(task, split, paths)
    return examples if keep is None else (example for example in examples if keep(example.document))


def _own_gold(task: Task, split: SplitName, paths: Sequence[Path]) -> Iterator[GoldItem]:
    reader = _reader(task)
    keep = _membership(task, split, paths)
    return (item for item in reader.gold(task, paths) if keep is None or keep(item.document))


def _read(
    task: Task,
    split: SplitName,
    data_root: Path | None,
    read: Callable[[Task, SplitName, Sequence[Path]], Iterator[_Item]],
    rename: Callable[[_Item, Naming], _Item],
) -> Iterator[_Item]:
    """What the split's files hold; of a task under a use agreement without the corpus' own names, in errors too."""
    paths, named = corpus_files(task, split, data_root), naming(task, data_root)
    if named is None:
        return read(task, split, paths)
    with named.hiding(paths):
        items = read(task, split, paths)
    return _renamed(items, named, paths, rename)


def _renamed(
    items: Iterator[_Item], named: Naming, paths: Sequence[Path], rename: Callable[[_Item, Naming], _Item]
) -> Iterator[_Item]:
    with named.hiding(paths):
        for item in items:
            yield rename(item, named)


def _rename_example(example: Example, named: Naming) -> Example:
    document = named.document(example.document)
    return replace(example, id=named.example(example.id, example.document), document=document)


def _rename_item(item: GoldItem, named: Naming) -> GoldItem:
    return item._replace(document=named.document(item.document), id=named.example(item.id, item.document))


def _membership(task: Task, split: SplitName, paths: Sequence[Path]) -> Membership | None:
    return membership(task, split, paths, lambda: (item.document for item in _reader(task).gold(task, paths)))
