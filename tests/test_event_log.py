from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale import event_log
from mtscale.event_log import EventLog
from mtscale.run_summary import history
from mtscale.runs import RunDirectory

Line = tuple[str, int, float]


def text(kind: str, step: int, value: float, name: str | None = None, moment: float = 0.0) -> str:
    values = {} if kind == "rewind" else {name or f"{kind}/score": value}
    return json.dumps({"time": moment, "step": step, "epoch": step // 2, "kind": kind, "values": values}) + "\n"


def read_all(log: EventLog) -> dict[str, list[tuple[int, float]]]:
    while log.read():
        pass
    return {name: list(zip(series.steps, series.values, strict=True)) for name, series in log.series.items()}


def by_events(directory: Path) -> dict[str, list[tuple[int, float]]]:
    series = history(RunDirectory(directory).events())
    return {name: sorted((point["step"], point["value"]) for point in points) for name, points in series.items()}


LINES = st.lists(
    st.tuples(st.sampled_from(["train", "dev", "rewind"]), st.integers(0, 12), st.floats(0, 1, width=16)), max_size=30
)


@settings(deadline=None, max_examples=200)
@given(LINES, st.lists(st.integers(0, 2000), max_size=6), st.booleans())
def test_however_it_grows_the_values_are_those_of_the_run_directory(
    lines: Sequence[Line], cuts: Sequence[int], last_half: bool
) -> None:
    data = "".join(text(*line) for line in lines).encode() + (b'{"time": 1, "st' if last_half else b"")
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        log = EventLog(directory)
        for end in [*sorted(cuts), len(data)]:
            (directory / "events.jsonl").write_bytes(data[:end])
            found = read_all(log)
            assert found == by_events(directory)


@settings(deadline=None, max_examples=50)
@given(LINES, LINES)
def test_a_file_that_was_replaced_is_read_anew(before: Sequence[Line], after: Sequence[Line]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = EventLog(Path(folder))
        for lines in (before, after):
            (Path(folder) / "new").write_text("".join(text(*line) for line in lines))
            (Path(folder) / "new").rename(Path(folder) / "events.jsonl")
            found = read_all(log)
        assert found == by_events(Path(folder))


@settings(deadline=None, max_examples=50)
@given(LINES, LINES, st.integers(0, 30))
def test_a_file_that_was_cut_and_has_grown_again_is_read_anew(
    before: Sequence[Line], after: Sequence[Line], kept: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        log = EventLog(Path(folder))
        path.write_text("".join(text(*line) for line in before))
        read_all(log)
        # Recorded at another time, as everything after a cut is.
        later = [text(*line, None, 5.0) for line in after]
        path.write_text("".join([*(text(*line) for line in before[:kept]), *later]))
        assert read_all(log) == by_events(Path(folder))


def test_only_what_was_appended_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def counted(line: bytes) -> object:
        parsed.append(line)
        return json.loads(line)

    monkeypatch.setattr("mtscale.event_log.json", type("J", (), {"loads": staticmethod(counted)}))
    path = tmp_path / "events.jsonl"
    path.write_text(text("dev", 1, 0.5) + text("dev", 2, 0.5))
    log = EventLog(tmp_path)
    read_all(log)
    parsed.clear()
    with open(path, "a") as stream:
        stream.write(text("dev", 3, 0.25) + text("dev", 4, 0.5)[:20])
    assert read_all(log) == {"dev/score": [(1, 0.5), (2, 0.5), (3, 0.25)]}
    assert len(parsed) == 1


def test_what_is_no_event_is_passed_over(tmp_path: Path) -> None:
    good = text("dev", 5, 0.5)
    bad = [
        '{"time":1,"step":1,"epoch":1,"kind":"dev","values":[1]}',
        '{"time":1,"step":1,"epoch":1,"kind":"dev","values":{"dev/score":"high"}}',
        '{"time":1,"step":"one","epoch":1,"kind":"dev","values":{"dev/score":1}}',
        '{"time":1,"step":99999999999999999999999,"epoch":1,"kind":"dev","values":{"dev/score":1}}',
        '{"time":null,"step":1,"epoch":1,"kind":"dev","values":{"dev/score":1}}',
        "[]",
        "{",
        "\x00",
        "[" * 100_000,
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(bad) + "\n" + good)
    log = EventLog(tmp_path)
    assert read_all(log) == {"dev/score": [(5, 0.5)]}
    (series,) = log.series.values()
    assert len(series.steps) == len(series.epochs) == len(series.times) == len(series.values) == 1


def test_long_files_are_read_in_chunks_and_a_missing_one_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "CHUNK_BYTES", 150)
    log = EventLog(tmp_path)
    assert not log.read()
    (tmp_path / "events.jsonl").write_text("".join(text("dev", step, 0.5) for step in range(1, 11)))
    assert log.read()
    assert 0 < len(log.series["dev/score"]) < 10
    assert len(read_all(log)["dev/score"]) == 10
    (tmp_path / "events.jsonl").write_text(
        text("dev", 1, 0.5, name="dev/" + "x" * 400 + "/score") + text("dev", 2, 0.5)
    )
    assert len(read_all(log)) == 2
    (tmp_path / "events.jsonl").unlink()
    assert read_all(log) == {}


def test_scores_are_read_without_the_training_records(tmp_path: Path) -> None:
    lines = [text("train", step, 1.0, name="train/score", moment=3.0 * step) for step in range(1, 9)]
    (tmp_path / "events.jsonl").write_text("".join([*lines, text("dev", 8, 0.5), text("dev", 8, 0.7, name="dev/f1")]))
    log = EventLog(tmp_path, training=False, wanted=lambda name: name.endswith("/score"))
    assert read_all(log) == {"dev/score": [(8, 0.5)]}
    assert log.seconds_per_step() == 3.0
    with open(tmp_path / "events.jsonl", "a") as stream:
        stream.write(text("rewind", 4, 0))
    assert read_all(log) == {}
    # What was before the interruption says nothing about the pace after it.
    assert log.seconds_per_step() is None


def test_a_copy_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(text("dev", 1, 0.5))
    log = EventLog(tmp_path)
    read_all(log)
    copy = log.series["dev/score"].copy()
    with open(path, "a") as stream:
        stream.write(text("dev", 2, 0.75))
    read_all(log)
    assert (list(copy.values), list(log.series["dev/score"].values)) == ([0.5], [0.5, 0.75])
