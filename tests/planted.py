"""A made-up corpus in four formats without a fault, as lines of files, to plant faults in."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

from mtscale.tasks import Access, Kind, Task

Files = dict[str, list[str]]

SIZE = 16
SPLIT_FILES = {"train": ("train.txt",), "dev": ("dev.txt",), "test": ("test.txt",)}


class Corpus(NamedTuple):
    """The tasks, and the lines of the files that they are read from."""

    tasks: tuple[Task, ...]
    files: Files

    def write(self, root: Path) -> Path:
        for name, lines in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return root


def words(seed: str, count: int = 9) -> list[str]:
    """Words that occur in no other text; each begins with q, so that a test can look for them."""
    generator = random.Random(seed)
    return ["q" + "".join(generator.choices("abcdefgh", k=6)) for _ in range(count)]


def sentence(seed: str, count: int = 9) -> str:
    return " ".join(words(seed, count)).capitalize()


def pubtator(identifier: str, seed: str, *, related: bool) -> list[str]:
    """A document with one chemical and one disease in its second sentence, and a blank line after it."""
    title, (chemical, *middle, disease) = sentence(f"title {seed}") + ".", words(f"abstract {seed}")
    abstract = f"{chemical.capitalize()} {' '.join(middle)} {disease}."
    start, end = len(title) + 1, len(title) + len(abstract)
    return [
        f"{identifier}|t|{title}",
        f"{identifier}|a|{abstract}",
        f"{identifier}\t{start}\t{start + len(chemical)}\t{chemical.capitalize()}\tChemical\tC1",
        f"{identifier}\t{end - len(disease)}\t{end}\t{disease}\tDisease\tD1",
        *([f"{identifier}\tCID\tC1\tD1"] if related else []),
        "",
    ]


def conll(identifier: str, seed: str) -> list[str]:
    """A document of two sentences, the first with a mention of two words."""
    lines = [f"-DOCSTART- ({identifier})", ""]
    for number in range(2):
        tags = ["O", "O", "B-Drug", "I-Drug"] if number == 0 else []
        tokens = words(f"{seed} {number}")
        lines += [f"{word}\t{tag}" for word, tag in zip(tokens, tags + ["O"] * 9, strict=False)]
        lines.append("")
    return lines


def clean() -> Corpus:
    """Five tasks: two on one PubTator corpus, one on CoNLL columns, inference and similarity on tables."""
    common = {"domain": "own", "access": Access.OPEN, "files": SPLIT_FILES}
    chem = Task(name="chem", kind=Kind.TAGGING, corpus="bio", format="pubtator", labels=("Chemical",), **common)  # type: ignore[arg-type]
    rel = Task(
        name="rel",
        kind=Kind.RELATION,
        corpus="bio",
        format="pubtator",
        labels=("induces", "none"),
        negative="none",
        arguments=("Chemical", "Disease"),
        relation="CID",
        **common,  # type: ignore[arg-type]
    )
    ner = Task(name="ner", kind=Kind.TAGGING, corpus="ner", format="conll", labels=("Drug",), **common)  # type: ignore[arg-type]
    nli = Task(name="nli", kind=Kind.INFERENCE, corpus="nli", format="tsv", labels=("yes", "no"), **common)  # type: ignore[arg-type]
    sts = Task(name="sts", kind=Kind.SIMILARITY, corpus="sts", format="tsv", score_range=(0.0, 5.0), **common)  # type: ignore[arg-type]
    files: Files = {}
    for split in ("train", "dev", "test"):
        numbers = range(SIZE)
        seeds = [f"{split} {number}" for number in numbers]
        files[f"bio/{split}.txt"] = [
            line for n in numbers for line in pubtator(f"bio-{split}{n}", f"bio {seeds[n]}", related=n % 2 == 0)
        ]
        files[f"ner/{split}.txt"] = [line for n in numbers for line in conll(f"{split}{n}", f"ner {seeds[n]}")]
        files[f"nli/{split}.txt"] = ["index\tsentence1\tsentence2\tlabel"] + [
            pair(f"nli {seeds[n]}", n, ("yes", "no")[n % 2]) for n in numbers
        ]
        files[f"sts/{split}.txt"] = ["index\tsentence1\tsentence2\tscore"] + [
            pair(f"sts {seeds[n]}", n, str(n % 5 + 0.5)) for n in numbers
        ]
    return Corpus((chem, rel, ner, nli, sts), files)


def pair(seed: str, index: int, label: str) -> str:
    return f"{index}\t{sentence(f'first {seed}')}\t{sentence(f'second {seed}')}\t{label}"
