"""Saving pictures so that the same numbers give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 150


def save(figure: Figure, path: Path) -> None:
    """Write a figure, as PNG or SVG by the name's end.

    Raises:
        OSError: ``path`` cannot be written.
    """
    from matplotlib import rc_context

    # Without a salt of its own matplotlib names the parts of an SVG at random, and it writes the date into it.
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Date": None} if path.suffix == ".svg" else None)
