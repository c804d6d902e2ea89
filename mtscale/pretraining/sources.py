"""Which files a recipe pretrains on, and where their text may lie encoded. Without torch."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.errors import DataError
from mtscale.inputs.private import BESIDE, own_cache, private_folder
from mtscale.recipe_sections import PretrainSettings

SAMPLE = "sample:"


@dataclass(frozen=True)
class TextFiles:
    """The files in the order in which they are named, and the places where their encoded text may lie."""

    paths: tuple[Path, ...]
    places: tuple[Path, ...]

    def cache_folder(self) -> Path:
        """The first of the places that can be written, made private.

        Raises:
            ConfigError: there is none.
        """
        return private_folder(self.places, "stage pretrain")


def find_files(settings: PretrainSettings, data_root: Path | None, recipe_folder: Path) -> TextFiles:
    """The files that ``pretrain.files`` names, under the data root or else beside the recipe.

    Text under a use agreement never leaves its place unasked, encoded or not.

    Raises:
        DataError: nothing is there for one of the names or patterns; all of these are told.
    """
    found: list[Path] = []
    places: list[Path] = []
    problems: list[str] = []
    for pattern in settings.files:
        bases = [SAMPLE_FOLDER] if pattern.startswith(SAMPLE) else [*([data_root] if data_root else []), recipe_folder]
        base, paths = _match(pattern.removeprefix(SAMPLE), bases)
        found += paths
        if not paths:
            where = " nor ".join(str(place) for place in bases)
            problems.append(f"pretrain.files: expected a file {pattern!r} under {where}, found none")
        elif not pattern.startswith(SAMPLE):
            places.append(base / BESIDE)
    if problems:
        raise DataError("\n".join(problems))
    own = [own_cache()] if settings.access == "open" or not places else []
    return TextFiles(tuple(dict.fromkeys(found)), (*places[:1], *own))


def _match(pattern: str, bases: Sequence[Path]) -> tuple[Path, list[Path]]:
    """The first folder under which files match, and these in the order of their names."""
    for base in bases:
        paths = [base / name for name in glob.glob(str(Path(pattern).expanduser()), root_dir=base, recursive=True)]
        files = sorted(path for path in paths if path.is_file())
        if files:
            return (files[0].parent if Path(pattern).expanduser().is_absolute() else base), files
    return bases[-1], []
