"""Which corpora lie under a data root, and where to get those that do not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mtscale.corpora.catalogue import corpus_folder
from mtscale.corpora.example import SPLITS, SplitName
from mtscale.corpora.splits import source_split
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import Task


def missing_files(task: Task, data_root: Path | None) -> dict[Path, SplitName]:
    """The files and folders a task is read from that do not exist, each with the first split that is read from it.

    Raises:
        ConfigError: a split has no files, or the task needs a data root and there is none.
    """
    folder = corpus_folder(task, data_root)
    missing: dict[Path, SplitName] = {}
    for split in SPLITS:
        for path in (folder / name for name in task.files[source_split(task, split)]):
            if not path.exists():
                missing.setdefault(path, split)
    return missing


def needs_data_root(task: Task) -> bool:
    """Whether a task's corpus lies under the data root: not in the package, nor beside a recipe."""
    return not (task.packaged or Path(task.corpus).is_absolute())


def require(tasks: Iterable[Task], data_root: Path | None) -> None:
    """Check that all corpora of some tasks are there.

    Raises:
        ConfigError: as ``missing_files``, but of all tasks that need a data root.
        DataError: files are missing; all tasks and files are named, with where to get them.
    """
    tasks = list(tasks)
    rootless = [task for task in tasks if data_root is None and needs_data_root(task)]
    if rootless:
        raise ConfigError(
            f"task {', '.join(task.name for task in rootless)}: the folder that holds the corpora is not known; "
            "give --data DIR, set MTSCALE_DATA, or write data_root in the recipe. Expected in it:\n"
            + "\n".join(dict.fromkeys(f"folder {task.corpus}{_where(task)}" for task in rootless))
        )
    problems = [(task, missing) for task in tasks if (missing := missing_files(task, data_root))]
    if problems:
        raise DataError("\n".join(_complaint(task, missing) for task, missing in problems))


def _complaint(task: Task, missing: dict[Path, SplitName]) -> str:
    files = ", ".join(f"the {split} file at {path}" for path, split in missing.items())
    return f"task {task.name}: expected {files}, found nothing there{_where(task)}"


def _where(task: Task) -> str:
    return f"; get it from {task.obtain} ({task.licence})" if task.obtain else ""
