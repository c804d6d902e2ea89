from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mtscale.corpora.catalogue import SAMPLE_FOLDER, corpus_files, corpus_folder, read_examples, read_gold
from mtscale.corpora.example import SPLITS, PairExample, RelationExample, Span, SplitName, TaggedExample
from mtscale.sample import make
from mtscale.tasks import SAMPLE_TASKS, TASKS, Kind, Task

MENTION = re.compile(r"^(\d+)\t(\d+)\t(\d+)\t([^\t]+)\t(Chemical|Disease)\t([^\t\n]+)", re.MULTILINE)
DOCUMENT = re.compile(r"^(\d+)\|t\|(.*)\n\1\|a\|(.*)\n", re.MULTILINE)


def shipped() -> list[Path]:
    return [path for path in SAMPLE_FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def original_text(split: SplitName, task: str = "cdr-disease") -> str:
    return "".join(path.read_text(encoding="ascii") for path in corpus_files(TASKS[task], split, None))


def document_texts(split: SplitName, task: str = "cdr-disease") -> dict[str, str]:
    """The documents, taken from the file without the reader."""
    return {match[1]: f"{match[2]} {match[3]}" for match in DOCUMENT.finditer(original_text(split, task))}


def test_the_sample_is_small() -> None:
    assert 1_000_000 < sum(path.stat().st_size for path in shipped()) < 2_000_000


def test_the_hashes_are_those_of_the_shipped_files() -> None:
    lines = (SAMPLE_FOLDER / make.SUMS).read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {path.relative_to(SAMPLE_FOLDER).as_posix() for path in shipped()}
    assert sums.keys() == {name for name in files if "/" in name}
    assert {name: hashlib.sha256((SAMPLE_FOLDER / name).read_bytes()).hexdigest() for name in sums} == sums


def test_the_licences_lie_beside_the_data() -> None:
    for folder in ("cdr", "cdr-similarity"):
        assert "United States Government Work" in (SAMPLE_FOLDER / folder / "PUBLIC_DOMAIN_NOTICE.txt").read_text()
    assert (SAMPLE_FOLDER / "evidence-inference" / "LICENSE").read_text().startswith("MIT License")


def test_no_document_is_in_two_splits() -> None:
    for task in SAMPLE_TASKS:
        parts = Counter(
            part
            for split in SPLITS
            for part in {part for one in read_examples(task, split, None) for part in one.document.split("+")}
        )
        assert parts.most_common(1)[0][1] == 1


def test_similarity_pairs_name_documents_of_their_split() -> None:
    for split in SPLITS:
        examples = list(read_examples(TASKS["cdr-similarity"], split, None))
        assert {part for one in examples for part in one.document.split("+")} <= document_texts(split).keys()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("task", SAMPLE_TASKS, ids=lambda task: str(task.name))
def test_every_task_reads_and_every_offset_fits(task: Task, split: SplitName) -> None:
    assert corpus_folder(task, None) == SAMPLE_FOLDER / task.corpus
    examples = list(read_examples(task, split, None))
    gold = read_gold(task, split, None)
    assert len({one.id for one in examples}) == len(examples) > 50
    if task.kind in (Kind.SIMILARITY, Kind.INFERENCE):
        assert gold == {one.id: one.label for one in examples if isinstance(one, PairExample)}
        return
    texts = document_texts(split, task.name)
    marked = {
        (document, Span(int(start), int(end), type_)): text
        for document, start, end, text, type_, _ in MENTION.findall(original_text(split, task.name))
    }
    for example in examples:
        assert isinstance(example, TaggedExample | RelationExample)
        assert texts[example.document][example.offset :].startswith(example.text)
        for span in example.spans if isinstance(example, TaggedExample) else example.arguments:
            inside = example.text[span.start - example.offset : span.end - example.offset]
            assert inside == marked[example.document, span] == texts[example.document][span.start : span.end]
    if task.kind is Kind.TAGGING:
        expected = {(document, span) for document, span in marked if span.label in task.labels}
        assert {(document, span) for document in gold for span in read_spans(gold[document])} == expected
        assert gold.keys() == texts.keys()


def read_spans(value: object) -> frozenset[Span]:
    assert isinstance(value, frozenset)
    return value


def test_similarity_regenerates_from_the_shipped_documents(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE_FOLDER / "cdr", tmp_path / "cdr")
    make.write_similarity(tmp_path)
    for split in SPLITS:
        name = f"cdr-similarity/{split}.tsv"
        assert (tmp_path / name).read_bytes() == (SAMPLE_FOLDER / name).read_bytes()


def test_similarity_scores_are_the_overlap_of_the_concepts() -> None:
    for split in SPLITS:
        texts, mentions = document_texts(split), MENTION.findall(original_text(split))
        uses: Counter[str] = Counter()
        bins: Counter[int] = Counter()
        for one in read_examples(TASKS["cdr-similarity"], split, None):
            assert isinstance(one, PairExample)
            assert isinstance(one.label, float)
            concepts = []
            for document, text in zip(one.document.split("+"), (one.first, one.second), strict=True):
                start = texts[document].index(text)
                concepts.append(concepts_between(mentions, document, start, start + len(text)))
            score = 5 * len(concepts[0] & concepts[1]) / len(concepts[0] | concepts[1])
            assert abs(one.label - score) < 0.0051
            uses.update(one.id.split("+"))
            bins[-int(-one.label // 1)] += 1
        assert max(uses.values()) <= 3
        assert bins.keys() == set(range(6))
        assert max(bins.values()) == make.PAIRS_PER_BIN[split]
        assert all(len(text.split()) <= make.SIMILARITY_WORDS for text in texts_of_pairs(split))


def texts_of_pairs(split: SplitName) -> list[str]:
    pairs = [one for one in read_examples(TASKS["cdr-similarity"], split, None) if isinstance(one, PairExample)]
    return [text for one in pairs for text in (one.first, one.second)]


def concepts_between(mentions: list[tuple[str, ...]], wanted: str, first: int, last: int) -> set[str]:
    inside = [line for line in mentions if line[0] == wanted and first <= int(line[1]) and int(line[2]) <= last]
    return {concept for line in inside for concept in line[5].split("|")} - {"-1"}


def test_the_counts_in_the_readme_are_those_of_the_files() -> None:
    readme = (SAMPLE_FOLDER / make.README).read_text(encoding="utf-8")
    assert readme.endswith(make.COUNTS_HEADING + "\n" + make.counts(SAMPLE_FOLDER))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in readme.splitlines() if line.startswith("| ")]
    for column, split in enumerate(SPLITS, start=1):
        table = {row[0]: int(row[column]) for row in rows if len(row) == 4 and row[1].isdigit()}
        text = original_text(split)
        assert table["cdr: documents"] == text.count("|t|")
        assert table["cdr-disease: mentions"] == text.count("\tDisease\t")
        assert table["cdr-chemical: mentions"] == text.count("\tChemical\t")
        assert table["cdr-relation: document relations"] == original_text(split, "cdr-relation").count("\tCID\t")
        assert table["cdr-relation: pairs"] == table["cdr-relation: induces"] + table["cdr-relation: none"]
        assert table["cdr-relation: of these, in no sentence"] == relations_in_no_sentence(split)
        for name in ("cdr-similarity", "evidence-inference"):
            (path,) = corpus_files(TASKS[name], split, None)
            lines = path.read_text(encoding="utf-8").split("\n")[1:-1]
            assert table[f"{name}: pairs"] == len(lines)
        classes = Counter(line.rsplit("\t", 1)[1] for line in lines)
        assert {label: table[f"evidence-inference: {label}"] for label in classes} == dict(classes)


def relations_in_no_sentence(split: SplitName) -> int:
    text = original_text(split, "cdr-relation")
    related = set(re.findall(r"^(\d+)\tCID\t(\S+)\t(\S+)$", text, re.MULTILINE))
    concepts = {
        (document, int(start), int(end), type_): ids.split("|")
        for document, start, end, _, type_, ids in MENTION.findall(text)
    }
    met = set()
    for one in read_examples(TASKS["cdr-relation"], split, None):
        assert isinstance(one, RelationExample)
        chemicals, diseases = (concepts[one.document, span.start, span.end, span.label] for span in one.arguments)
        met |= {(one.document, chemical, disease) for chemical in chemicals for disease in diseases}
    return len(related - met)


def test_missing_originals_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in shipped()}
    assert make.main([str(tmp_path)]) == 3
    assert "README.txt, found none" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in shipped()} == before
    assert not [path for path in SAMPLE_FOLDER.iterdir() if path.name.startswith("tmp")]


@pytest.mark.slow
@pytest.mark.skipif("MTSCALE_ORIGINALS" not in os.environ, reason="needs the original corpora in MTSCALE_ORIGINALS")
def test_the_originals_give_the_shipped_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    originals = os.environ["MTSCALE_ORIGINALS"]
    assert make.main([originals, "--check"]) == 0
    shutil.copytree(SAMPLE_FOLDER, tmp_path / "sample")
    changed = tmp_path / "sample" / "cdr" / "dev.pubtator.txt"
    changed.write_bytes(changed.read_bytes()[:-1])
    monkeypatch.setattr(make, "SAMPLE_FOLDER", tmp_path / "sample")
    assert make.main([originals, "--check"]) == 1
    assert capsys.readouterr().err.startswith(f"{changed}: differs")
    assert make.main([originals]) == 0
    assert make.main([originals, "--check"]) == 0
    assert {path.name for path in (tmp_path / "sample").iterdir()} == {path.name for path in SAMPLE_FOLDER.iterdir()}
