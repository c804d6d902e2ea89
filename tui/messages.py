"""What screens and the app tell each other, without loading each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.message import Message
from textual.screen import Screen

LAUNCH_SCREEN = "launch"


class RunsStarted(Message):
    """A run was started; ``directories`` are those of its family."""

    def __init__(self, directories: list[Path]) -> None:
        super().__init__()
        self.directories = directories


class StudyOpened(Message):
    """A study was chosen, by its name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class StudyWanted(Message):
    """What is left of a study is to be trained."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def is_there(screen: Screen[Any]) -> bool:
    """Whether a screen still has its widgets: while it is left, or the app ends, it loses them one by one.

    What a thread posted before may only be handled then.
    """
    return screen.app.is_running and screen in screen.app.screen_stack
