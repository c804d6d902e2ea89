"""The commands ``mtscale corpora``: what there is, how much of it, and a recipe for files of one's own."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mtscale import recipe
from mtscale.checks import command as check
from mtscale.corpora import catalogue, discover, draft, inventory
from mtscale.corpora.example import SPLITS, SplitName
from mtscale.corpora.stats import UNITS, SplitStats, split_stats
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED, ConfigError, MtscaleError
from mtscale.inputs import purge
from mtscale.inputs.private import TAG
from mtscale.markup import printable
from mtscale.tasks import TASKS, Kind, Task
from mtscale.training.tables import table


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the group ``corpora`` with its commands."""
    group = commands.add_parser("corpora", help="corpora: which there are, how large, and a recipe for one's own")
    corpora = group.add_subparsers(required=True, metavar="COMMAND")

    listing = corpora.add_parser(
        "list", help="the shipped tasks: whether their corpora are here, and where to get them"
    )
    listing.set_defaults(command=_list)

    counts = corpora.add_parser("stats", help="the sizes of the splits, beside Table 1 of the paper")
    counts.add_argument("recipe", nargs="?", metavar="RECIPE", help="count its tasks (default: all shipped corpora)")
    counts.add_argument("--classes", action="store_true", help="a table of the classes below")
    counts.set_defaults(command=_stats)
    for command in (listing, counts):
        command.add_argument("--data", type=Path, metavar="DIR", help="folder of the corpora (or MTSCALE_DATA)")
        command.add_argument("--json", action="store_true", help="print JSON")

    check.add_parser(corpora)

    new = corpora.add_parser("new", help="look into a folder of annotated files and write a recipe for them")
    new.add_argument("folder", type=Path, metavar="FOLDER")
    new.add_argument("--output", type=Path, metavar="FILE", help="the recipe (default: ./FOLDER'S NAME.toml)")
    new.set_defaults(command=_new)

    purging = corpora.add_parser(
        "purge",
        help="remove encoded text from the caches",
        description="Removes what is encoded of corpora and of text to pretrain on, below the data root and in the "
        "user's cache folder; it is encoded again when it is needed. Folders without our mark, and files with other "
        "names, are left alone; so is what a run uses. Files are removed, not overwritten.",
    )
    purging.add_argument(
        "--data",
        action="append",
        type=Path,
        metavar="DIR",
        help="a folder to look below for caches (again for others; default: MTSCALE_DATA)",
    )
    purging.add_argument("--task", action="append", default=[], metavar="T", help="of this task alone (again: others)")
    purging.add_argument("--dry-run", action="store_true", help="say what would be removed")
    purging.add_argument("--json", action="store_true", help="print JSON")
    purging.set_defaults(command=_purge)


def _list(options: argparse.Namespace) -> int:
    root = catalogue.data_folder(options.data, None)
    rows = [_availability(task, root) for task in TASKS.values()]
    if options.json:
        print(json.dumps({"data_root": None if root is None else str(root), "tasks": rows}, indent=2))
        return EXIT_FINISHED
    print(f"data root: {root}\n" if root else "data root: none; give --data DIR or set MTSCALE_DATA\n")
    header = ["task", "kind", "access", "state"]
    print(table(header, [[row[name] for name in header] for row in rows]))
    for row in rows:
        if row["missing"]:
            print(f"\n{row['task']}: missing in the folder {row['corpus']}: {', '.join(row['missing'])}")
            print(f"  from     {row['obtain']}\n  licence  {row['licence']}\n  cite     {row['source']}")
    return EXIT_FINISHED


def _availability(task: Task, root: Path | None) -> dict[str, Any]:
    if task.packaged:
        state, missing = "in the package", []
    elif root is None:
        state, missing = "no data root", [name for names in task.files.values() for name in names]
    else:
        missing = [str(path.relative_to(root / task.corpus)) for path in inventory.missing_files(task, root)]
        state = "missing" if missing else "found"
    return {
        "task": task.name,
        "kind": task.kind.value,
        "domain": task.domain,
        "access": task.access.value,
        "licence": task.licence,
        "source": task.source,
        "obtain": task.obtain,
        "corpus": task.corpus,
        "state": state,
        "missing": missing,
    }


class _Counted(NamedTuple):
    """A task with its splits, or with why there are none."""

    task: Task
    splits: dict[SplitName, SplitStats]
    error: MtscaleError | None


def _stats(options: argparse.Namespace) -> int:
    tasks, root = _tasks_to_count(options)
    missing = [task for task in tasks if inventory.missing_files(task, root)]
    counted = [_count(task, root) for task in tasks if task not in missing]
    if options.json:
        rows = [_stats_row(one) for one in counted]
        print(json.dumps({"tasks": rows, "missing": [task.name for task in missing]}, indent=2))
    else:
        print(_sizes(counted))
        if options.classes:
            print(f"\n{_classes(counted)}")
        for task in missing:
            print(f"{task.name}: not found under {root}; `mtscale corpora list` says where to get it")
        for one in counted:
            if one.error is not None:
                print(f"{one.task.name}: {one.error}")
    return max((one.error.exit_code for one in counted if one.error is not None), default=EXIT_FINISHED)


def _tasks_to_count(options: argparse.Namespace) -> tuple[list[Task], Path | None]:
    """The recipe's tasks, which must be there, or all shipped ones that are not in the package; and the data root."""
    if options.recipe is None:
        tasks, root = [task for task in TASKS.values() if not task.packaged], catalogue.data_folder(options.data, None)
        if root is None:
            inventory.require(tasks, root)
        return tasks, root
    path = recipe.find(options.recipe)
    loaded = recipe.load(path)
    root = catalogue.data_folder(options.data, loaded.data_root)
    tasks = [one.resolve(root, path.parent) for one in loaded.tasks]
    inventory.require(tasks, root)
    return tasks, root


def _count(task: Task, root: Path | None) -> _Counted:
    try:
        return _Counted(task, {split: split_stats(task, split, root) for split in SPLITS}, None)
    except MtscaleError as error:  # of one task; the others can be counted all the same
        return _Counted(task, {}, error)


def _stats_row(counted: _Counted) -> dict[str, Any]:
    return {
        "task": counted.task.name,
        "kind": counted.task.kind.value,
        "unit": UNITS[counted.task.kind],
        "splits": {split: asdict(stats) for split, stats in counted.splits.items()},
        "error": None if counted.error is None else str(counted.error),
    }


def _sizes(counted: Sequence[_Counted]) -> str:
    header = ["task", "unit", *(column for split in SPLITS for column in (split, "paper"))]
    rows = []
    for task, splits, error in counted:
        if error is None:
            cells = [cell for stats in splits.values() for cell in (stats.count, stats.paper)]
            rows.append([task.name, UNITS[task.kind], *map(_cell, cells)])
            if task.kind is Kind.RELATION:
                pairs = [cell for stats in splits.values() for cell in (stats.pairs, None)]
                rows.append(["", "pairs", *map(_cell, pairs)])
    return table(header, rows)


def _classes(counted: Sequence[_Counted]) -> str:
    rows = [
        [task.name, label, *(_cell(stats.classes[label]) for stats in splits.values())]
        for task, splits, error in counted
        if error is None
        for label in task.labels
    ]
    return table(["task", "class", *SPLITS], rows)


def _cell(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _new(options: argparse.Namespace) -> int:
    folder = options.folder.expanduser().resolve()
    found = discover.tasks_in(folder)
    name = discover.base_name(folder)
    output = options.output or Path(f"{name}.toml")
    text = draft.recipe_text(name, found)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{output}: cannot write the recipe: {error.strerror}; give --output FILE") from None
    recipe.load(output)
    print(f"{output}: {', '.join(one.task.name for one in found.tasks)}")
    print("what was guessed or is left to decide stands there as comments; how much there is of it:")
    words = ["mtscale", "corpora", "stats", str(output)]
    if catalogue.data_folder(None, None) is not None:  # MTSCALE_DATA would win over what the recipe says
        words += ["--data", str(found.data_root)]
    print(f"  {shlex.join(words)}")
    return EXIT_FINISHED


def _purge(options: argparse.Namespace) -> int:
    root = catalogue.data_folder(None, None)
    roots = [one.expanduser() for one in options.data or ([] if root is None else [root])]
    if absent := [str(one) for one in roots if not one.is_dir()]:
        raise ConfigError(f"expected folders to look for caches in, found none at {', '.join(absent)}")
    clear = purge.look if options.dry_run else purge.purge
    try:
        caches = [clear(folder, options.task) for folder in purge.cache_folders(roots)]
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be removed: {error.strerror}") from None
    refused = any(cache.state in ("in use", "not marked") for cache in caches)
    if options.json:
        print(json.dumps({"caches": [_cache_row(cache) for cache in caches]}, indent=2))
    else:
        _tell_purge(caches, roots)
    return EXIT_REFUSED if refused else EXIT_FINISHED


def _cache_row(cache: purge.Cache) -> dict[str, Any]:
    names = ("what", "task", "access", "files", "bytes")
    parts = [{name: getattr(part, name) for name in names} for part in cache.parts]
    return {"folder": str(cache.folder), "state": cache.state, "parts": parts, "foreign": cache.foreign}


def _tell_purge(caches: Sequence[purge.Cache], roots: Sequence[Path]) -> None:
    words: dict[purge.State, str] = {
        "found": "would be removed",
        "removed": "removed",
        "in use": "in use by a process: nothing is removed while it lives",
        "not marked": f"no mark of ours ({TAG}): nothing is removed",
    }
    rows = []
    for cache in caches:
        print(f"{cache.folder}: {words[cache.state]}")
        rows += [
            [str(cache.folder), part.what, part.access or "", f"{part.files:,}", f"{part.bytes / 2**20:.2f}"]
            for part in cache.parts
        ]
        if cache.foreign:
            print(f"  left there, not of ours: {', '.join(map(printable, cache.foreign))}")
    if rows:
        print("\n" + table(["folder", "what", "access", "files", "MiB"], rows))
    elif not caches:
        print(
            f"no caches below {', '.join(map(str, roots)) or 'a data root (none is given)'}, nor in your cache folder"
        )
