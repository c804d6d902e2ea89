"""`mtscale predict` as a user calls it: order, bad documents, killed and taken up again, agreements, modes of files."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mtscale import cli
from mtscale.corpora import catalogue, pubtator
from mtscale.corpora.catalogue import SAMPLE_FOLDER
from mtscale.corpora.naming import Naming
from mtscale.errors import EXIT_DATA, EXIT_FINISHED, EXIT_REFUSED
from mtscale.inputs.encode import TaskEncoder
from mtscale.runs import RunDirectory
from mtscale.sealed import seal
from mtscale.serving import trained
from mtscale.serving.predictor import Predictor
from mtscale.tasks import TASKS
from tests.trained import make_trained_run

SECRET = "xylophone"
SEALED = """
[[tasks]]
name = "ward"
kind = "tagging"
format = "conll"
files = { train = "a", dev = "b", test = "c" }
labels = ["Problem"]
access = "dua"
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> RunDirectory:
    return make_trained_run(tmp_path_factory.mktemp("runs"), tiny_encoder, own=SEALED)


def predict(run: RunDirectory, out: Path, *arguments: str | Path, tasks: str = "cdr-disease cdr-chemical") -> int:
    chosen = [word for task in tasks.split() for word in ("--task", task)]
    return cli.main(["predict", "--model", str(run.path), "-o", str(out), *chosen, *map(str, arguments)])


def documents(count: int, first: int = 0) -> str:
    """PubTator documents of very different lengths."""
    blocks = []
    for number in range(first, first + count):
        body = " ".join(f"The {SECRET} of patient {number}.{part} had a tremor." for part in range(1 + number % 7))
        blocks.append(f"{number}|t|Case {number}\n{number}|a|{body}\n")
    return "\n".join(blocks)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_alike(ours: Path, theirs: Path) -> None:
    """The same but for the last digit of a score: after a resume a text stands in a batch with others."""
    one, other = (path.read_text(encoding="utf-8") for path in (ours, theirs))
    number = re.compile(r"\d+(?:\.\d+)?(?:e-\d+)?")
    assert number.sub("#", one) == number.sub("#", other)
    assert [*map(float, number.findall(one))] == pytest.approx([*map(float, number.findall(other))], rel=0, abs=2e-6)


def test_outputs_stand_in_the_order_of_the_input(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text(documents(300))
    assert predict(run, tmp_path / "out", tmp_path / "docs.txt") == EXIT_FINISHED
    found = lines(tmp_path / "out" / "docs.txt.predictions.jsonl")
    assert [one["document"] for one in found] == [str(number) for number in range(300)]
    again = list(pubtator.read_documents(tmp_path / "out" / "docs.txt"))
    for document, one, before in zip(again, found, pubtator.read_documents(tmp_path / "docs.txt"), strict=True):
        assert document.text == before.text
        assert len(document.mentions) == len(one["mentions"])
    assert SECRET not in (tmp_path / "out" / "docs.txt.predictions.jsonl").read_text()


def test_the_sample_is_predicted_as_in_training(run: RunDirectory, tmp_path: Path) -> None:
    """New text is cut, encoded and decoded as the test split of the same documents."""
    model = trained.load_run(run)
    task = TASKS["cdr-disease"]
    examples = list(catalogue.read_examples(task, "test", None))[:60]
    encoder = TaskEncoder(task, model.vocabulary, model.max_pieces, with_labels=False)
    rows = list(encoder.rows(examples))
    predictor = Predictor(model, [task])
    names = {example.document for example in examples}
    blocks = (SAMPLE_FOLDER / "cdr" / "test.pubtator.txt").read_text(encoding="utf-8").split("\n\n")
    (tmp_path / "docs.txt").write_text(
        "\n\n".join(block for block in blocks if block.split("|")[0] in names) + "\n", encoding="utf-8"
    )
    assert predict(run, tmp_path / "out", tmp_path / "docs.txt", tasks="cdr-disease") == EXIT_FINISHED
    found = {
        (one["document"], m["start"], m["end"])
        for one in lines(tmp_path / "out" / "docs.txt.predictions.jsonl")
        for m in one["mentions"]
    }
    expected = {
        (example.document, start, end)
        for example, outcome in zip(examples, predictor.predict(examples), strict=True)
        for start, end, _ in outcome["cdr-disease"]["spans"]
    }
    assert expected
    assert expected <= found
    assert predictor.counts.rows == len(rows) > len(examples), "cut as in training"


def test_a_bad_document_is_told_and_the_others_are_not_lost(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = documents(2)
    bad = f"77|t|Bad\n77|a|The {SECRET}.\n77\t0\t3\tNot\tDisease\tD1\n"
    (tmp_path / "docs.txt").write_text("\n".join([documents(1), bad, documents(1, first=5)]))
    broken = b"88|t|Worse\n88|a|Not UTF-8: \xff " + SECRET.encode() + b"\n"
    (tmp_path / "bytes.txt").write_bytes(good.encode() + b"\n" + broken + b"\n" + documents(1, first=9).encode())
    (tmp_path / "note.txt").write_bytes(b"\xff\xfe raw " + SECRET.encode())
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\na\tb\nonly one\nc\td\n")
    inputs = [tmp_path / name for name in ("docs.txt", "bytes.txt", "note.txt")]
    assert predict(run, tmp_path / "out", *inputs) == EXIT_DATA
    told = capsys.readouterr()
    assert f"{inputs[0]}: left out: 77: {inputs[0]}:6: the text at 0-3 is not the mention's text" in told.err
    assert f"{inputs[1]}: left out: 88: {inputs[1]}:8: expected UTF-8" in told.err
    assert f"{inputs[2]}: left out: " in told.err
    assert "left out, as they could not be read: 3" in told.out
    assert SECRET not in told.err + told.out
    assert [one["document"] for one in lines(tmp_path / "out" / "docs.txt.predictions.jsonl")] == ["0", "5"]
    assert [one["document"] for one in lines(tmp_path / "out" / "bytes.txt.predictions.jsonl")] == ["0", "1", "9"]
    assert lines(tmp_path / "out" / "note.txt.predictions.jsonl") == []
    assert predict(run, tmp_path / "out2", tmp_path / "pairs.tsv", tasks="cdr-similarity") == EXIT_DATA
    assert [one["id"] for one in lines(tmp_path / "out2" / "pairs.tsv.predictions.jsonl")] == ["1", "3"]
    # What was left out then is still left out when there is nothing more to do.
    assert predict(run, tmp_path / "out", *inputs) == EXIT_DATA
    assert "predictions on 0 units of 0 inputs, 3 done before" in capsys.readouterr().out


def test_what_a_killed_prediction_has_left_is_taken_up(run: RunDirectory, tmp_path: Path) -> None:
    texts, out = tmp_path / "in", tmp_path / "out"
    texts.mkdir()
    for number in range(3):
        (texts / f"{number}.txt").write_text(documents(3, first=number))
    assert predict(run, out, texts, tasks="cdr-disease") == EXIT_FINISHED
    expected = {path.name: path.read_bytes() for path in out.iterdir()}
    # As if it was killed in the second input, of which one file stands and the other is written in part.
    done = out / "done.jsonl"
    done.write_bytes(done.read_bytes().splitlines(keepends=True)[0] + b'{"input": "1.t')
    for number in (1, 2):
        (out / f"{number}.txt").unlink()
    (out / "2.txt.predictions.jsonl").unlink()
    (out / ".1.txt.unfinished").write_text("1|t|")
    first = (out / "0.txt").stat().st_ino
    assert predict(run, out, texts, tasks="cdr-disease") == EXIT_FINISHED
    assert {path.name: path.read_bytes() for path in out.iterdir()} == expected
    assert (out / "0.txt").stat().st_ino == first, "not done again"


@pytest.mark.slow
def test_a_killed_prediction_goes_on_with_whole_inputs(run: RunDirectory, tmp_path: Path) -> None:
    texts = tmp_path / "in"
    texts.mkdir()
    for number in range(10):
        (texts / f"{number}.txt").write_text(documents(60, first=number))
    command = ["predict", "--model", str(run.path), "--task", "cdr-disease", "-o", str(tmp_path / "out"), str(texts)]
    process = subprocess.Popen([sys.executable, "-m", "mtscale.cli", *command], stderr=subprocess.DEVNULL)
    done = tmp_path / "out" / "done.jsonl"
    end = time.monotonic() + 200
    while not (done.exists() and done.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < end
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = [json.loads(line)["input"] for line in done.read_bytes().split(b"\n")[:-1]]
    assert 2 <= len(whole) < 10
    before = {name: (tmp_path / "out" / f"{name}.predictions.jsonl").stat() for name in whole}
    with open(done, "ab") as stream:
        stream.write(b'{"input": "5.t')  # as if killed in the middle of a line
    assert predict(run, tmp_path / "out", texts, tasks="cdr-disease") == EXIT_FINISHED
    assert predict(run, tmp_path / "whole", texts, tasks="cdr-disease") == EXIT_FINISHED
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for name in names:
        if name != "done.jsonl":
            assert_alike(tmp_path / "out" / name, tmp_path / "whole" / name)
    for name, facts in before.items():
        assert (tmp_path / "out" / f"{name}.predictions.jsonl").stat().st_ino == facts.st_ino, "not done again"
    assert len(lines(done)) == 10, "the half line is gone"


def test_a_changed_input_is_done_again_and_other_settings_are_refused(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Iron caused a tremor.")
    out = tmp_path / "out"
    assert predict(run, out, note) == EXIT_FINISHED
    note.write_text("Iron caused a tremor of both hands.")
    os.utime(note, ns=(1, 1))
    assert predict(run, out, note) == EXIT_FINISHED
    assert "predictions on 1 units of 1 inputs\n" in capsys.readouterr().out
    assert predict(run, out, note, tasks="cdr-disease") == EXIT_REFUSED
    assert "other settings" in capsys.readouterr().err
    assert predict(run, tmp_path, note) == EXIT_REFUSED
    assert "not empty" in capsys.readouterr().err
    assert predict(run, tmp_path / "inner", tmp_path) == EXIT_REFUSED
    assert predict(run, tmp_path / "none", tmp_path / "absent") == EXIT_DATA
    assert predict(run, tmp_path / "pairs", note, tasks="cdr-similarity") == EXIT_REFUSED
    assert "expected a tagging or relation task for this kind of input" in capsys.readouterr().err


def test_under_an_agreement_no_text_or_name_is_written_unasked(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "in"
    notes.mkdir()
    (notes / "patient-4711.txt").write_text(f"The {SECRET} hurts.")
    (notes / "patient-4711.ann").write_text("")
    (notes / "patient-0815.txt").write_bytes(b"\xff")
    (notes / "chart.00123456").write_bytes(b"\xff")
    out = tmp_path / "out"
    assert predict(run, out, notes, tasks="ward cdr-disease") == EXIT_DATA
    told = capsys.readouterr()
    assert "--allow-text writes both" in told.out
    written = {path.name: path.read_text() for path in out.iterdir()}
    for text in (*written, *written.values(), told.err, told.out):
        assert "4711" not in text
        assert "0815" not in text
        assert "123456" not in text
        assert SECRET not in text
    name = Naming.of([notes / "patient-4711.txt"]).document
    assert json.loads(written[f"{name('patient-4711.txt')}.predictions.jsonl"])["document"] == name("patient-4711")
    assert cli.main(["names", str(notes)]) == EXIT_DATA
    assert f"{name('patient-4711')}\tpatient-4711\n" in capsys.readouterr().out
    (notes / "patient-0815.txt").unlink()
    (notes / "chart.00123456").unlink()
    assert predict(run, tmp_path / "texts", notes, "--allow-text", tasks="ward") == EXIT_FINISHED
    assert f"{tmp_path / 'texts'} now holds text and names under a data use agreement" in capsys.readouterr().out
    assert (tmp_path / "texts" / "patient-4711.txt").read_text() == f"The {SECRET} hurts."
    assert (tmp_path / "texts" / "patient-4711.ann").exists()
    for folder in (out, tmp_path / "texts"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_table_of_documents_and_named_columns(run: RunDirectory, tmp_path: Path) -> None:
    rows = [{"id": 5, "note": "Iron caused a tremor."}, {"id": "x", "note": "Nothing."}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert predict(run, tmp_path / "out", tmp_path / "a.jsonl", "--column", "text=note") == EXIT_FINISHED
    again = lines(tmp_path / "out" / "a.jsonl")
    assert [{key: one[key] for key in ("id", "note")} for one in again] == rows
    assert [one["document"] for one in lines(tmp_path / "out" / "a.jsonl.predictions.jsonl")] == ["5", "x"]
    for one in again:
        for mention in one["predictions"]["mentions"]:
            assert one["note"][mention["start"] : mention["end"]].strip()


def test_an_export_that_was_changed_is_refused(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "note.txt").write_text("Iron.")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text('{"format": 7}')
    seal(tmp_path / "model")
    command = ["predict", "--model", str(tmp_path / "model"), "-o", str(tmp_path / "o"), str(tmp_path / "note.txt")]
    assert cli.main(command) == EXIT_REFUSED
    assert "expected a description of format 1" in capsys.readouterr().err


def test_ids_are_shown_without_what_a_terminal_acts_on(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs.txt").write_text("\x1b[31m7|t|Title\nno abstract\n")
    assert predict(run, tmp_path / "out", tmp_path / "docs.txt") == EXIT_DATA
    told = capsys.readouterr().err
    assert "left out:  [31m7: " in told
    assert "\x1b" not in told


def test_marked_rows_of_other_types_have_no_answer(run: RunDirectory, tmp_path: Path) -> None:
    header = "text\tstart1\tend1\ttype1\tstart2\tend2\ttype2"
    rows = ["Iron and lead.\t0\t4\tchemical\t9\t13\tDISEASE", "Iron and lead.\t0\t4\tGene\t9\t13\tGene"]
    (tmp_path / "a.tsv").write_text("\n".join([header, *rows, "Iron.\t0\t9\tGene\t0\t1\tGene"]) + "\n")
    assert predict(run, tmp_path / "out", tmp_path / "a.tsv", tasks="cdr-relation") == EXIT_DATA
    first, second = lines(tmp_path / "out" / "a.tsv.predictions.jsonl")
    assert first["predictions"]["cdr-relation"]["label"] in ("induces", "none")
    assert second["predictions"] == {}
    table = [line.split("\t") for line in (tmp_path / "out" / "a.tsv").read_text().splitlines()]
    assert table[0][7:] == ["cdr-relation", "cdr-relation.probabilities"]
    assert table[2][7:] == ["", '""'] or table[2][7:] == ["", ""]


def test_progress_is_told_with_rate_and_time_left(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtscale.checks.progress.FILE_SECONDS", 0.0)
    (tmp_path / "docs.txt").write_text(documents(4))
    assert predict(run, tmp_path / "out", tmp_path / "docs.txt") == EXIT_FINISHED
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("predicted: ")]
    assert len(told) == 4
    assert re.fullmatch(r"predicted: 3, \d+/s, \d\d%, \d+ s left", told[3])
