"""The demo: recorded runs that can be looked at and not touched."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from mtscale_tui.app import DEMO, RunsApp, main
from mtscale_tui.launch_screen import LaunchScreen
from mtscale_tui.run_screen import RunScreen
from mtscale_tui.runs_screen import RunsTable
from mtscale_tui.store import RunStore

from mtscale.runs import State
from tests.lab import ROOT
from tests.terminal import text_of, until

MAX_BYTES = 300_000


def contents() -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(DEMO.rglob("*")) if path.is_file()
    }


def test_the_recordings_are_small_and_tell_of_no_machine() -> None:
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BYTES
    kept = {"run.json", "recipe.toml", "ds_config.json", "status.json", "events.jsonl", "train.log", "README.md"}
    assert {path.name for path in files} <= kept
    for path in files:
        assert not re.search(r"/(tmp|home|root|work|opt)\b", path.read_text(encoding="utf-8")), path


def test_the_numbers_are_those_of_the_readme() -> None:
    """Seed 1 of the sample stands in the README with its dev and test scores and its floors."""
    snapshot = RunStore(DEMO).snapshot()
    assert snapshot.problem == ""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    refined = [summary for summary in snapshot.runs if summary["seed"] == 1 and len(summary["tasks"]) == 5]
    finished = [summary for summary in refined if summary["state"] == State.FINISHED]
    assert len(finished) == 2, "alone, and before its tasks were fine-tuned"
    for task, scores in (pair for summary in finished for pair in summary["scores"].items()):
        row = rf"{task} +\w+ +{scores['dev']:.4f} +{scores['test']:.4f} +{scores['floor']:.4f}\n"
        assert re.search(row, readme), row


def test_the_states_of_the_recorded_runs() -> None:
    states = {summary["state"] for summary in RunStore(DEMO).snapshot().runs}
    assert states == {State.FINISHED, State.STOPPED, State.FAILED}


async def test_the_demo_is_only_looked_at() -> None:
    before = contents()
    app = RunsApp(DEMO, demo=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunsTable).row_count > 1)
        assert "demo: recorded runs" in text_of(pilot, "#title")
        await pilot.press("S", "R", "n")
        await pilot.pause()
        said = {notification.message for notification in app._notifications}
        assert said == {"These are recorded runs: `mtscale-tui` without --demo starts, stops and resumes"}
        assert not isinstance(app.screen, LaunchScreen)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("S")
        assert isinstance(app.screen, RunScreen)
    assert contents() == before


def test_the_demo_as_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["--demo", "--once"])
    shown = capsys.readouterr().out
    assert "sample" in shown
    assert "stopped" in shown
    assert not list(tmp_path.iterdir())
