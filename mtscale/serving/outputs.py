"""The folder of a prediction: whole outputs only, private, and known again when the same command goes on.

    NAME.predictions.jsonl    what was found, without text (for ``dua`` tasks HASH.predictions.jsonl)
    NAME                      the input's own format with what was found, where that has a place for it
    predict.json              with which model and settings the folder is filled
    done.jsonl                the inputs that are done; a line is written when their files stand under their names

Ids of documents and names of files may identify patients. For ``dua`` tasks both are hashed, with a key that is made of
the input's content (``corpora.naming``), unless texts may be written.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from mtscale.corpora.naming import Naming
from mtscale.errors import ConfigError
from mtscale.runs import UNFINISHED, write_atomically
from mtscale.serving.annotate import Annotated
from mtscale.serving.inputs import DONE, PREDICTIONS, SETTINGS, Input
from mtscale.serving.writing import WRITERS, LinesWriter, Writer
from mtscale.tasks import Task


class OutputFolder:
    """A folder that a prediction fills. ``text`` allows texts, and names and ids as they are."""

    def __init__(self, path: Path, settings: Mapping[str, Any], tasks: Sequence[Task], *, text: bool) -> None:
        """Make the folder, or take it up where it was filled with the same settings.

        Raises:
            ConfigError: it holds something else or outputs of other settings, cannot be written, or is being filled.
        """
        self.path = path
        self.tasks = tasks
        self.text = text
        self._namings: dict[str, Naming] = {}
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take(settings)
            self._done = open(path / DONE, "a+b", opener=_private)  # noqa: SIM115
        except OSError as error:
            raise ConfigError(f"cannot write predictions into {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._done, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"{path}: another command is filling this folder; wait, or choose another") from None
        self._known = self._read_done()
        for left in path.rglob(f".*{UNFINISHED}"):
            left.unlink()

    def _take(self, settings: Mapping[str, Any]) -> None:
        known = self.path / SETTINGS
        if known.is_file():
            if json.loads(known.read_text(encoding="utf-8")) != settings:
                raise ConfigError(
                    f"{self.path} holds predictions of another model or with other settings ({SETTINGS}); choose "
                    "another folder"
                )
        elif any(self.path.iterdir()):
            raise ConfigError(f"{self.path} is not empty and no folder of predictions; choose another")
        else:
            self.path.chmod(0o700)
            write_atomically(known, json.dumps(settings, indent=2))

    def _read_done(self) -> dict[str, dict[str, Any]]:
        """The records of inputs that are done; half a line, of a crash, is cut off."""
        self._done.seek(0)
        content = self._done.read()
        whole = content.rfind(b"\n") + 1
        self._done.truncate(whole)
        records = [json.loads(line) for line in content[:whole].splitlines()]
        return {record["input"]: record for record in records}

    def names(self, one: Input) -> Callable[[str], str]:
        """Gives what may be written of an input's name, and of the ids in it."""
        if self.text:
            return str
        if one.name not in self._namings:
            try:
                self._namings[one.name] = Naming.of([one.path])
            except OSError:  # told when it is read; until then it has some name
                self._namings[one.name] = Naming(secrets.token_bytes(32))
        return self._namings[one.name].document

    def failures_of(self, one: Input) -> int | None:
        """With how many failures an input is done; None if it is not, or has changed since."""
        record = self._known.get(self.names(one)(one.name))
        if record is None or (record["size"], record["changed_ns"]) != (one.size, one.changed_ns):
            return None
        return int(record["failures"])

    def begin(self, one: Input) -> Output:
        """The outputs of an input."""
        return Output(self, one)

    def record(self, one: Input, units: int, failures: int) -> None:
        """Write down that an input is done."""
        record = {"input": self.names(one)(one.name), "size": one.size, "changed_ns": one.changed_ns}
        self._done.write(json.dumps({**record, "units": units, "failures": failures}).encode() + b"\n")
        self._done.flush()
        os.fsync(self._done.fileno())

    def close(self) -> None:
        """Let go of the folder."""
        self._done.close()


class Output:
    """The files of one input, under other names until they are whole."""

    def __init__(self, folder: OutputFolder, one: Input) -> None:
        self._folder = folder
        self._input = one
        self._files = ExitStack()
        self._names: list[Path] = []
        self._writers: list[Writer] = []
        self.units = 0

    def write(self, found: Annotated) -> None:
        """Add a unit."""
        self._begin()
        for writer in self._writers:
            writer.write(found)
        self.units += 1

    def finish(self, failures: int) -> None:
        """Give the files their names, once they are on the disk, and write down that the input is done."""
        self._begin()
        for writer in self._writers:
            writer.end()
            writer.stream.flush()
            os.fsync(writer.stream.fileno())
        self._files.close()
        for target in self._names:
            os.replace(_aside(target), target)
        self._folder.record(self._input, self.units, failures)

    def _begin(self) -> None:
        """Open the files; not before there is something to write, as many small inputs may be read ahead."""
        if self._writers:
            return
        folder, one = self._folder, self._input
        name = folder.names(one)
        lines = folder.path / f"{name(one.name)}{PREDICTIONS}"
        self._writers.append(LinesWriter(self._open(lines), folder.tasks, name))
        native = WRITERS.get(one.format)
        if native is not None and folder.text:
            target = folder.path / one.name
            if one.format == "brat":
                self._copy(target)
                target = target.with_suffix(".ann")
            self._writers.append(native(self._open(target), folder.tasks))

    def _open(self, target: Path) -> TextIO:
        self._prepare(target)
        stream = open(_aside(target), "w", encoding="utf-8", newline="", opener=_private)  # noqa: SIM115
        return self._files.enter_context(stream)

    def _copy(self, target: Path) -> None:
        self._prepare(target)
        with open(self._input.path, "rb") as source, open(_aside(target), "wb", opener=_private) as copy:
            shutil.copyfileobj(source, copy)

    def _prepare(self, target: Path) -> None:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._names.append(target)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}{UNFINISHED}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
