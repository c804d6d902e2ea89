from __future__ import annotations

import argparse
import io
import json
import logging
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mtscale.checks import command, progress, report
from mtscale.checks.check import Check, Checked
from mtscale.checks.findings import Finding, Severity
from mtscale.errors import ConfigError
from mtscale.inputs.encode import PieceVocabulary
from tests.planted import SIZE, Corpus, clean, conll, words

RECIPE = """
name = "planted"
[encoder]
name = "{encoder}"
max_pieces = 150
[[tasks]]
name = "ner"
kind = "tagging"
format = "conll"
labels = ["Drug"]
files = {{ train = "ner/train.txt", dev = "ner/dev.txt", test = "ner/test.txt" }}
"""


def with_repeated_documents(corpus: Corpus) -> Corpus:
    lines = [line for number in range(8) for line in conll(f"copy{number}", f"ner train {number}")]
    return Corpus(corpus.tasks, {**corpus.files, "ner/test.txt": corpus.files["ner/test.txt"] + lines})


@pytest.fixture
def root(tmp_path: Path, tiny_encoder: Path) -> Path:
    folder = with_repeated_documents(clean()).write(tmp_path / "data")
    (tmp_path / "planted.toml").write_text(RECIPE.format(encoder=tiny_encoder), encoding="utf-8")
    return folder


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["check", *arguments])
    return int(options.command(options))


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(f"{name}={value}" for name, value in attrs if name in ("src", "href"))}


def test_a_recipe_is_checked_printed_and_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "made" / "report"
    assert run(str(tmp_path / "planted.toml"), "--data", str(root), "--output", str(output)) == 0
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["severity", "check", "task", "split", "count", "what"]
    assert (
        "8 documents (8 different) that repeat one of ner train; they carry 16 sentences with 8 mentions"
        in " ".join(table.split())
    )
    assert "0 errors, 2 warnings, 0 notes" in table
    markdown, html = (output / "report.md").read_text("utf-8"), (output / "report.html").read_text("utf-8")
    assert re.search(r"^\* [0-9a-f]{16} = [0-9a-f]{16}$", markdown, re.MULTILINE)
    assert re.search("<code>[0-9a-f]{16} = [0-9a-f]{16}</code>", html)
    assert "copy7" not in markdown + html
    elements = _Elements()
    elements.feed(html)
    assert {"svg", "table", "details"} <= elements.seen
    assert not {"script", "link", "img", "iframe"} & elements.seen
    assert not any("=" in one for one in elements.seen)
    texts = {word for split in ("train", "dev", "test") for n in range(SIZE) for word in words(f"ner {split} {n} 0")}
    assert not any(word in text.lower() for word in texts for text in (table, markdown, html))


def test_json_has_everything(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "planted.toml"), "--data", str(root), "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["errors"], printed["warnings"], printed["notes"]) == (0, 2, 0)
    assert [finding["count"] for finding in printed["findings"]] == [8, 16]
    assert len(printed["findings"][1]["ids"]) == 16
    train = printed["splits"][0]
    assert (train["task"], train["split"], train["examples"], train["documents"]) == ("ner", "train", 2 * SIZE, SIZE)
    assert train["labels"] == {"Drug": SIZE, "no mention": SIZE}
    assert printed["max_pieces"] == 150


def test_an_error_ends_with_the_code_of_a_data_error(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "ner" / "dev.txt").write_text("qsecret\tO", encoding="utf-8")
    assert run(str(tmp_path / "planted.toml"), "--data", str(root)) == 3
    printed = capsys.readouterr().out
    assert "dev.txt:1: expected a line end" in printed
    assert "qsecret" not in printed


def test_a_folder_is_checked_for_the_shipped_tasks_in_it(
    root: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"expected the files of a shipped task in one of .*bc5cdr"):
        run(str(root))
    (root / "bc5cdr").mkdir()
    lines = clean().files["bio/train.txt"]
    (root / "bc5cdr" / "CDR_TrainingSet.PubTator.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run(str(root), "--encoder", str(tiny_encoder), "--json") == 3
    printed = json.loads(capsys.readouterr().out)
    assert {split["task"] for split in printed["splits"]} == {"bc5cdr-disease", "bc5cdr-chemical"}
    assert [finding["check"] for finding in printed["findings"]] == ["unreadable"] * 4


def test_what_is_no_recipe_and_no_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="no recipe 'sampel'"):
        run("sampel")


def test_a_report_that_cannot_be_written_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot write the report"):
        run(str(tmp_path / "planted.toml"), "--data", str(root), "--output", str(tmp_path / "file"))


MEAN = "\x1b[31m<img src=x onerror=alert(1)>\u202e`[a](b)|*c*\n# d"


def mean() -> Checked:
    finding = Finding(Severity.NOTE, "duplicates", "ner", "test", 1, f"documents {MEAN}", (MEAN,) * 300)
    return Checked("planted", "tiny", 128, (finding,), ())


def test_ids_are_inert() -> None:
    text, markdown, html = report.as_text(mean()), report.as_markdown(mean()), report.as_html(mean())
    for shown in (text, markdown, html):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "\\x1b[31m" in text
    assert len(text.splitlines()) == 5
    for shown in (markdown, html):
        assert "<img" not in shown
        assert "&lt;img" in shown
    assert r"\[a\]\(b\)\|\*c\*" in markdown
    assert "\n# d" not in markdown
    assert markdown.count("onerror") == 202
    assert "and 100 more" in markdown.replace("\\", "")
    assert len(report.as_json(mean())["findings"][0]["ids"]) == 300


def test_findings_are_printed_errors_first(tmp_path: Path, tiny_vocabulary: PieceVocabulary) -> None:
    corpus = with_repeated_documents(clean())
    files = {name: lines for name, lines in corpus.files.items() if name != "sts/dev.txt"}
    checked = Check("x", corpus.tasks, Corpus(corpus.tasks, files).write(tmp_path), "tiny", 160, tiny_vocabulary).run()
    assert [finding.severity.value for finding in checked.findings] == ["error", "warning", "warning"]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_with_rate_and_time_left_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0.0)
    assert list(progress.with_progress(range(50), "reading", 50)) == list(range(50))
    assert "\n" not in terminal.getvalue()
    assert "reading: 49/50, " in terminal.getvalue()
    assert "/s, 0 s left" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_progress_is_plain_lines_in_a_file(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "FILE_SECONDS", 0.0)
    monkeypatch.setattr(logging.getLogger("mtscale"), "propagate", True)
    with caplog.at_level(logging.INFO, "mtscale"):
        list(progress.with_progress(iter("abc"), "reading"))
    assert caplog.messages[-1].startswith("reading: 2, ")
    assert "\x1b" not in caplog.text


def test_importing_the_command_loads_no_training_library() -> None:
    probe = (
        "import sys, mtscale.checks.command; print([name for name in ('torch', 'datasketch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
