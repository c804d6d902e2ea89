"""What the app does besides watching: launch, stop and resume runs, and remember its theme."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Mount
from textual.message import Message
from textual.screen import Screen
from textual.worker import get_current_worker

from mtscale.states import LIVE, State

from . import remembered
from .cells import plain
from .messages import LAUNCH_SCREEN, RunsStarted, StudyWanted

if TYPE_CHECKING:
    from . import commands


class ActingApp(App[None]):
    """An app with the keys that start and end runs. ``current_run`` says which one they mean."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - Textual declares no class variable
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "launch", "New run"),
        Binding("S", "stop_run", "Stop", key_display="S"),
        Binding("R", "resume_run", "Resume", key_display="R", show=False),
    ]

    class Resumed(Message):
        """The command that resumes a run has ended."""

        def __init__(self, directory: Path, done: commands.Done) -> None:
            super().__init__()
            self.directory, self.done = directory, done

    class StudyStarted(Message):
        """The command that trains what is left of a study has ended, or stands on its own feet."""

        def __init__(self, name: str, done: commands.Done) -> None:
            super().__init__()
            self.name, self.done = name, done

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.launched: list[Path] = []
        if (theme := remembered.theme()) in self.available_themes:
            self.theme = str(theme)

    @on(Mount)
    def _watch_for_themes(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda theme: remembered.remember(remembered.THEME, theme.name))

    def current_run(self) -> Path | None:
        """The directory of the run that is open, or under the cursor; None if there is none."""
        raise NotImplementedError

    def hindrance(self, directory: Path | None) -> str:
        """Why this run cannot be stopped or resumed from here, or none be started; empty where nothing hinders."""
        raise NotImplementedError

    def _is_hindered(self, directory: Path | None) -> bool:
        said = self.hindrance(directory)
        if said:
            self.notify(said, severity="warning", markup=False)
        return bool(said)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to stop and resume where a run is meant."""
        if action in {"launch", "stop_run", "resume_run"} and self.screen.id == LAUNCH_SCREEN:
            return False
        if action in {"stop_run", "resume_run"} and self.current_run() is None:
            return None
        return super().check_action(action, parameters)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the command palette offers: Textual's own, then every key that works now."""
        known: set[str] = set()
        for command in super().get_system_commands(screen):
            known.add(command.title)
            yield command
        for node, binding, enabled, _ in screen.active_bindings.values():
            if enabled and binding.description not in {"", "palette", *known}:
                known.add(binding.description)
                run = partial(self.run_action, binding.action, node)
                yield SystemCommand(binding.description, f"key {self.get_key_display(binding)}", run)

    async def action_launch(self) -> None:
        """Open the form for a new run."""
        if self._is_hindered(None):
            return
        # Screens are loaded when they are opened: together they take as long as the first frame.
        from .launch_screen import LaunchScreen

        await self.push_screen(LaunchScreen(self.root))

    async def action_stop_run(self) -> None:
        """Open the dialog that ends a run."""
        directory = self.current_run()
        if directory is None or self._is_hindered(directory):
            return
        state = _state(directory)
        if state is None or state in LIVE or state is State.LOST:
            from .stop_screen import StopScreen

            await self.push_screen(StopScreen(directory))
        else:
            self.notify(f"{plain(directory.name)} is {state}: there is nothing to stop", markup=False)

    def action_resume_run(self) -> None:
        """Go on with a run that was stopped or cut off."""
        directory = self.current_run()
        if directory is None or self._is_hindered(directory):
            return
        state = _state(directory)
        if state is None or state in LIVE or state is State.FINISHED:
            said = f"is {state}: only a run that was stopped, failed or lost goes on" if state else "cannot be read"
            self.notify(f"{plain(directory.name)} {said}", severity="warning", markup=False)
            return
        self.notify(f"Resuming {plain(directory.name)} ...", markup=False)
        self._resume(directory)

    @work(thread=True, exit_on_error=False, group="resume")
    def _resume(self, directory: Path) -> None:
        from . import commands

        worker = get_current_worker()
        words = ["runs", "resume", str(directory), "--detach"]
        done = commands.run(words, lambda: not worker.is_cancelled, keep=True)
        if done is not None:
            self.post_message(self.Resumed(directory, done))

    @on(Resumed)
    def _resumed(self, event: Resumed) -> None:
        if event.done.succeeded:
            self.launched.append(event.directory)
        if not self.is_running:
            return
        if event.done.succeeded:
            self.notify(f"{plain(event.directory.name)} goes on", markup=False)
        else:
            self._say_refused("Not resumed", event.done)

    def _say_refused(self, title: str, done: commands.Done) -> None:
        lines = [plain(line) for line in done.errors.splitlines() if line.strip()]
        self.notify("\n".join(lines), title=title, severity="error", timeout=15, markup=False)

    @on(StudyWanted)
    def _begin_study(self, event: StudyWanted) -> None:
        if not self._is_hindered(None):
            self.notify(f"Starting what is left of {plain(event.name)} ...", markup=False)
            self._train_study(event.name)

    @work(thread=True, exit_on_error=False, group="train study")
    def _train_study(self, name: str) -> None:
        from mtscale.errors import ConfigError
        from mtscale.study.store import StudyFolder

        from . import commands

        worker = get_current_worker()
        root = self.root.absolute()
        try:
            words = [*StudyFolder(root, name).command(), "--runs", str(root), "--detach"]
        except ConfigError as error:
            self.post_message(self.StudyStarted(name, commands.Done(error.exit_code, "", str(error))))
            return
        done = commands.run(["study", "run", *words], lambda: not worker.is_cancelled, keep=True)
        if done is not None:
            self.post_message(self.StudyStarted(name, done))

    @on(StudyStarted)
    def _study_started(self, event: StudyStarted) -> None:
        if not self.is_running:
            return
        if event.done.succeeded:
            self.notify(plain(event.done.output.strip()), timeout=15, markup=False)
        else:
            self._say_refused("Not started", event.done)

    @on(RunsStarted)
    def _started(self, event: RunsStarted) -> None:
        self.launched += event.directories
        if not self.is_running:
            return
        if self.screen.id == LAUNCH_SCREEN:
            self.screen.dismiss()
        names = ", ".join(plain(directory.name) for directory in event.directories)
        self.notify(f"Started {names}", markup=False)

    def farewell(self) -> str:
        """A line for whoever leaves while runs that were started here go on; mostly empty."""
        going = sum(_state(directory) in LIVE for directory in dict.fromkeys(self.launched))
        return f"{going} run(s) keep going; `mtscale-tui --runs {self.root}` shows them again" if going else ""


def _state(directory: Path) -> State | None:
    from mtscale.runs import RunDirectory

    try:
        return RunDirectory(directory).state()
    except (OSError, ValueError):
        return None
