from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mtscale import runs
from mtscale.errors import ConfigError
from mtscale.runs import (
    HEARTBEAT_SECONDS,
    RunDirectory,
    RunRecord,
    State,
    Status,
    find_run,
    list_runs,
    process_start,
    write_atomically,
)


def record(**changes: object) -> RunRecord:
    made = RunRecord(
        name="run",
        family="f",
        group="g",
        recipe="r",
        stage="refine",
        seed=1,
        protocol="clean",
        tasks=("ner",),
        ds_config="cpu",
        world_size=1,
        command=("mtscale", "train"),
        versions={"mtscale": "0"},
        recipe_hash="h",
    )
    return made.model_copy(update=changes)


def create(path: Path, **changes: object) -> RunDirectory:
    return RunDirectory.create(path, record(**changes), 'name = "r"\n', "{}")


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_new_run_has_its_files_and_is_private(tmp_path: Path) -> None:
    root = tmp_path / "new" / "runs"
    made = record(data_hashes={"ner": "abc"})
    run = RunDirectory.create(root / "a", made, 'name = "r"\n', "{}")
    files = {"run.json", "recipe.toml", "ds_config.json", "status.json"}
    assert tree(run.path) == files | {"predictions", "checkpoints"}
    assert tree(root) - {f"a/{name}" for name in tree(run.path)} == {"a"}
    for folder in (root, run.path, run.path / "predictions", run.path / "checkpoints"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in files:
        assert stat.S_IMODE((run.path / name).stat().st_mode) == 0o600
    assert run.record == made.model_copy(update={"pid_start": process_start(os.getpid())})
    assert (run.path / "recipe.toml").read_text() == 'name = "r"\n'
    assert (run.status.state, run.state()) == (State.RUNNING, State.RUNNING)


def test_an_existing_run_is_not_touched(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    before = (run.path / "run.json").read_bytes()
    for path in (run.path, tmp_path / "empty", tmp_path / "file"):
        if path.name == "empty":
            path.mkdir()
        elif path.name == "file":
            path.touch()
        with pytest.raises(ConfigError, match="exists already: choose another --run name"):
            create(path)
    assert (run.path / "run.json").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a", "empty", "file"}


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a b", "a:b", "ä", "-a", "a" * 201, "a\n", "\x1b[31mred"])
def test_a_name_that_a_tool_could_trip_over_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="a run's name has letters, digits"):
        create(Path(f"{tmp_path}/{name}") if name else Path("/"))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"cannot write runs into .*/file: File exists.*--runs or MTSCALE_RUNS"):
        create(tmp_path / "file" / "a")
    assert tree(tmp_path) == {"file"}


def test_a_creation_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        if path.name == "status.json":
            raise OSError(28, "No space left on device")
        write_atomically(path, text)

    monkeypatch.setattr(runs, "write_atomically", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        create(tmp_path / "a")
    assert tree(tmp_path) == set()


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert tree(tmp_path) == {"f"}


def test_a_reader_never_sees_half_a_status(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    seen: list[int] = []
    failures: list[Exception] = []
    written = threading.Event()

    def read() -> None:
        while not written.is_set():
            try:
                status = run.status
                assert len(status.message) == status.step * 1000
                seen.append(status.step)
            except (OSError, ValidationError, AssertionError) as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(150):
        run.write_status(Status(state=State.RUNNING, step=step, message="x" * step * 1000))
    written.set()
    reader.join()
    assert failures == []
    assert len(set(seen)) > 5
    assert seen == sorted(seen)


def test_a_record_keeps_what_is_not_changed(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    before = run.record
    run.update_record(mlflow_run_id="m")
    assert run.record == before.model_copy(update={"mlflow_run_id": "m"})


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Another process that lives until its input closes."""
    with subprocess.Popen([sys.executable, "-Sc", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        yield made


def test_a_run_whose_process_is_gone_is_lost(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    run = create(tmp_path / "a", pid=child.pid)
    assert run.state() is State.RUNNING
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert run.state() is State.LOST, "a zombie trains nothing"
    child.wait()
    assert run.state() is State.LOST


def test_another_process_with_the_same_pid_is_not_the_run(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    run = create(tmp_path / "a", pid=child.pid)
    start = process_start(child.pid)
    assert start is not None
    run.update_record(pid_start=start - 1)
    assert run.state() is State.LOST
    run.update_record(pid_start=None)
    assert run.state() is State.LOST


@pytest.mark.parametrize("state", [State.RUNNING, State.STOPPING])
def test_a_silent_process_is_stalled_after_three_heartbeats(tmp_path: Path, state: State) -> None:
    run = create(tmp_path / "a")
    run.write_status(Status(state=state, time=time.time() - 2.5 * HEARTBEAT_SECONDS))
    assert run.state() is state
    run.write_status(Status(state=state, time=time.time() - 3.1 * HEARTBEAT_SECONDS))
    assert run.state() is State.STALLED


def test_a_run_on_another_host_is_judged_by_its_heartbeat(tmp_path: Path) -> None:
    run = create(tmp_path / "a", host="elsewhere", pid=2**22 + 1)
    assert run.state() is State.RUNNING
    run.write_status(Status(state=State.RUNNING, time=time.time() - 3.1 * HEARTBEAT_SECONDS))
    assert run.state() is State.LOST


@pytest.mark.parametrize("state", [State.FINISHED, State.FAILED, State.STOPPED])
def test_a_final_state_stands_whatever_became_of_the_process(tmp_path: Path, state: State) -> None:
    run = create(tmp_path / "a", pid=2**22 + 1)
    run.write_status(Status(state=state, time=0.0))
    assert run.state() is state


def test_the_start_of_a_process_is_that_of_the_kernel(child: subprocess.Popen[bytes]) -> None:
    start = process_start(child.pid)
    assert start is not None
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert uptime - 60 < start / os.sysconf("SC_CLK_TCK") <= uptime
    assert process_start(2**22 + 1) is None


def steps(run: RunDirectory) -> list[int]:
    return [event.step for event in run.events()]


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    assert list(run.events()) == []
    written = run.append_event("train", 3, 1, {"train/loss": 0.1 + 0.2, "train/lr": 1e-12})
    (read,) = run.events()
    assert (read.step, read.epoch, read.kind, read.values) == (
        3,
        1,
        "train",
        {"train/loss": 0.1 + 0.2, "train/lr": 1e-12},
    )
    assert abs(read.time - written.time) < 0.001
    assert set(json.loads((run.path / "events.jsonl").read_text())) == {"time", "step", "epoch", "kind", "values"}


def test_a_number_that_json_does_not_know_is_never_written(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    run.append_event("train", 1, 1, {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.append_event("train", 2, 1, {"train/loss": float("nan")})
    run.append_event("train", 3, 1, {})
    assert steps(run) == [1, 3]


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(0, 200), count=st.integers(1, 4))
def test_a_crash_in_a_write_costs_that_line_alone(
    tmp_path_factory: pytest.TempPathFactory, cut: int, count: int
) -> None:
    run = create(tmp_path_factory.mktemp("runs") / "a")
    for step in range(count):
        run.append_event("train", step, 1, {"train/loss": 1.5})
    path = run.path / "events.jsonl"
    data = path.read_bytes()
    kept = data[: max(0, len(data) - cut)]
    path.write_bytes(kept)
    whole = list(range(kept.count(b"\n")))
    assert steps(run) == whole
    run.append_event("train", 99, 1, {})
    assert steps(run) == [*whole, 99]
    assert path.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert path.read_bytes().endswith(b"}\n")


def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    run.append_event("train", 1, 1, {})
    with open(run.path / "events.jsonl", "ab") as stream:
        stream.write(b'\0\0\0\nnot json\n3\n{"step": 2}\n\xff\n\n')
    run.append_event("train", 4, 1, {})
    assert steps(run) == [1, 4]


def test_a_rewind_takes_back_what_lies_after_its_step(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    for step in (1, 2, 3, 4):
        run.append_event("train", step, 1, {"train/loss": float(step)})
    run.append_event("rewind", 2, 1, {})
    assert steps(run) == [1, 2]
    run.append_event("train", 3, 1, {"train/loss": 30.0})
    run.append_event("train", 4, 1, {"train/loss": 40.0})
    run.append_event("rewind", 3, 1, {})
    assert [(event.step, event.values["train/loss"]) for event in run.events()] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_what_a_resumed_run_records_again_counts_once(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    for loss in (1.0, 2.0):
        run.append_event("dev", 2, 1, {"dev/macro/score": loss})
        run.append_event("rewind", 2, 1, {})
        run.append_event("test", 2, 1, {"test/macro/score": loss})
    assert [(event.kind, *event.values.values()) for event in run.events()] == [("dev", 2.0), ("test", 2.0)]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    run = create(tmp_path / "a")
    script = """
import os, sys
from pathlib import Path
from mtscale import runs
os.replace = lambda *_: os.kill(os.getpid(), 9)
runs.write_atomically(Path(sys.argv[1]) / "predictions" / "dev.a.jsonl", "half")
"""
    subprocess.run([sys.executable, "-c", script, str(run.path)], timeout=60, check=False)
    before = {path.name for path in run.path.rglob("*")}
    assert any(name.startswith(".dev.a.jsonl.") for name in before)
    run.remove_unfinished()
    assert {path.name for path in run.path.rglob("*")} == {name for name in before if not name.startswith(".")}


def test_the_list_has_the_runs_oldest_first_and_no_junk(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    assert list_runs(root) == []
    for name, created in (("new", 30.0), ("old", 10.0), ("middle", 20.0)):
        create(root / name, created=created)
    for junk, content in {"empty": None, "text": b"x", "bytes": b"\xff\xfe", "other": b"{}", "list": b"[]"}.items():
        (root / f"junk-{junk}").mkdir()
        if content is not None:
            (root / f"junk-{junk}" / "run.json").write_bytes(content)
    create(root / "no-status").path.joinpath("status.json").unlink()
    (root / "mlflow.db").touch()
    (root / ".new-x").mkdir()
    assert [run.path.name for run in list_runs(root)] == ["old", "middle", "new"]


def test_a_run_is_found_by_name_id_or_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "runs"
    one, two = create(root / "one", id="aaaa11112222"), create(root / "two", id="aaaa33334444")
    create(root / "aaaa1111", id="bbbb00000000")
    assert find_run(root, "one").path == one.path
    assert find_run(root, "aaaa33334444").path == two.path
    assert find_run(root, "aaaa3").path == two.path
    assert find_run(tmp_path / "elsewhere", str(two.path)).path == two.path
    assert find_run(root, "aaaa1111").path == root / "aaaa1111", "a name goes before the beginning of an id"
    monkeypatch.chdir(root)
    assert find_run(tmp_path / "elsewhere", "one").record.id == one.record.id


@pytest.mark.parametrize(("wanted", "expected"), [("aaaa", "2 runs in"), ("bbb", "no run in"), ("none", "no run in")])
def test_what_fits_no_run_or_several_is_refused(tmp_path: Path, wanted: str, expected: str) -> None:
    for name, run_id in (("one", "aaaa11112222"), ("two", "aaaa33334444"), ("three", "bbbb55556666")):
        create(tmp_path / name, id=run_id)
    with pytest.raises(ConfigError, match=f"{expected} .*{wanted}.*`mtscale runs list`"):
        find_run(tmp_path, wanted)


def test_events_of_one_kind_and_step_are_one_and_later_values_count(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.append_event("dev", 10, 1, {"a": 1.0, "b": 1.0})
    run.append_event("train", 10, 1, {"a": 5.0})
    run.append_event("dev", 10, 1, {"b": 2.0, "c": 3.0})
    assert [(event.kind, event.step, event.values) for event in run.events()] == [
        ("dev", 10, {"a": 1.0, "b": 2.0, "c": 3.0}),
        ("train", 10, {"a": 5.0}),
    ]
