"""``events.jsonl`` as series of numbers, read on from where the last reading ended.

Gives the same values as ``RunDirectory.events``, in arrays, and costs what was appended since, not what is there.
"""

from __future__ import annotations

import json
import os
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

CHUNK_BYTES = 1 << 20
# What stands before the place of reading is compared again, so that a file that was cut and grew again is noticed.
_REMEMBERED_BYTES = 64
_PACE_RECORDS = 200
# As json.dumps writes it. In a line of numbers it can be nothing but the event's own key.
_IS_TRAINING = b'"kind": "train"'


class Series:
    """The values of one name in the order of their steps."""

    __slots__ = ("epochs", "steps", "times", "values")

    def __init__(self) -> None:
        self.steps = array("q")
        self.epochs = array("q")
        self.times = array("d")
        self.values = array("d")

    def __len__(self) -> int:
        return len(self.steps)

    def put(self, step: int, epoch: int, time: float, value: float) -> None:
        """Add a value; of two of one step the later one counts."""
        steps = self.steps
        if not steps or step > steps[-1]:
            steps.append(step)
            self.epochs.append(epoch)
            self.times.append(time)
            self.values.append(value)
            return
        place = bisect_left(steps, step)
        if steps[place] == step:
            self.epochs[place], self.times[place], self.values[place] = epoch, time, value
        else:
            steps.insert(place, step)
            self.epochs.insert(place, epoch)
            self.times.insert(place, time)
            self.values.insert(place, value)

    def rewind(self, step: int) -> None:
        """Forget what comes after a step."""
        end = bisect_right(self.steps, step)
        del self.steps[end:], self.epochs[end:], self.times[end:], self.values[end:]

    def copy(self) -> Series:
        """A copy that does not change while another thread reads on."""
        twin = Series()
        twin.steps, twin.epochs = self.steps[:], self.epochs[:]
        twin.times, twin.values = self.times[:], self.values[:]
        return twin


class EventLog:
    """Follows the events of one run. For one thread."""

    def __init__(self, directory: Path, training: bool = True, wanted: Callable[[str], bool] | None = None) -> None:
        """``training``: read the records of training steps too. ``wanted``: the names to keep; all if not given."""
        self._path = directory / "events.jsonl"
        self._training = training
        self._wanted = wanted
        self._begin()

    def _begin(self) -> None:
        self._series: dict[str, Series] = {}
        self._kept: dict[str, bool] = {}
        self._offset = 0
        self._before = b""
        self._file: tuple[int, int] | None = None
        self._records: deque[bytes] = deque(maxlen=_PACE_RECORDS)

    @property
    def series(self) -> Mapping[str, Series]:
        """What has been read, by name; names whose values were all taken back are not there."""
        return {name: series for name, series in self._series.items() if len(series)}

    @property
    def place(self) -> tuple[object, int]:
        """The file and how much of it has been read: the same as long as nothing was added to the series."""
        return self._file, self._offset

    def read(self) -> bool:
        """Read what was appended, at most one chunk of it; whether there may be more.

        A line that is not yet complete is left for the next time; a file that was replaced or cut is read anew.

        Raises:
            OSError: the file is there and cannot be read.
        """
        try:
            stream = open(self._path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            self._begin()
            return False
        with stream:
            status = os.fstat(stream.fileno())
            stream.seek(self._offset - len(self._before))
            same = self._file in (None, (status.st_dev, status.st_ino)) and status.st_size >= self._offset
            if not same or stream.read(len(self._before)) != self._before:
                self._begin()
                stream.seek(0)
            self._file = (status.st_dev, status.st_ino)
            data = stream.read(CHUNK_BYTES)
            while len(data) >= CHUNK_BYTES and b"\n" not in data and (more := stream.read(CHUNK_BYTES)):
                data += more
        complete = data.rfind(b"\n") + 1
        self._take(data[:complete])
        self._offset += complete
        self._before = (self._before + data[:complete])[-_REMEMBERED_BYTES:]
        return complete > 0 and self._offset < status.st_size

    def _take(self, data: bytes) -> None:
        for line in data.split(b"\n")[:-1]:
            if _IS_TRAINING in line:
                self._records.append(line)
                if not self._training:
                    continue
            try:
                raw = json.loads(line.decode())
                self._put(raw["time"], raw["step"], raw["epoch"], raw["kind"], raw["values"])
            # RunDirectory.events passes over such lines too.
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                continue

    def _put(self, time: float, step: int, epoch: int, kind: str, values: Mapping[str, float]) -> None:
        if kind == "rewind":
            self._records.clear()
            for series in self._series.values():
                series.rewind(step)
            return
        step, epoch = array("q", (step, epoch))
        time = float(time)
        for name, value in values.items():
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = self._wanted is None or self._wanted(name)
                if kept:
                    self._series[name] = Series()
            if kept:
                self._series[name].put(step, epoch, time, float(value))

    def seconds_per_step(self) -> float | None:
        """The pace of the last records, pauses for evaluation included; None where it is not known."""
        if len(self._records) < 2:
            return None
        try:
            first, last = json.loads(self._records[0]), json.loads(self._records[-1])
            return float((last["time"] - first["time"]) / (last["step"] - first["step"]))
        except (ValueError, KeyError, TypeError, ZeroDivisionError):
            return None
