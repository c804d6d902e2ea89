"""The run directory: the truth about a run. MLflow, tables and the terminal app only mirror it.

    run.json        who, what, when: command, versions, git, data hashes, process, MLflow run id
    recipe.toml     the recipe as resolved          ds_config.json   the DeepSpeed JSON as resolved
    status.json     state and heartbeat             events.jsonl     every recorded number, append only
    train.log       plain lines                     stop             exists: a clean stop was asked for
    predictions/    {dev,test}.<task>.jsonl         checkpoints/     best weights, last complete state
    output.log      what a command started with --detach printed

Imports no torch: whoever watches runs reads them through this file.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field

from mtscale.errors import ConfigError
from mtscale.names import RUN_NAME
from mtscale.states import LIVE as LIVE
from mtscale.states import State as State

HEARTBEAT_SECONDS = 10.0
SILENT_AFTER_SECONDS = 3 * HEARTBEAT_SECONDS

# Ends the name of a file that is being written; a process that was killed leaves such a file.
UNFINISHED = ".unfinished"

# What a command without a terminal printed, in the directory of its first run.
OUTPUT = "output.log"

EventKind = Literal["train", "heldout", "dev", "test", "best", "affinity", "perf", "health", "rewind"]


class RunProcess(BaseModel):
    """A process that a run needs: a rank, a launcher, or the command above them."""

    model_config = ConfigDict(frozen=True)

    role: str
    pid: int
    start: int
    host: str = Field(default_factory=socket.gethostname)


class RunRecord(BaseModel):
    """``run.json``. ``pid`` is rank 0; of a queued run, the command that will start it."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:12])
    name: str
    family: str
    group: str
    recipe: str
    stage: str
    task: str | None = None
    seed: int
    protocol: str
    tasks: tuple[str, ...]
    parent: str | None = None
    ds_config: str
    world_size: int
    command: tuple[str, ...]
    directory: str = Field(default_factory=os.getcwd)
    versions: Mapping[str, str]
    git: str | None = None
    data_hashes: Mapping[str, str] = Field(default_factory=dict)
    access: str = "dua"
    params: Mapping[str, str | int | float] = Field(default_factory=dict)
    recipe_hash: str
    created: float = Field(default_factory=time.time)
    host: str = Field(default_factory=socket.gethostname)
    pid: int = Field(default_factory=os.getpid)
    pid_start: int | None = None
    processes: tuple[RunProcess, ...] = ()
    mlflow_run_id: str | None = None
    mlflow_uri: str | None = None

    @property
    def started(self) -> bool:
        """Whether the run was ever more than queued: its first rank writes down what it trains on."""
        return bool(self.data_hashes)


class Status(BaseModel):
    """``status.json``: replaced as a whole, never half written. ``time`` is the heartbeat."""

    model_config = ConfigDict(frozen=True)

    state: State
    step: int = 0
    steps: int = 0
    epoch: int = 0
    message: str = ""
    time: float = Field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of ``events.jsonl``."""

    time: float
    step: int
    epoch: int
    kind: EventKind
    values: Mapping[str, float]


def process_start(pid: int) -> int | None:
    """The start time of a process in clock ticks since boot, or None if there is no such process.

    A pid alone may have been given to another process; a pid with its start time is unique until reboot.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


class RunDirectory:
    """One run on disk. Only rank 0 of the run writes; anybody may read at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(
        cls, path: Path, record: RunRecord, recipe_toml: str, ds_config_json: str, state: State = State.RUNNING
    ) -> RunDirectory:
        """Make a new run directory, private to the user.

        Raises:
            ConfigError: the name is not usable, the directory exists, or it cannot be written.
        """
        if not RUN_NAME.fullmatch(path.name):
            raise ConfigError(f"a run's name has letters, digits and . _ - + only, found {path.name!r}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Built aside and renamed, so that a refusal or a crash leaves no half-made run.
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as aside:
                new = Path(aside) / path.name
                new.mkdir(mode=0o700)
                for folder in ("predictions", "checkpoints"):
                    (new / folder).mkdir(mode=0o700)
                started = record.model_copy(update={"pid_start": process_start(record.pid)})
                write_atomically(new / "run.json", started.model_dump_json(indent=2))
                write_atomically(new / "recipe.toml", recipe_toml)
                write_atomically(new / "ds_config.json", ds_config_json)
                write_atomically(new / "status.json", Status(state=state).model_dump_json())
                if path.exists():
                    raise ConfigError(f"{path} exists already: choose another --run name")
                new.rename(path)
        except OSError as error:
            raise ConfigError(
                f"cannot write runs into {path.parent}: {error.strerror}. "
                "Choose another folder with --runs or MTSCALE_RUNS"
            ) from error
        return cls(path)

    @property
    def record(self) -> RunRecord:
        """``run.json``."""
        return RunRecord.model_validate_json((self.path / "run.json").read_text(encoding="utf-8"))

    def update_record(self, **changes: object) -> None:
        """Replace fields of ``run.json``."""
        write_atomically(self.path / "run.json", self.record.model_copy(update=changes).model_dump_json(indent=2))

    @property
    def status(self) -> Status:
        """``status.json``, as last written."""
        return Status.model_validate_json((self.path / "status.json").read_text(encoding="utf-8"))

    def write_status(self, status: Status) -> None:
        """Replace ``status.json``."""
        write_atomically(self.path / "status.json", status.model_dump_json())

    def state(self) -> State:
        """The state as an onlooker must see it: a run whose process is gone is ``lost``, whatever it last wrote."""
        status = self.status
        if status.state not in LIVE:
            return status.state
        record = self.record
        silent = time.time() - self._last_sign(status) > SILENT_AFTER_SECONDS
        if record.host != socket.gethostname():
            return State.LOST if silent else self._asked(status.state)
        if record.pid_start is None or process_start(record.pid) != record.pid_start:
            return State.LOST
        if silent and status.state is not State.QUEUED:
            return State.STALLED
        return self._asked(status.state)

    def _asked(self, state: State) -> State:
        """A running run that was asked to stop is stopping, though it may say so only at its next step."""
        return State.STOPPING if state is State.RUNNING and self.stop_file.exists() else state

    def _last_sign(self, status: Status) -> float:
        """The last heartbeat. Who waits with a queued run only touches its status, which its rank may be writing."""
        if status.state is not State.QUEUED:
            return status.time
        try:
            return (self.path / "status.json").stat().st_mtime
        except FileNotFoundError:
            return status.time

    def remove_unfinished(self) -> None:
        """Remove the files that a killed process has left half written; no live process may write there."""
        for path in self.path.rglob(f".*{UNFINISHED}"):
            path.unlink(missing_ok=True)

    @property
    def stop_file(self) -> Path:
        """A file of this name asks the run to stop at its next step."""
        return self.path / "stop"

    def append_event(self, kind: EventKind, step: int, epoch: int, values: Mapping[str, float]) -> Event:
        """Add one line to ``events.jsonl``; a line that a crash left half written is removed first."""
        event = Event(time.time(), step, epoch, kind, values)
        line = json.dumps(
            {"time": round(event.time, 3), "step": step, "epoch": epoch, "kind": kind, "values": dict(values)},
            allow_nan=False,
        )
        with open(self.path / "events.jsonl", "a+b") as stream:
            _drop_partial_line(stream)
            stream.write(line.encode() + b"\n")
        return event

    def events(self) -> Iterator[Event]:
        """The events that count, each kind once a step: a resumed run may record again what it did before it died.

        Of a value that comes twice the later one counts. What a rewind took back is left out, and so is a half-written
        last line.
        """
        kept: dict[tuple[EventKind, int], Event] = {}
        try:
            data = (self.path / "events.jsonl").read_bytes()
        except FileNotFoundError:
            return iter(())
        for line in data.split(b"\n")[:-1]:
            try:
                raw = json.loads(line)
                event = Event(raw["time"], raw["step"], raw["epoch"], raw["kind"], raw["values"])
            except (ValueError, KeyError, TypeError):
                continue
            if event.kind == "rewind":
                kept = {key: earlier for key, earlier in kept.items() if earlier.step <= event.step}
            else:
                earlier_values = kept[key].values if (key := (event.kind, event.step)) in kept else {}
                kept[key] = replace(event, values={**earlier_values, **event.values})
        return iter(kept.values())


def _drop_partial_line(stream: BinaryIO) -> None:
    """Cut a file opened for reading and appending back to its last complete line."""
    end = stream.seek(0, os.SEEK_END)
    if end == 0:
        return
    stream.seek(end - 1)
    if stream.read(1) == b"\n":
        return
    stream.seek(0)
    stream.truncate(stream.read().rfind(b"\n") + 1)


def is_finished(folder: Path) -> bool:
    """Whether a folder is the directory of a finished run."""
    return (folder / "status.json").exists() and RunDirectory(folder).state() is State.FINISHED


def list_runs(root: Path) -> list[RunDirectory]:
    """Every readable run directory directly under ``root``, oldest first."""
    found: list[tuple[float, RunDirectory]] = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        run = RunDirectory(path)
        try:
            created = run.record.created
            _ = run.status
        except (OSError, ValueError):
            continue
        found.append((created, run))
    return [run for _, run in sorted(found, key=lambda pair: pair[0])]


def find_run(root: Path, wanted: str) -> RunDirectory:
    """The run of this id, name or directory.

    Raises:
        ConfigError: there is none, or the beginning of an id fits several.
    """
    as_path = Path(wanted)
    if (as_path / "run.json").is_file():
        return RunDirectory(as_path)
    runs = list_runs(root)
    matches = [run for run in runs if run.path.name == wanted] or [
        run for run in runs if len(wanted) >= 4 and run.record.id.startswith(wanted)
    ]
    if len(matches) == 1:
        return matches[0]
    problem = "no run" if not matches else f"{len(matches)} runs"
    raise ConfigError(f"{problem} in {root} with the id, name or directory {wanted!r}; `mtscale runs list` shows them")
