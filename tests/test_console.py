"""What is said on the terminal and in logs: names from outside are data there too."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mtscale import cli
from mtscale.errors import EXIT_DATA
from mtscale.training.console import PlainFormatter


def test_a_name_of_a_file_is_told_without_what_a_terminal_acts_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "\x1b[31mred\u202e.jsonl"
    assert cli.main(["score", "--task", "cdr-similarity", "--predictions", str(path)]) == EXIT_DATA
    told = capsys.readouterr().err
    assert "\\x1b[31mred\\u202e.jsonl: expected a readable file" in told
    assert all(line.isprintable() for line in told.splitlines())


def test_lines_of_a_message_stay_lines() -> None:
    record = logging.LogRecord("mtscale", logging.ERROR, "x.py", 1, "two\n\x07lines of %s", ("\x9b2J",), None)
    assert PlainFormatter("%(levelname)s %(message)s").format(record) == "ERROR two\n\\x07lines of \\x9b2J"
