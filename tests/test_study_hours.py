"""What a report says of the hours that its runs took: no attempt is forgotten, and what is not known is no number."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mtscale.errors import EXIT_STOPPED
from mtscale.study import plan as planning
from mtscale.study import provenance, spec
from mtscale.study.document import Grid, Paragraph
from mtscale.study.plan import Plan
from mtscale.study.store import Outcome, StudyFolder
from mtscale.study_commands import _as_json
from tests.noisy import run_with_predictions
from tests.test_study_spec import STUDY, written

BEGAN = 1.8e9
UNKNOWN = "are not known: trained elsewhere, or cut off without a record."


def planned(tmp_path: Path) -> tuple[Plan, StudyFolder]:
    study = spec.load(written(tmp_path, STUDY))
    plan, folder = planning.make(study, tmp_path, tmp_path), StudyFolder(tmp_path, study.name)
    folder.save(plan, tmp_path, {})
    return plan, folder


def trained(plan: Plan, folder: StudyFolder, place: int, events: Mapping[float, str]) -> str:
    """Finish a unit whose run was made at the beginning, with events of these kinds so many hours later; its name."""
    unit = plan.units[place]
    run = run_with_predictions(folder.runs, unit.name, 0.9, seed=unit.seed, tasks=unit.tasks, splits=())
    run.update_record(created=BEGAN)
    lines = [
        {"time": BEGAN + 3600 * hour, "step": 0 if kind == "rewind" else step, "epoch": 1, "kind": kind, "values": {}}
        for step, (hour, kind) in enumerate(events.items(), start=1)
    ]
    (run.path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return unit.name


def ended(folder: StudyFolder, name: str, hour: float, took: float, code: int = 0) -> None:
    """Write down an attempt of so many hours that ended so long after the beginning."""
    with open(folder.path / "outcomes.jsonl", "a", encoding="utf-8") as stream:
        outcome = asdict(Outcome(name, code, "", 3600 * took))
        stream.write(json.dumps({"time": BEGAN + 3600 * hour, **outcome}) + "\n")


def told(plan: Plan, folder: StudyFolder) -> tuple[str, dict[str, str]]:
    """The sentence about hours, and what the finished units took."""
    blocks = list(provenance.blocks(plan, folder))
    (grid,) = [block for block in blocks if isinstance(block, Grid) and "hashes of their recipes" in block.caption]
    (sentence,) = [block.text for block in blocks[-2:] if isinstance(block, Paragraph)]
    return sentence, {row[0]: row[-1] for row in grid.rows if row[-1] != "-"}


def test_a_unit_that_was_stopped_took_all_its_attempts(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    name = trained(plan, folder, 0, {1: "train", 8.9: "train", 19.1: "rewind", 19.5: "train"})
    ended(folder, name, 9, 9, code=75)
    ended(folder, name, 20, 1)
    sentence, took = told(plan, folder)
    assert sentence == "1 runs in 1 units took 10.00 hours of work, several at once: 10.00 hours by the clock."
    assert took == {name: "10 h"}


def test_an_attempt_that_was_killed_leaves_the_hours_of_its_unit_unknown(tmp_path: Path) -> None:
    """What was recorded after 8.9 hours is of no attempt that is written down, and a resume has taken it back."""
    plan, folder = planned(tmp_path)
    killed = trained(plan, folder, 0, {1: "train", 8.9: "train", 19.1: "rewind", 19.5: "train"})
    ended(folder, killed, 2, 2, code=75)
    ended(folder, killed, 20, 1)
    whole = trained(plan, folder, 1, {0.5: "train"})
    ended(folder, whole, 1.5, 1.5)
    sentence, took = told(plan, folder)
    others = " The other 1 took 1.50 hours of work, several at once: 1.50 hours by the clock."
    assert sentence == f"2 runs in 2 units. The hours of 1 of them {UNKNOWN}{others}"
    assert took == {killed: "not known", whole: "90 min"}


def test_a_run_that_was_made_before_its_only_attempt_has_another_one(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    name = trained(plan, folder, 0, {19.1: "train"})
    ended(folder, name, 20, 1)
    assert told(plan, folder) == (f"1 runs in 1 units. The hours of 1 of them {UNKNOWN}", {name: "not known"})


def test_units_that_another_study_has_trained_have_the_hours_of_that_one(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    name = trained(plan, folder, 0, {1: "train", 8.9: "train"})
    assert told(plan, folder) == (f"1 runs in 1 units. The hours of 1 of them {UNKNOWN}", {name: "not known"})
    other = StudyFolder(tmp_path, "other")
    other.save(plan, tmp_path, {})
    ended(other, name, 9, 9)
    # Here it was only seen that it is finished.
    ended(folder, name, 9, 0.01)
    sentence, took = told(plan, folder)
    assert sentence.startswith("1 runs in 1 units took 9.00 hours of work")
    assert took == {name: "9 h"}


def test_what_is_not_finished_is_in_no_number(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    ended(folder, plan.units[0].name, 9, 9, code=4)
    assert told(plan, folder) == ("No unit is finished.", {})


def test_status_counts_all_attempts_of_a_unit(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path)
    name = trained(plan, folder, 0, {0.5: "train", 9.5: "train"})
    ended(folder, name, 9.0, 9.0, code=EXIT_STOPPED)
    ended(folder, name, 10.0, 1.0)
    units: Any = _as_json(plan, defaultdict(float), folder)["units"]
    assert [unit["took"] for unit in units] == [36_000.0, *[None] * (len(plan.units) - 1)]
