"""The catalogue: which reader reads a task's format, and where the task's files lie.

A new format is one file with ``read_examples`` and ``read_gold``, and one line in ``READERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mtscale.corpora import pairs_tsv, pubtator
from mtscale.corpora.example import Example, Gold, SplitName
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Task

SAMPLE_FOLDER = Path(__file__).parents[1] / "sample"


class Reader(NamedTuple):
    """The two functions of a format; both take a task and the file or folder of one split."""

    examples: Callable[[Task, Path], Iterator[Example]]
    gold: Callable[[Task, Path], Gold]


READERS: Mapping[str, Reader] = {
    "pubtator": Reader(pubtator.read_examples, pubtator.read_gold),
    "tsv": Reader(pairs_tsv.read_examples, pairs_tsv.read_gold),
}


def read_examples(task: Task, split: SplitName, data_root: Path | None) -> Iterator[Example]:
    """The examples of one split, one at a time; their ids are unique in the split.

    Raises:
        ConfigError: the format has no reader, the task has no such split, or there is no data root.
        DataError: the file is missing or malformed (a malformed one while iterating).
    """
    return _reader(task).examples(task, corpus_file(task, split, data_root))


def read_gold(task: Task, split: SplitName, data_root: Path | None) -> Gold:
    """The gold of one split, straight from the corpus: what never became an example is still in it.

    Raises:
        ConfigError, DataError: as ``read_examples``.
    """
    return _reader(task).gold(task, corpus_file(task, split, data_root))


def corpus_file(task: Task, split: SplitName, data_root: Path | None) -> Path:
    """The file, or the folder where a format has one, of a split.

    Raises:
        ConfigError: the task has no such split, or there is no data root.
        DataError: the file does not exist.
    """
    if split not in task.files:
        raise ConfigError(f"task {task.name}: no file is given for {split}, only for {', '.join(task.files)}")
    path = corpus_folder(task, data_root) / task.files[split]
    if not path.exists():
        raise DataError(f"task {task.name}: expected the {split} file at {path}, found nothing there")
    return path


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
