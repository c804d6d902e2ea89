"""Protocol ``paper``: train and dev train, test chooses, every look is written down, and everything says so."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtscale import cli, names
from mtscale.errors import EXIT_FINISHED, EXIT_STOPPED
from mtscale.run_summary import history, summarize
from mtscale.runs import RunDirectory
from tests.lab import SECONDS, TASKS, Lab, files, recorded, steps_done, wait_until

EPOCHS = 3


@dataclass(frozen=True)
class Pair:
    """A run under either protocol, of the same recipe and seed, and what the second printed."""

    clean: RunDirectory
    paper: RunDirectory
    printed: str


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Pair:
    lab = Lab(tmp_path_factory.mktemp("protocols"))
    lab.write(tiny_encoder)
    options = ("--set", f"refine.epochs={EPOCHS}")
    both = {
        "clean": lab.start("clean", *options),
        "paper": lab.start("paper", *options, "--set", 'protocol="paper"'),
    }
    printed = {name: lab.end(process, name) for name, process in both.items()}
    return Pair(lab.run("clean"), lab.run("paper"), printed["paper"])


def test_it_trains_on_train_and_dev(pair: Pair) -> None:
    assert pair.paper.status.steps > pair.clean.status.steps
    assert pair.paper.status.step == pair.paper.status.steps


def test_every_epoch_is_scored_on_test_and_none_on_dev(pair: Pair) -> None:
    series = history(pair.paper.events())
    for task in TASKS:
        points = series[names.metric("test", task, names.SCORE)]
        assert [point["epoch"] for point in points] == [1, 2, 3]
        assert names.metric("dev", task, names.SCORE) not in series
        assert names.best(task) not in series
    assert {path.name.partition(".")[0] for path in (pair.paper.path / "predictions").iterdir()} == {"test"}


def test_every_look_is_written_down(pair: Pair) -> None:
    lines = (pair.paper.path.parent / "test_looks.jsonl").read_text(encoding="utf-8").splitlines()
    looks = [(look["run"], look["task"], look["protocol"]) for look in map(json.loads, lines)]
    for task in TASKS:
        assert looks.count(("paper", task, "paper")) == EPOCHS
        assert looks.count(("clean", task, "clean")) == 1


def test_the_epoch_with_the_best_macro_score_on_test_is_kept(pair: Pair) -> None:
    series = history(pair.paper.events())
    macros = [point["value"] for point in series[names.macro("test")]]
    kept = macros.index(max(macros))
    assert summarize(pair.paper)["macro"] == macros[kept]
    for task in TASKS:
        scores = [point["value"] for point in series[names.metric("test", task, names.SCORE)]]
        assert summarize(pair.paper)["scores"][task]["test"] == scores[kept]
        (row,) = (line.split() for line in pair.printed.splitlines() if line.startswith(task))
        assert row[2:5] == [f"{score:.4f}" for score in (scores[kept], max(scores), scores[-1])]


def test_scores_chosen_on_test_are_called_optimistic(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"refine, seed 1, protocol paper: test scores, {names.OPTIMISTIC}" in pair.printed.splitlines()
    runs = str(pair.paper.path.parent)
    assert cli.main(["runs", "show", "paper", "--runs", runs]) == EXIT_FINISHED
    assert names.OPTIMISTIC in capsys.readouterr().out
    assert cli.main(["runs", "list", "--runs", runs]) == EXIT_FINISHED
    clean, paper = capsys.readouterr().out.split("\n\n")
    assert "paper" not in clean
    assert paper.startswith(f"protocol paper, {names.OPTIMISTIC}\n")
    assert f"{summarize(pair.clean)['macro']:.4f}" in clean


@pytest.mark.slow
def test_a_stopped_run_goes_on_exactly_with_heads_carried_on(pair: Pair) -> None:
    lab = Lab(pair.paper.path.parent.parent)
    options = ("--set", f"refine.epochs={EPOCHS}", "--set", 'protocol="paper"')
    stopped = lab.run("stopped")
    process = lab.start("stopped", *options)
    wait_until(lambda: steps_done(stopped) >= 3, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_STOPPED, errors
    lab.finish("stopped", *options)
    assert recorded(stopped) == recorded(pair.paper)
    assert files(stopped) == files(pair.paper)
