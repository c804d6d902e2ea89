"""The dialog that ends a run, step by step: clean stop, terminate, kill; or gives a lost run its final state."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Static
from textual.worker import get_current_worker

from mtscale import processes
from mtscale.durations import duration_text
from mtscale.runs import LIVE, RunDirectory, RunProcess, State

from . import commands
from .cells import plain, state_text
from .messages import is_there

LOOK_SECONDS = 1.0
SLICE_SECONDS = 0.1

KEEP, CLEAN, TERMINATE, KILL, REPAIR = "keep", "clean", "terminate", "kill", "repair"
_WORDS = {
    CLEAN: ["runs", "stop"],
    TERMINATE: ["runs", "stop", "--terminate"],
    KILL: ["runs", "stop", "--kill"],
    REPAIR: ["runs", "repair"],
}
_MEANING = (
    "Stop: ends with the next step and a checkpoint; can be resumed.\n"
    "Terminate: asks the same of every process by SIGTERM.\n"
    "Kill: SIGKILL to all; what came after the last checkpoint is lost."
)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a run at a moment. ``checkpoint`` is the step of the newest one, and its age."""

    state: State
    step: int
    steps: int
    host: str
    asked: bool
    alive: tuple[RunProcess, ...]
    checkpoint: tuple[int, float] | None

    @property
    def is_here(self) -> bool:
        """Whether the run's processes can be reached from here."""
        return self.host == socket.gethostname()


def look(directory: Path) -> Sight | None:
    """Look at a run; None if its directory cannot be read."""
    run = RunDirectory(directory)
    try:
        state, status, record = run.state(), run.status, run.record
        watched = state in LIVE or state is State.LOST
        alive = processes.living(run) if watched else []
        return Sight(
            state, status.step, status.steps, record.host, run.stop_file.exists(), tuple(alive), _checkpoint(directory)
        )
    except (OSError, ValueError):
        return None


def _checkpoint(directory: Path) -> tuple[int, float] | None:
    found = []
    for path in (directory / "checkpoints").glob("step-*"):
        number = path.name.removeprefix("step-")
        if number.isdecimal():
            found.append((int(number), time.time() - path.stat().st_mtime))
    return max(found, default=None)


def describe(name: str, seen: Sight | None) -> Text:
    """The state, the processes that live, and the last checkpoint."""
    if seen is None:
        return Text(f"{plain(name)}\nThe run directory cannot be read any more.")
    text = Text.assemble(state_text(seen.state), f"  {plain(name)}\nstep {seen.step} of {seen.steps}")
    if seen.checkpoint is None:
        text.append(", no checkpoint yet")
    else:
        step, age = seen.checkpoint
        text.append(f", last checkpoint at step {step}, {duration_text(max(0.0, age))} ago")
    if not seen.is_here:
        text.append(f"\nIt runs on {plain(seen.host)}: from here it can only be watched, or asked to stop.")
    elif seen.alive:
        ranks = len(processes.ranks(seen.alive))
        text.append(f"\n{ranks} rank(s) alive; processes: {plain(processes.listed(seen.alive))}")
    elif seen.state is State.LOST:
        text.append("\nNo process is alive. Repair writes that it failed, here and in MLflow.")
    else:
        text.append("\nNo process is alive.")
    return text


class StopScreen(ModalScreen[None]):
    """Looks every second while it is open. Escape and the button in focus change nothing."""

    CSS = """
    StopScreen { align: center middle; }
    #dialog { width: 76; max-width: 100%; height: auto; max-height: 100%; padding: 1 2; border: round $warning;
              background: $surface; }
    #dialog Static { height: auto; }
    #meaning { color: $text-muted; padding: 1 0 0 0; }
    #buttons { height: auto; margin: 1 0 0 0; }
    #buttons Button { margin: 0 2 0 0; border: none; height: 1; }
    #answer { padding: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("left", "app.focus_previous", "Previous", show=False),
        Binding("right", "app.focus_next", "Next", show=False),
    ]

    class Looked(Message):
        """The looking thread has looked."""

        def __init__(self, seen: Sight | None) -> None:
            super().__init__()
            self.seen = seen

    class Answered(Message):
        """A command has ended."""

        def __init__(self, done: commands.Done) -> None:
            super().__init__()
            self.done = done

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._pressed: set[str] = set()
        self._busy = False

    def compose(self) -> ComposeResult:
        """What is known, what the buttons mean, the buttons."""
        with Vertical(id="dialog"):
            yield Static(Text(plain(self._directory.name)), id="seen", markup=False)
            yield Static(_MEANING, id="meaning", markup=False)
            with Horizontal(id="buttons"):
                yield Button("Keep running", id=KEEP, compact=True)
                yield Button("Stop", id=CLEAN, compact=True, disabled=True)
                yield Button("Terminate", id=TERMINATE, compact=True, disabled=True)
                yield Button("Kill", id=KILL, variant="error", compact=True, disabled=True)
                yield Button("Repair", id=REPAIR, compact=True)
            yield Static("", id="answer", markup=False)

    def on_mount(self) -> None:
        """Focus the button that does nothing, and look."""
        self.query_one(f"#{KEEP}").focus()
        self.query_one(f"#{REPAIR}").display = False
        self._watch()

    @work(thread=True, exit_on_error=False, group="look")
    def _watch(self) -> None:
        worker = get_current_worker()
        while not worker.is_cancelled:
            self.post_message(self.Looked(look(self._directory)))
            slept = 0.0
            while slept < LOOK_SECONDS and not worker.is_cancelled:
                time.sleep(SLICE_SECONDS)
                slept += SLICE_SECONDS

    @on(Looked)
    def _show(self, event: Looked) -> None:
        if not is_there(self):
            return
        seen = event.seen
        self.query_one("#seen", Static).update(describe(self._directory.name, seen))
        live = seen is not None and seen.state in LIVE
        reachable = seen is not None and seen.is_here and bool(seen.alive)
        lost = seen is not None and seen.state is State.LOST and seen.is_here
        asked = seen is not None and seen.asked
        allowed = {
            CLEAN: live and not asked,
            TERMINATE: live and reachable and (asked or CLEAN in self._pressed),
            # A lost run whose ranks live on does not listen any more.
            KILL: reachable and (TERMINATE in self._pressed or lost),
            REPAIR: lost and not reachable,
        }
        for name, is_allowed in allowed.items():
            button = self.query_one(f"#{name}", Button)
            if not is_allowed and button.has_focus:
                self.query_one(f"#{KEEP}").focus()
            button.disabled = self._busy or not is_allowed
            button.display = is_allowed or (live and name != REPAIR)
        self.query_one("#meaning").display = live
        self.query_one(f"#{KEEP}", Button).label = "Keep running" if live else "Close"

    @on(Button.Pressed)
    def _press(self, event: Button.Pressed) -> None:
        pressed = event.button.id or KEEP
        if pressed == KEEP:
            self.dismiss()
            return
        self._pressed.add(pressed)
        self._busy = True
        self.query_one(f"#{KEEP}").focus()
        event.button.disabled = True
        self.query_one("#answer", Static).update(Text(f"{event.button.label} ..."))
        self._run([*_WORDS[pressed], str(self._directory)])

    @work(thread=True, exit_on_error=False, group="stop")
    def _run(self, words: list[str]) -> None:
        worker = get_current_worker()
        # What was asked for is done, whether the dialog is still open or not.
        done = commands.run(words, lambda: not worker.is_cancelled, keep=True)
        if done is not None:
            self.post_message(self.Answered(done))

    @on(Answered)
    def _answered(self, event: Answered) -> None:
        if not is_there(self):
            return
        self._busy = False
        said = event.done.output if event.done.succeeded else event.done.errors
        lines = [plain(line) for line in said.replace(f"{self._directory}: ", "").splitlines() if line.strip()]
        self.query_one("#answer", Static).update(Text("\n".join(lines) or f"exit code {event.done.code}"))

    def action_leave(self) -> None:
        """Go back; nothing is stopped by that."""
        self.dismiss()
