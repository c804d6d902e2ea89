"""Make the packaged sample from the original corpora, or check that it is what they give.

    python -m mtscale.sample.make ORIGINALS [--check]

ORIGINALS holds ``bc5cdr/`` and ``evidence_inference/`` as README.md describes them. Whatever is wrong with them shows
before the first file of the sample is replaced.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, zip_longest
from math import ceil
from pathlib import Path
from typing import NamedTuple, TypeVar

from mtscale.corpora.annotated import Document, uncovered_relations
from mtscale.corpora.catalogue import SAMPLE_FOLDER, corpus_files, read_examples, read_gold
from mtscale.corpora.example import SPLITS, PairExample, RelationExample, SplitName
from mtscale.corpora.pubtator import read_documents
from mtscale.errors import DataError, MtscaleError
from mtscale.tasks import TASKS, Task

T = TypeVar("T")

SEED = 1
DOCUMENTS: Mapping[SplitName, int] = {"train": 80, "dev": 40, "test": 80}
# Distant labels take more documents to learn from than mentions do; these include the training documents above.
RELATION_TRAIN_DOCUMENTS = 300
PAIRS_PER_BIN: Mapping[SplitName, int] = {"train": 100, "dev": 25, "test": 40}
INFERENCE_PAIRS: Mapping[SplitName, int] = {"train": 800, "dev": 150, "test": 200}
# Short texts only, so that a processor trains on the sample within minutes and no pair is truncated.
SIMILARITY_WORDS = 20
INFERENCE_WORDS = 55
USES_PER_SENTENCE = 3
SCORE_BINS = ("score 0", *(f"score above {low} to {low + 1}" for low in range(5)))

INFERENCE_ORIGINALS: Mapping[SplitName, str] = {
    "train": "ev2_pairs_train.tsv",
    "dev": "ev2_pairs_validation.tsv",
    "test": "ev2_pairs_test.tsv",
}
LICENCES = {
    "cdr/PUBLIC_DOMAIN_NOTICE.txt": "bc5cdr/README.txt",
    "cdr-similarity/PUBLIC_DOMAIN_NOTICE.txt": "bc5cdr/README.txt",
    "evidence-inference/LICENSE": "evidence_inference/LICENSE",
}
README = "README.md"
SUMS = "SHA256SUMS"
COUNTS_HEADING = "## Counts\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or check the sample and return the exit code: 1 when a check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m mtscale.sample.make", description="Make the packaged sample.")
    parser.add_argument("originals", type=Path, help="folder with bc5cdr/ and evidence_inference/")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when a file would differ")
    options = parser.parse_args(arguments)
    try:
        # Inside the sample's own folder, so that each finished file can be moved to its place in one step.
        with tempfile.TemporaryDirectory(dir=None if options.check else SAMPLE_FOLDER) as folder:
            files = build(options.originals, Path(folder))
            if options.check:
                return _compare(files, Path(folder))
            for file in files:
                (SAMPLE_FOLDER / file).parent.mkdir(exist_ok=True)
                os.replace(Path(folder, file), SAMPLE_FOLDER / file)
    except MtscaleError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def build(originals: Path, folder: Path) -> list[str]:
    """Write the whole sample into an empty folder and return the names of its files, relative to it.

    Raises:
        DataError: an original is missing or malformed.
    """
    cdr, inference = TASKS["cdr-disease"], TASKS["evidence-inference"]
    for name, original in LICENCES.items():
        _write(folder / name, _read(originals / original))
    for split in SPLITS:
        _write(folder / cdr.corpus / cdr.files[split][0], _documents(originals, split, DOCUMENTS[split]))
        _write(folder / inference.corpus / inference.files[split][0], _inference_rows(originals, split))
    relation = TASKS["cdr-relation"]
    given = (folder / cdr.corpus / cdr.files["train"][0]).read_bytes()
    wider = _blocks(_documents(originals, "train", RELATION_TRAIN_DOCUMENTS))
    further = b"".join(block for block in wider if block not in given)
    _write(folder / relation.corpus / relation.files["train"][1], further)
    write_similarity(folder)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in files]
    _write(folder / SUMS, "".join(sums).encode())
    head = (SAMPLE_FOLDER / README).read_text(encoding="utf-8").partition(COUNTS_HEADING)[0]
    _write(folder / README, f"{head}{COUNTS_HEADING}\n{counts(folder)}".encode())
    return [*files, SUMS, README]


def write_similarity(folder: Path) -> None:
    """Derive the similarity pairs of every split from the documents of that split that lie in the folder."""
    task = TASKS["cdr-similarity"]
    for split in SPLITS:
        rows = _similarity_rows(_sentences(read_documents(_cdr_file(folder, split))), PAIRS_PER_BIN[split])
        lines = ["\t".join(row) for row in [("index", "document", "sentence1", "sentence2", "score"), *rows]]
        _write(folder / task.corpus / task.files[split][0], "".join(f"{line}\n" for line in lines).encode())


def counts(folder: Path) -> str:
    """The table of counts of a sample, in Markdown."""
    columns = [_counts_of(folder, split) for split in SPLITS]
    rows = [[name, *(str(column[name]) for column in columns)] for name in columns[0]]
    lines = [["", *SPLITS], ["---", *("---:" for _ in SPLITS)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _documents(originals: Path, split: SplitName, count: int) -> bytes:
    path = originals / "bc5cdr" / TASKS["bc5cdr-disease"].files[split][0]
    return b"".join(_choose(_blocks(_read(path)), count))


def _blocks(documents: bytes) -> list[bytes]:
    return [block + b"\n\n" for block in documents.split(b"\n\n") if block]


def _inference_rows(originals: Path, split: SplitName) -> bytes:
    header, *rows = (
        _read(originals / "evidence_inference" / INFERENCE_ORIGINALS[split]).removesuffix(b"\n").split(b"\n")
    )
    columns = [header.split(b"\t").index(name) for name in (b"sentence1", b"sentence2")]
    short = [row for row in rows if _words(row.split(b"\t"), columns) <= INFERENCE_WORDS]
    kept = _choose(short, INFERENCE_PAIRS[split])
    return b"".join(line + b"\n" for line in (header, *kept))


def _words(cells: Sequence[bytes], columns: Sequence[int]) -> int:
    return sum(len(cells[column].split()) for column in columns)


class _Sentence(NamedTuple):
    id: str
    document: str
    text: str
    concepts: frozenset[str]


def _sentences(documents: Iterable[Document]) -> list[_Sentence]:
    """The short sentences that name at least one concept, with all they name, whatever its type."""
    sentences = []
    for document in documents:
        for number, (start, end) in enumerate(document.sentences()):
            mentions = document.mentions_inside(start, end)
            concepts = frozenset(concept for mention in mentions for concept in mention.concepts)
            if concepts and len(document.text[start:end].split()) <= SIMILARITY_WORDS:
                sentences.append(_Sentence(f"{document.id}.s{number}", document.id, document.text[start:end], concepts))
    return sentences


def _similarity_rows(sentences: list[_Sentence], pairs_per_bin: int) -> list[tuple[str, str, str, str, str]]:
    within: list[list[tuple[int, int]]] = [[] for _ in SCORE_BINS]
    across: list[list[tuple[int, int]]] = [[] for _ in SCORE_BINS]
    for first, second in combinations(range(len(sentences)), 2):
        bin_ = ceil(_score(sentences[first], sentences[second]))
        pool = within if sentences[first].document == sentences[second].document else across
        pool[bin_].append((first, second))
    uses: Counter[int] = Counter()
    chosen: list[tuple[int, int]] = []
    for bin_ in range(len(SCORE_BINS)):
        wanted = len(chosen) + pairs_per_bin
        for pair in _alternate(_shuffled(within[bin_]), _shuffled(across[bin_])):
            if len(chosen) < wanted and all(uses[sentence] < USES_PER_SENTENCE for sentence in pair):
                uses.update(pair)
                chosen.append(pair)
    return [_row(sentences[first], sentences[second]) for first, second in sorted(chosen)]


def _row(first: _Sentence, second: _Sentence) -> tuple[str, str, str, str, str]:
    score = f"{_score(first, second):.2f}"
    return f"{first.id}+{second.id}", f"{first.document}+{second.document}", first.text, second.text, score


def _score(first: _Sentence, second: _Sentence) -> float:
    """Five times the Jaccard overlap of the two sets of concepts."""
    return 5 * len(first.concepts & second.concepts) / len(first.concepts | second.concepts)


def _alternate(first: list[T], second: list[T]) -> list[T]:
    return [item for pair in zip_longest(first, second) for item in pair if item is not None]


def _shuffled(items: Sequence[T]) -> list[T]:
    # Of the generator only random() is promised to give the same numbers in every release of Python.
    generator = random.Random(SEED)
    return sorted(items, key=lambda _: generator.random())


def _choose(items: Sequence[T], count: int) -> list[T]:
    """A random choice, in the order of the items."""
    return [items[position] for position in sorted(_shuffled(range(len(items)))[:count])]


def _counts_of(folder: Path, split: SplitName) -> dict[str, int]:
    # Not "packaged": read from the folder at hand, with the readers every task is read with.
    task = {name: replace(TASKS[name], packaged=False) for name in TASKS}
    documents = list(read_documents(_cdr_file(folder, split)))
    table = {"cdr: documents": len(documents), "cdr: sentences": sum(len(one.sentences()) for one in documents)}
    for name in ("cdr-disease", "cdr-chemical"):
        gold = read_gold(task[name], split, folder)
        table[f"{name}: mentions"] = sum(len(spans) for spans in gold.values() if isinstance(spans, frozenset))
    relation = task["cdr-relation"]
    table |= _classes(relation, split, folder, relation.labels)
    coverage = uncovered_relations(relation, read_documents(*corpus_files(relation, split, folder)))
    table["cdr-relation: document relations"] = coverage.total
    table["cdr-relation: of these, in no sentence"] = coverage.uncovered
    table |= _classes(task["cdr-similarity"], split, folder, SCORE_BINS)
    return table | _classes(task["evidence-inference"], split, folder, task["evidence-inference"].labels)


def _classes(task: Task, split: SplitName, folder: Path, names: Sequence[str]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for example in read_examples(task, split, folder):
        if isinstance(example, RelationExample):
            found.update(example.labels)
        elif isinstance(example, PairExample):
            label = example.label
            found[label if isinstance(label, str) else SCORE_BINS[ceil(label)]] += 1
    return {f"{task.name}: pairs": found.total()} | {f"{task.name}: {name}": found[name] for name in names}


def _cdr_file(folder: Path, split: SplitName) -> Path:
    return corpus_files(replace(TASKS["cdr-disease"], packaged=False), split, folder)[0]


def _compare(files: list[str], folder: Path) -> int:
    different = [
        name
        for name in files
        if not (SAMPLE_FOLDER / name).is_file() or (SAMPLE_FOLDER / name).read_bytes() != (folder / name).read_bytes()
    ]
    for name in different:
        print(f"{SAMPLE_FOLDER / name}: differs from what the originals give", file=sys.stderr)
    return 1 if different else 0


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"expected an original file at {path}, found none; see the sample's {README} for the sources")
    return path.read_bytes()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
