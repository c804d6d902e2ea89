from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mtscale.checks.check import Check
from mtscale.checks.tags import check_tags
from mtscale.inputs.encode import PieceVocabulary
from mtscale.tasks import Task
from tests.mutations import mutations
from tests.planted import clean, conll

NER = replace(next(task for task in clean().tasks if task.name == "ner"), labels=("A", "B"))


def faulty_lines(folder: Path, tags: str, task: Task = NER, prefix: str = "") -> list[str]:
    """The places of the faults in sentences that are separated by ``/``."""
    sentences = [[f"word\t{tag}" for tag in sentence.split()] for sentence in tags.split("/")]
    path = folder / "ner" / "train.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(prefix + "".join("\n".join(sentence) + "\n\n" for sentence in sentences), encoding="utf-8")
    return [place for finding in check_tags(task, "train", folder) for place in finding.ids]


@pytest.mark.parametrize(
    ("scheme", "tags", "lines"),
    [
        ("IOB2", "B-A I-A O B-B B-B I-B", []),
        ("IOB2", "I-A O", [1]),
        ("IOB2", "B-A O I-A I-A", [3]),
        ("IOB2", "B-A I-B", [2]),
        ("IOB2", "B-A / I-A", [3]),
        ("IOB1", "I-A B-A I-A O I-B", []),
        ("IOB1", "B-A O B-A", [1, 3]),
        ("IOB1", "I-B B-A", [2]),
        ("BIOES", "S-A O B-A I-A E-A S-B", []),
        ("BIOES", "B-A O", [1]),
        ("BIOES", "O E-A", [2]),
        ("BIOES", "B-A I-A", [2]),
        ("BIOES", "B-A E-B", [1, 2]),
        (None, "B-A I-A O B-A", []),
        (None, "I-A B-A O I-A", []),
        (None, "B-A O I-A I-A O B-A", [3]),
        (None, "B-A E-A O U-A L-A", [5]),
    ],
)
def test_tags_that_the_scheme_does_not_allow(tmp_path: Path, scheme: str | None, tags: str, lines: list[int]) -> None:
    assert faulty_lines(tmp_path, tags, replace(NER, scheme=scheme)) == [f"train.txt:{line}" for line in lines]


def test_comments_and_starts_of_documents_are_no_tokens(tmp_path: Path) -> None:
    prefix = "-DOCSTART- (a)\n\n# a comment of many words\nword\tI-A\n\n#\tB-A\n# x\tI-A\n-DOCSTART- (b)\n"
    assert faulty_lines(tmp_path, "B-A I-A / I-A", prefix=prefix) == ["train.txt:4", "train.txt:12"]


def test_a_mean_file_is_read_or_one_finding(tmp_path: Path, tiny_vocabulary: PieceVocabulary) -> None:
    task = replace(NER, labels=("Drug",), files=dict.fromkeys(("train", "dev", "test"), ("train.txt",)))
    data = "\n".join([*conll("one", "a"), "# a comment", *conll("two", "b"), ""]).encode()
    path = tmp_path / "ner" / "train.txt"
    path.parent.mkdir()
    read = refused = 0
    for mean in mutations(data, 250, seed=3):
        path.write_bytes(mean)
        checked = Check("mean", (task,), tmp_path, "tiny", 128, tiny_vocabulary).run()
        unreadable = [finding for finding in checked.findings if finding.check == "unreadable"]
        assert len(unreadable) in (0, 3)
        assert not any("q" + "abcdefgh"[i] in finding.what for finding in unreadable for i in range(8))
        read, refused = read + (not unreadable), refused + bool(unreadable)
    assert min(read, refused) > 30
