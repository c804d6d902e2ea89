"""Reading runs for the terminal app: only what changed, whatever stands there."""

from __future__ import annotations

import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mtscale_tui.cells import duration, file_size, plain
from mtscale_tui.settings import Settings, differing
from mtscale_tui.store import RunStore, log_tail

from mtscale import names
from mtscale.event_log import EventLog
from mtscale.runs import RunDirectory, State, Status
from tests.terminal import TASKS, event, make_run


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose events were read, as they are read."""
    found: list[str] = []
    take = EventLog._take

    def counted(self: EventLog, data: bytes) -> None:
        if data:
            found.append(self._path.parent.name)
        take(self, data)

    monkeypatch.setattr(EventLog, "_take", counted)
    return found


def test_only_what_changed_is_read(tmp_path: Path, read: list[str]) -> None:
    for seed in (1, 2):
        make_run(tmp_path, f"run-{seed}", seed)
    store = RunStore(tmp_path)
    first = store.snapshot()
    assert sorted(read) == ["run-1", "run-2"]
    assert store.snapshot() == first
    assert all(one is other for one, other in zip(store.snapshot().runs, first.runs, strict=True))
    assert len(read) == 2
    RunDirectory(tmp_path / "run-1").append_event("best", 40, 4, {names.best(names.MACRO): 0.99})
    assert [summary["macro"] for summary in store.snapshot().runs] == [0.77, 0.99]
    assert read[2:] == ["run-1"]


def test_of_a_live_run_only_what_was_appended_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, "one", state=State.RUNNING)
    store = RunStore(tmp_path)
    store.snapshot()
    store.details([run.path])
    taken: list[bytes] = []
    monkeypatch.setattr(EventLog, "_take", lambda self, data: taken.append(data))
    line = event("dev", 40, 4, {names.metric("dev", TASKS[0], names.SCORE): 0.9})
    with open(run.path / "events.jsonl", "a") as events:
        events.write(line)
    store.snapshot()
    store.details([run.path])
    assert taken == [line.encode()] * 2


def test_a_first_reading_in_parts_shows_runs_before_their_scores(tmp_path: Path, read: list[str]) -> None:
    for seed in range(1, 5):
        make_run(tmp_path, f"run-{seed}", seed)
    store = RunStore(tmp_path)
    seen = [store.snapshot(seconds=0.0)]
    while seen[-1].pending:
        seen.append(store.snapshot(seconds=0.0))
        assert len(seen) < 20
    assert len(seen) > 2
    names_seen = [{summary["dir"] for summary in snapshot.runs} for snapshot in seen]
    assert all(before <= after for before, after in pairwise(names_seen))
    assert seen[-1] == RunStore(tmp_path).snapshot()
    assert seen[-1].runs[0]["macro"] == 0.79


def test_a_run_keeps_its_scores_until_the_new_ones_are_read(tmp_path: Path) -> None:
    for seed in range(1, 4):
        make_run(tmp_path, f"run-{seed}", seed)
    store = RunStore(tmp_path)
    store.snapshot()
    for seed in range(1, 4):
        RunDirectory(tmp_path / f"run-{seed}").write_status(Status(state=State.STOPPED, step=31, steps=300))
    snapshot = store.snapshot(seconds=0.0)
    assert snapshot.pending
    assert [summary["macro"] for summary in snapshot.runs] == [0.78, 0.77, 0.76]


def test_a_process_that_dies_shows_though_no_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "one", state=State.RUNNING)
    store = RunStore(tmp_path)
    assert [summary["state"] for summary in store.snapshot().runs] == ["running"]
    monkeypatch.setattr("mtscale.runs.process_start", lambda pid: None)
    assert [summary["state"] for summary in store.snapshot().runs] == ["lost"]


def test_the_time_left_is_the_pace_of_the_last_steps(tmp_path: Path) -> None:
    run = make_run(tmp_path, "one", state=State.RUNNING)
    make_run(tmp_path, "two", state=State.STOPPED)
    store = RunStore(tmp_path)
    assert store.snapshot().left == {str(run.path): 2 * 270}
    details = store.details([run.path, tmp_path / "two"])
    assert {path.name: detail.left for path, detail in details.items()} == {"one": 540.0, "two": None}


def test_details_are_the_same_object_until_something_comes(tmp_path: Path) -> None:
    run = make_run(tmp_path, "one")
    store = RunStore(tmp_path)
    first = store.details([run.path])[run.path]
    assert store.details([run.path])[run.path].series is first.series
    with open(run.path / "events.jsonl", "a") as events:
        events.write(event("train", 31, 4, {names.TRAIN_LOSS: 0.5}))
    after = store.details([run.path])[run.path]
    assert len(after.series[names.TRAIN_LOSS]) == len(first.series[names.TRAIN_LOSS]) + 1 == 31
    shutil.rmtree(run.path)
    assert store.details([run.path]) == {}


def test_broken_and_vanishing_runs_are_survived(tmp_path: Path) -> None:
    make_run(tmp_path, "good")
    make_run(tmp_path, "doomed")
    make_run(tmp_path, "odd")
    (tmp_path / "mlflow-artifacts").mkdir()
    (tmp_path / "mlflow.db").write_bytes(b"")
    store = RunStore(tmp_path)
    assert (len(store.snapshot().runs), store.snapshot().problem) == (3, "")
    shutil.rmtree(tmp_path / "doomed")
    (tmp_path / "odd" / "run.json").write_text("{")
    snapshot = store.snapshot()
    assert ([summary["dir"] for summary in snapshot.runs], snapshot.problem) == (
        [str(tmp_path / "good")],
        "1 unreadable",
    )
    os.chmod(tmp_path / "good" / "events.jsonl", 0)
    assert RunStore(tmp_path / "none").snapshot().runs == ()
    (tmp_path / "file").write_text("")
    assert "cannot read" in RunStore(tmp_path / "file").snapshot().problem


def test_files_are_listed_by_size_and_never_opened(tmp_path: Path) -> None:
    run = make_run(tmp_path, "one")
    secret = run.path / "predictions" / "dev.cdr-disease.jsonl"
    os.utime(secret, ns=(1, 1))
    detail = RunStore(tmp_path).details([run.path])[run.path]
    assert dict(detail.files)["predictions/dev.cdr-disease.jsonl"] == secret.stat().st_size
    assert "secret" not in repr(detail)


def test_log_tail(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    assert log_tail(log) == ()
    log.write_bytes(b"10%\r50%\r100%\r\nnext\xff\n\nunfinished")
    assert log_tail(log) == ("100%", "next\ufffd", "", "unfinished")
    log.write_text("".join(f"{number:06} {'x' * 30}\n" for number in range(10_000)))
    tail = log_tail(log)
    assert [line[:6] for line in tail] == [f"{number:06}" for number in range(5_000, 10_000)]
    log.write_text("y" * 1_000_000 + "\nlast\n")
    assert log_tail(log) == ("last",)


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_plain_text_cannot_steer_the_terminal(text: str) -> None:
    shown = plain(text)
    assert all(character.isprintable() for character in shown)
    if text.isascii() and text.isprintable():
        assert shown == text


def test_plain_removes_whole_sequences() -> None:
    assert plain("\x1b[1;31mred\x1b[0m \x1b]0;title\x07and\x1b]8;;http://x\x1b\\link\ta\x00\x9b") == "red andlink a"


def test_times_and_sizes_are_short() -> None:
    assert [duration(seconds) for seconds in (-1, 59.6, 200, 7500, 273_600)] == ["0s", "1m00", "3m20", "2h05", "3d04h"]
    assert [file_size(size) for size in (0, 1023, 1536, 250 * 2**20)] == ["0 B", "1023 B", "1.5 KiB", "250 MiB"]


def settings_of(recipe: str, ds_config: object) -> Settings:
    return Settings(tuple(recipe.splitlines()), tuple(json.dumps(ds_config, indent=1).splitlines()))


def test_settings_that_differ_are_told_by_name() -> None:
    one = settings_of(
        'name = "a"\n[refine]\nepochs = 3\n[[tasks]]\nname = "t"\nloss_weight = 0.3', {"zero": {"stage": 0}}
    )
    two = settings_of(
        'name = "a"\n[refine]\nepochs = 4\n[[tasks]]\nname = "t"\n[[tasks]]\nname = "u"', {"zero": {"stage": 1}}
    )
    assert differing([one, two]) == {
        "refine.epochs": ("3", "4"),
        "tasks.t.loss_weight": ("0.3", "-"),
        "tasks.u": ("-", "there"),
        "ds_config.zero.stage": ("0", "1"),
    }
    assert differing([one, one]) == {}
    assert differing([one, settings_of("= broken", {"zero": {"stage": 0}})])["recipe.toml"] == ("-", "not readable")
