"""The command ``mtscale corpora check``: what is checked, and where the result goes."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mtscale import recipe
from mtscale.corpora import catalogue
from mtscale.errors import ConfigError
from mtscale.offline import keep_off_hubs
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.recipe_sections import EncoderSettings
from mtscale.tasks import TASKS, Task

if TYPE_CHECKING:
    from mtscale.checks.check import Checked


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of ``check``."""
    parser = commands.add_parser(
        "check",
        help="find what is wrong with corpora before training on them",
        description="Offsets, tags, labels, losses on the way to the model, duplicates and shared documents within "
        "and across splits and tasks. Prints ids and counts, never text. Exit code 3 if a split cannot be used.",
    )
    parser.add_argument(
        "target", metavar="RECIPE|FOLDER", help="a recipe, or a data root with corpora of shipped tasks"
    )
    parser.add_argument("--data", metavar="DIR", help="folder of a recipe's corpora (default: MTSCALE_DATA)")
    parser.add_argument(
        "--encoder", metavar="NAME", help="count pieces of this encoder (default: the recipe's, or sample)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write report.md and report.html there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


@dataclass(frozen=True)
class _Target:
    """The tasks to check, the encoder of their recipe, and what that does as the authors' code."""

    tasks: tuple[Task, ...]
    data_root: Path | None
    encoder: EncoderSettings
    procedure: PaperSettings = CLEAN_PROCEDURE


def run(options: argparse.Namespace) -> int:
    """Check, print and write; returns the exit code.

    Raises:
        ConfigError: there is no such recipe or folder, the encoder's tokenizer cannot be loaded, packages for
            training are not installed, or the reports cannot be written.
    """
    target = _target(options.target, options.data)
    encoder = options.encoder or target.encoder.name
    checked = _check(options.target, target, encoder)
    from mtscale.checks import report

    print(json.dumps(report.as_json(checked), indent=2) if options.json else report.as_text(checked))
    if options.output is not None:
        report.write(checked, options.output)
    return checked.exit_code


def _check(name: str, target: _Target, encoder: str) -> Checked:
    try:
        from mtscale.checks.check import Check
        from mtscale.inputs.encode import PieceVocabulary
        from mtscale.model.encoder import load_tokenizer, longest_input
    except ImportError as error:
        raise ConfigError(f"the check needs more packages ({error.name}): pip install 'mtscale[train]'") from None
    keep_off_hubs(target.tasks)
    tokenizer = load_tokenizer(encoder)
    vocabulary = PieceVocabulary.of(tokenizer)
    max_pieces = target.encoder.max_pieces
    return Check(
        name, target.tasks, target.data_root, encoder, max_pieces, vocabulary, target.procedure, longest_input(encoder)
    ).run()


def _target(name: str, data: str | None) -> _Target:
    """A recipe's tasks, or the shipped ones that lie in a folder; a shipped recipe's name is never a folder."""
    folder = Path(name).expanduser()
    if folder.is_dir() and not (recipe.RECIPES / f"{name}.toml").is_file():
        tasks = tuple(task for task in TASKS.values() if not task.packaged and _lies_in(task, folder))
        if not tasks:
            corpora = sorted({task.corpus for task in TASKS.values() if not task.packaged})
            raise ConfigError(
                f"{folder}: expected the files of a shipped task in one of {', '.join(corpora)}, found none"
            )
        return _Target(tasks, folder, EncoderSettings())
    path = recipe.find(name)
    loaded = recipe.load(path)
    data_root = catalogue.data_folder(data, loaded.data_root)
    tasks = tuple(table.resolve(data_root, path.parent) for table in loaded.tasks)
    return _Target(tasks, data_root, loaded.encoder, loaded.procedure)


def _lies_in(task: Task, data_root: Path) -> bool:
    """Whether files of a task are there; if they are not all, the check says which."""
    folder = catalogue.corpus_folder(task, data_root)
    return any((folder / name).exists() for names in task.files.values() for name in names)
