"""Runs with affinities sampled: the same bits as without, and the same values after a stop and on two ranks."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtscale import names
from mtscale.errors import EXIT_STOPPED
from mtscale.runs import RunDirectory
from tests.lab import SECONDS, TASKS, Lab, files, recorded, steps_done, wait_until

pytestmark = pytest.mark.slow

EVERY = 3
ON = ("--set", f"refine.affinity_every={EVERY}")
NO_DROPOUT = ("--set", "encoder.dropout=0.0", "--set", "refine.head_dropout=0.0")


@dataclass(frozen=True)
class Runs:
    """Runs of one recipe and seed: without samples, with them, and with them but stopped in between."""

    off: RunDirectory
    on: RunDirectory
    stopped: RunDirectory


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Lab:
    made = Lab(tmp_path_factory.mktemp("affinity-runs"))
    made.write(tiny_encoder)
    return made


@pytest.fixture(scope="module")
def runs(lab: Lab) -> Runs:
    both = {"off": lab.start("off"), "on": lab.start("on", *ON)}
    for name, process in both.items():
        lab.end(process, name)
    stopped = lab.run("stopped")
    process = lab.start("stopped", *ON)
    wait_until(lambda: steps_done(stopped) >= EVERY + 1, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == EXIT_STOPPED, errors
    lab.finish("stopped", *ON)
    return Runs(lab.run("off"), lab.run("on"), stopped)


def affinities(run: RunDirectory) -> dict[tuple[str, int], float]:
    return {key: value for key, value in recorded(run).items() if key[0].startswith("affinity/")}


def test_a_run_records_all_pairs_every_so_many_steps_and_their_cost(runs: Runs) -> None:
    found = affinities(runs.on)
    steps = range(EVERY, runs.on.status.steps + 1, EVERY)
    pairs = [(one, other) for one in TASKS for other in TASKS if one != other]
    expected = {(name(*pair), step) for pair in pairs for step in steps for name in (names.cosine, names.lookahead)}
    assert found.keys() == expected
    seconds = [event.values for event in runs.on.events() if event.kind == "affinity"]
    assert all(0 < values[names.AFFINITY_SHARE] < 1 and values[names.AFFINITY_SECONDS] > 0 for values in seconds)


def test_a_run_ends_with_the_same_bits_as_without(runs: Runs) -> None:
    on = {key: value for key, value in recorded(runs.on).items() if not key[0].startswith("affinity/")}
    assert on == recorded(runs.off)
    assert files(runs.on) == files(runs.off)


def test_a_run_that_was_stopped_has_the_same_affinities(runs: Runs) -> None:
    assert affinities(runs.stopped) == affinities(runs.on)
    assert files(runs.stopped) == files(runs.on)


def test_two_ranks_agree_with_one(lab: Lab) -> None:
    one = lab.start("one", *ON, *NO_DROPOUT)
    lab.end(one, "one")
    two = lab.start("two", *ON, *NO_DROPOUT, ranks=2)
    lab.end(two, "two")
    found, expected = affinities(lab.run("two")), affinities(lab.run("one"))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-4), key
