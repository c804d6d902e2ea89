"""The public corpora: is the whole mixture there?"""

from __future__ import annotations

from pathlib import Path

from mtscale import recipe
from mtscale.corpora import inventory

PUBLIC = "blue-biomedical"


def has_public_corpora(data_root: Path | None) -> bool:
    """Whether every file of the public mixture is there."""
    if data_root is None:
        return False
    tasks = [table.resolve(data_root, data_root) for table in recipe.load(recipe.find(PUBLIC)).tasks]
    return not any(inventory.missing_files(task, data_root) for task in tasks)
