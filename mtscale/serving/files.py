"""Predictions on files, streamed: one reading of each, one window in memory, outputs whole or absent."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mtscale.checks.progress import with_progress
from mtscale.errors import DataError
from mtscale.serving.annotate import Annotated, Annotator
from mtscale.serving.inputs import Input
from mtscale.serving.outputs import Output, OutputFolder
from mtscale.serving.reading import read
from mtscale.serving.shown import visible
from mtscale.serving.units import Failure, Unit

logger = logging.getLogger("mtscale")

_LINE = re.compile(r"line [0-9]+")


@dataclass
class Summary:
    """What a prediction has done: inputs and units (documents, sentences, rows), and what could not be read.

    ``failures`` includes those of inputs that were done before. ``crowded``: documents with too many pairs of mentions
    for some relation task.
    """

    inputs: int = 0
    passed_over: int = 0
    units: int = 0
    failures: int = 0
    crowded: int = 0


@dataclass
class _Begun:
    """An input whose units are on their way."""

    input: Input
    output: Output
    read: int = 0
    failures: int = 0
    exhausted: bool = field(default=False)

    @property
    def is_complete(self) -> bool:
        return self.exhausted and self.output.units == self.read


class FilePrediction:
    """Predicts on files into a folder; what is done there already is passed over."""

    def __init__(self, annotator: Annotator, folder: OutputFolder, columns: Mapping[str, str]) -> None:
        self._annotator = annotator
        self._folder = folder
        self._columns = columns
        self._begun: deque[_Begun] = deque()
        self._summary = Summary()

    def run(self, inputs: Sequence[Input]) -> Summary:
        """Predict on all inputs. A part that cannot be read is told by file and id, and the others go on.

        Raises:
            ConfigError: no chosen task fits an input.
            OSError: an output cannot be written.
        """
        rest = []
        for one in inputs:
            failures = self._folder.failures_of(one)
            if failures is None:
                rest.append(one)
            else:
                self._summary.passed_over += 1
                self._summary.failures += failures
        annotated = self._annotator.annotate(self._units(rest))
        total = sum(one.size for one in rest)
        for found in with_progress(annotated, "predicted", total, _size):
            self._finish_complete()
            self._begun[0].output.write(found)
            self._summary.crowded += bool(found.crowded)
        self._finish_complete()
        return self._summary

    def _units(self, inputs: Sequence[Input]) -> Iterator[Unit]:
        for number, one in enumerate(inputs, start=1):
            begun = _Begun(one, self._folder.begin(one))
            self._begun.append(begun)
            try:
                for item in read(one.format, one.path, self._columns):
                    if isinstance(item, Failure):
                        self._tell(begun, number, item)
                    else:
                        begun.read += 1
                        yield item
            except DataError as error:
                self._tell(begun, number, Failure("", str(error), 0))
            begun.exhausted = True

    def _finish_complete(self) -> None:
        while self._begun and self._begun[0].is_complete:
            done = self._begun.popleft()
            done.output.finish(done.failures)
            self._summary.inputs += 1
            self._summary.units += done.output.units
            self._summary.failures += done.failures

    def _tell(self, begun: _Begun, number: int, failure: Failure) -> None:
        begun.failures += 1
        shown, id_, message = str(begun.input.path), failure.id, failure.message
        if not self._folder.text:
            # Names of files and documents may say whom they are about.
            name = self._folder.names(begun.input)
            shown = f"input {number} ({name(begun.input.name)})"
            path = begun.input.path  # of BRAT another suffix may be meant
            message = message.replace(str(path), shown).replace(str(path.with_suffix("")), shown)
            id_ = id_ if not id_ or _LINE.fullmatch(id_) else name(id_)
        logger.error("%s: left out: %s: %s", shown, visible(id_) or "what has not been read yet", message)


def _size(found: Annotated) -> int:
    return found.unit.size
