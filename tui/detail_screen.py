"""What the app knows of a screen that shows runs as they are read: which, and how to give them to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from textual.screen import Screen

if TYPE_CHECKING:
    from .store import RunDetail, Snapshot


class DetailScreen(Screen[None]):
    """One or several runs in detail. The screens themselves are loaded when one is opened."""

    @property
    def watched(self) -> tuple[Path, ...]:
        """The directories to read for this screen."""
        raise NotImplementedError

    @property
    def run(self) -> Path | None:
        """The directory of the run that the keys for stopping and resuming mean; None where several are shown."""
        return None

    def show(self, snapshot: Snapshot, details: Mapping[Path, RunDetail]) -> None:
        """Show what was read."""
        raise NotImplementedError
