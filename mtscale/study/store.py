"""The folder of a study, ``RUNS/studies/NAME``: what was planned, and what became of each unit. Without torch.

    plan.json       the study and how much is trained, as planned, by what command and on which machine; never changed
                    while its runs are made
    recipes/        the recipe of each unit, as `mtscale train` takes it
    command.json    what the study was last planned or run by; whoever trains the rest gives it again
    outcomes.jsonl  one line each time a unit has ended: when, how, how long it took
    output.log      what a study printed that was run without a terminal
    report/         what `mtscale study report` writes        worker-N.log  what a worker printed

Whether a unit is finished is said by its run directories alone, which studies share.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mtscale.errors import ConfigError
from mtscale.runs import LIVE, RunDirectory, State, write_atomically
from mtscale.study import plan as planning
from mtscale.study.plan import Plan, Size, Unit
from mtscale.study.spec import Study

UnitState = Literal["finished", "running", "failed", "stopped", "waiting"]

PLAN, OUTCOMES, RECIPES, COMMAND, LOCK = "plan.json", "outcomes.jsonl", "recipes", "command.json", ".lock"


@dataclass(frozen=True)
class Outcome:
    """How the training of a unit ended; ``message`` says why where it did not finish."""

    unit: str
    code: int
    message: str
    seconds: float


def planned(runs: Path) -> list[str]:
    """The names of the studies that are planned in a folder of runs; none where it cannot be read."""
    try:
        return sorted(path.parent.name for path in (runs / "studies").glob(f"*/{PLAN}"))
    except OSError:
        return []


def unit_state(runs: Collection[State | None], has_ended: bool) -> UnitState:
    """Where a unit stands, by the states of its runs (None: it is not there) and whether one training of it ended."""
    states = set(runs)
    if states == {State.FINISHED}:
        return "finished"
    if states & LIVE:
        return "running"
    if states & {State.FAILED, State.LOST}:
        return "failed"
    if State.STOPPED in states:
        return "stopped"
    return "failed" if has_ended and states == {None} else "waiting"


class StudyFolder:
    """One study on disk."""

    def __init__(self, runs: Path, name: str) -> None:
        self.runs, self.name = runs, name
        self.path = runs / "studies" / name

    @property
    def is_planned(self) -> bool:
        """Whether there is a plan."""
        return (self.path / PLAN).exists()

    def save(
        self,
        plan: Plan,
        folder: Path,
        seconds: Mapping[str, float],
        *,
        command: Sequence[str] = (),
        machine: str = "",
    ) -> None:
        """Write down a plan, with the estimated seconds of each unit; ``folder`` is that of the study file.

        ``command`` are the words after ``mtscale study plan`` that make the same plan elsewhere, without the places of
        this machine; ``machine`` says what it was planned for.
        """
        recipes = self.path / RECIPES
        recipes.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unit in plan.units:
            write_atomically(recipes / f"{unit.name}.toml", unit.recipe.to_toml())
        content = {
            "study": plan.study.model_dump(mode="json", exclude_unset=True),
            "folder": str(folder.resolve()),
            "size": asdict(plan.size),
            "seconds": dict(seconds),
            "command": list(command),
            "machine": machine,
        }
        write_atomically(self.path / PLAN, json.dumps(content, indent=2))

    def load(self) -> tuple[Plan, dict[str, float]]:
        """The plan, and the estimated seconds of each unit.

        Raises:
            ConfigError: there is none, or it cannot be read.
        """
        content = self._content()
        try:
            study = Study.model_validate(content["study"])
            folder, size, seconds = Path(content["folder"]), Size(**content["size"]), dict(content["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.path / PLAN}: not a plan ({type(error).__name__}); `mtscale study plan --again` makes it anew"
            ) from None
        plan = planning.make(study, folder, self.runs, size)
        if {unit.name for unit in plan.units} - seconds.keys():
            raise ConfigError(
                f"{self.path / PLAN}: a recipe that the study {self.name} names, or a default of recipes, has changed "
                "since it was planned; `mtscale study plan --again` plans it anew (finished runs that fit are kept)"
            )
        return plan, seconds

    def planned_by(self) -> tuple[list[str], str]:
        """The words after ``mtscale study plan`` that made the plan, and the machine; empty if nothing was kept.

        Raises:
            ConfigError: there is no plan.
        """
        content = self._content()
        return [str(word) for word in content.get("command", ())], str(content.get("machine", ""))

    def require_same(self, study: Study) -> None:
        """Refuse to go on with another study under the same name.

        Raises:
            ConfigError: the study is not the planned one.
        """
        if self._content()["study"] != study.model_dump(mode="json", exclude_unset=True):
            raise ConfigError(
                f"{self.path / PLAN}: the study {self.name} has changed since it was planned; "
                "`mtscale study plan --again` plans it anew (finished runs that fit are kept), or give it another name"
            )

    def require_sizes(self, given: Mapping[str, str]) -> None:
        """Refuse options that the plan was not made with, ``{"--budget": "60"}``, rather than take no notice of them.

        Raises:
            ConfigError: one of them is not the plan's.
        """
        made_with = dict(itertools.pairwise(self.planned_by()[0]))
        for flag, value in given.items():
            if made_with.get(flag) != value:
                found = f"with {flag} {made_with[flag]}" if flag in made_with else f"without {flag}"
                raise ConfigError(
                    f"{self.path / PLAN}: the study {self.name} was planned {found}, not with {flag} {value}; "
                    "`mtscale study plan --again` plans it anew (finished runs that fit are kept)"
                )

    def _content(self) -> dict[str, Any]:
        path = self.path / PLAN
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"no study {self.name} in {self.runs}: `mtscale study plan {self.name}` first") from None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot read the plan: {error}") from None
        return content

    def keep_command(self, words: Sequence[str]) -> None:
        """Write down the words after ``mtscale study run`` that go on with it, from any directory."""
        write_atomically(self.path / COMMAND, json.dumps(list(words)))

    def command(self) -> list[str]:
        """The words that were kept last.

        Raises:
            ConfigError: there are none.
        """
        path = self.path / COMMAND
        try:
            return [str(word) for word in json.loads(path.read_text(encoding="utf-8"))]
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: cannot read how the study was run ({error}); `mtscale study run` in a terminal writes it anew"
            ) from None

    def recipe_of(self, unit: Unit) -> Path:
        """The recipe's file."""
        return self.path / RECIPES / f"{unit.name}.toml"

    def add(self, outcome: Outcome) -> None:
        """Write down how a unit ended."""
        line = json.dumps({"time": round(time.time(), 3), **asdict(outcome)})
        with open(self.path / OUTCOMES, "a", encoding="utf-8", opener=_private) as stream:
            stream.write(line + "\n")

    def attempts(self) -> list[tuple[float, Outcome]]:
        """When each training of a unit ended, and how; a line that a crash has left half written is passed over."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for line in (self.path / OUTCOMES).read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    content = json.loads(line)
                    ended = Outcome(content["unit"], content["code"], content["message"], content["seconds"])
                    found.append((float(content["time"]), ended))
        return found

    def outcomes(self) -> dict[str, Outcome]:
        """The last outcome of each unit."""
        return {outcome.unit: outcome for _, outcome in self.attempts()}

    def state_of(self, unit: Unit) -> UnitState:
        """Where a unit stands, by its run directories; by its last outcome where it never made one."""
        states = [_state(self.runs / name) for name in unit.runs]
        return unit_state(states, states.count(None) == len(states) and unit.name in self.outcomes())

    def holder(self) -> int | None:
        """The process that keeps the study, or kept it last."""
        try:
            return int((self.path / LOCK).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the study to this process.

        Raises:
            ConfigError: another process trains it.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Opened without being cut: it names the process that has it.
        with open(self.path / LOCK, "a", encoding="utf-8", opener=_private) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(f"study {self.name}: another process runs it; `mtscale study status`") from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _state(path: Path) -> State | None:
    try:
        return RunDirectory(path).state()
    except (OSError, ValueError):
        return None
