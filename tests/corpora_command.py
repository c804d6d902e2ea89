"""`mtscale corpora ...` run in the process of the test, and files in the layout of BC5CDR for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mtscale.cli import main
from mtscale.errors import EXIT_FINISHED

# Read before any test: the tests themselves see no settings from outside.
REAL = os.environ.get("MTSCALE_TEST_CORPORA")
real_corpora = pytest.mark.skipif(REAL is None, reason="needs MTSCALE_TEST_CORPORA, the folder of the original corpora")
SECRET = "xylophone"  # stands in every text, so must never be printed or written into a recipe


class Command:
    """Runs `mtscale corpora ...` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self.capsys, self.caplog = capsys, caplog

    def __call__(self, *words: str | Path, code: int = EXIT_FINISHED) -> str:
        self.caplog.clear()
        found = main(["corpora", *map(str, words)])
        captured = self.capsys.readouterr()
        printed = captured.out + captured.err + self.caplog.text
        assert found == code, printed
        assert SECRET not in printed
        return printed

    def json(self, *words: str | Path, code: int = EXIT_FINISHED) -> Any:
        return json.loads(self(*words, "--json", code=code))


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys, caplog)


def pubtator(first: int, count: int) -> str:
    return "\n".join(
        f"{number}|t|The {SECRET} and lead, Gout.\n{number}|a|Again.\n"
        f"{number}\t4\t13\t{SECRET}\tInstrument\t-1\n"
        f"{number}\t18\t22\tlead\tChemical\tD1\n{number}\t24\t28\tGout\tDisease\tD2\n{number}\tCID\tD2\tD1\n"
        for number in range(first, first + count)
    )


BC5CDR = {"Training": (1, 3), "Development": (11, 1), "Test": (21, 2)}


def write_bc5cdr(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, (first, count) in BC5CDR.items():
        (folder / f"CDR_{split}Set.PubTator.txt").write_text(pubtator(first, count), encoding="utf-8")
