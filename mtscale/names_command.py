"""The command ``mtscale names``: which document stands behind a hash, for who holds the corpus or the inputs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

from mtscale import recipe
from mtscale.corpora import catalogue, inventory
from mtscale.corpora.annotated import Document
from mtscale.corpora.example import SPLITS
from mtscale.corpora.naming import Naming
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, ConfigError, DataError
from mtscale.markup import printable
from mtscale.model_commands import add_input_options, given_columns
from mtscale.serving.inputs import find_inputs
from mtscale.serving.reading import read
from mtscale.serving.units import Failure
from mtscale.tasks import Access


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    names = commands.add_parser(
        "names",
        help="which document stands behind a hash in runs, reports and predictions",
        description="Of tasks under a data use agreement names of documents are hashed wherever they leave the corpus. "
        "This prints HASH and NAME, a tab between: of the documents of a recipe's tasks, or of inputs of predict, "
        "their files and what is in them. Names may say whom a document is about: see where the output goes.",
    )
    names.set_defaults(command=_names)
    names.add_argument("inputs", nargs="*", type=Path, metavar="INPUT", help="files or folders that were predicted on")
    names.add_argument("--recipe", metavar="RECIPE", help="the documents of its tasks instead")
    names.add_argument("--data", type=Path, metavar="DIR", help="folder of the corpora (or MTSCALE_DATA)")
    add_input_options(names)


def _names(options: argparse.Namespace) -> int:
    if (options.recipe is None) == (not options.inputs):
        raise ConfigError("expected either inputs of predict or --recipe RECIPE")
    failures: list[DataError] = []
    named = _of_inputs(options, failures) if options.recipe is None else _of_recipe(options)
    for hashed, name in dict(named).items():
        print(f"{hashed}\t{printable(name)}")
    for failure in failures:
        logging.getLogger("mtscale").error("%s", failure)
    return EXIT_DATA if failures else EXIT_FINISHED


def _of_recipe(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    path = recipe.find(options.recipe)
    loaded = recipe.load(path)
    root = catalogue.data_folder(options.data, loaded.data_root)
    tasks = [one.resolve(root, path.parent) for one in loaded.tasks]
    sealed = [task for task in tasks if task.access is Access.DUA]
    if not sealed:
        raise ConfigError(f"{path}: none of its tasks has access dua, so documents are named as in their corpora")
    inventory.require(sealed, root)
    for task in sealed:
        for split in SPLITS:
            yield from catalogue.document_names(task, split, root).items()


def _of_inputs(options: argparse.Namespace, failures: list[DataError]) -> Iterator[tuple[str, str]]:
    columns = given_columns(options.column)
    for one in find_inputs(options.inputs, options.format):
        try:
            naming = Naming.of([one.path])
        except OSError as error:
            raise ConfigError(f"{one.path}: cannot be read: {error.strerror}") from None
        yield naming.document(one.name), one.name
        try:
            for unit in read(one.format, one.path, columns):
                if isinstance(unit, Failure):
                    continue  # predict tells of it
                yield naming.document(unit.content.id), unit.content.id
                if not isinstance(unit.content, Document):
                    yield naming.document(unit.content.document), unit.content.document
        except DataError as error:
            failures.append(error)
