"""What the launch form tells the app, which loads the form only when it is asked for."""

from __future__ import annotations

from pathlib import Path

from textual.message import Message

LAUNCH_SCREEN = "launch"


class RunsStarted(Message):
    """A run was started; ``directories`` are those of its family."""

    def __init__(self, directories: list[Path]) -> None:
        super().__init__()
        self.directories = directories
