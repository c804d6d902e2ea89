"""Corpora of every kind of task whose texts hold words that nothing else holds, and a recipe that trains on them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w

COUNT = 1000
LENGTH = 12
CONSONANTS = "bcdfghjklmnpqrstvwxz"
LABELS = {"nature": ("same", "other")}
KEPT = ("PATH", "LANG", "PYTHONPATH", "OMP_NUM_THREADS")
SPLITS = {"train": 24, "dev": 8, "test": 8}
TASKS: dict[str, dict[str, object]] = {
    "ailments": {"kind": "tagging", "format": "pubtator", "labels": ["Disease"]},
    "causes": {
        "kind": "relation",
        "format": "pubtator",
        "labels": ["induces", "none"],
        "negative": "none",
        "arguments": ["Chemical", "Disease"],
        "relation": "CID",
    },
    "likeness": {"kind": "similarity", "format": "tsv", "score_range": [0.0, 5.0]},
    "nature": {"kind": "inference", "format": "tsv", "labels": list(LABELS["nature"])},
}


def canaries(count: int = COUNT, seed: int = 7) -> list[str]:
    """Words of consonants, which no language and no name has, each once; always the same."""
    source = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(source.choices(CONSONANTS, k=LENGTH))] = None
    return list(found)


@dataclass
class CanaryLab:
    """A folder with a data root, where words may stand, and everything else, where they may not.

    All places that a process writes to by itself (home, caches, temporary files) lie in ``folder`` too.
    """

    folder: Path
    words: list[str] = field(default_factory=canaries)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.toml"

    def write(self, encoder: Path, **refine: object) -> None:
        """The corpora, each word in one of them, and the recipe; access is not given, so it is ``dua``."""
        self.data.mkdir()
        left = iter(self.words)
        for name, table in TASKS.items():
            for split, count in SPLITS.items():
                make = documents if table["format"] == "pubtator" else pairs
                text = make(left, count, f"{name}-{split}", LABELS.get(name))
                (self.data / f"{name}.{split}.txt").write_text(text, encoding="utf-8")
        assert next(left, None) is None, "a word is left over"
        tables = [
            {"name": name, **table, "files": {split: f"{name}.{split}.txt" for split in SPLITS}}
            for name, table in TASKS.items()
        ]
        settings = {"epochs": 1, "batch_size": 8, "learning_rate": 2e-3, **refine}
        content = {"name": "canary", "encoder": {"name": str(encoder), "max_pieces": 96}, "refine": settings}
        self.recipe.write_text(tomli_w.dumps({**content, "tasks": tables}), encoding="utf-8")

    def environment(self, **added: str) -> dict[str, str]:
        """What a process is to know of this machine: its programs, and folders of this one's own."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        places = {"HOME": "home", "XDG_CACHE_HOME": "home/cache", "XDG_CONFIG_HOME": "home/settings", "TMPDIR": "tmp"}
        for place in places.values():
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        own = {name: str(self.folder / place) for name, place in places.items()}
        return {**kept, **own, "DS_ACCELERATOR": "cpu", "TERM": "xterm-256color", **added}


def documents(words: Iterator[str], count: int, name: str, labels: tuple[str, ...] | None = None) -> str:
    """PubTator documents of two sentences, a chemical and a disease in the second; seven words."""
    blocks = []
    for number in range(count):
        title = f"The {next(words)} of {next(words)}."
        chemical, disease = next(words), next(words)
        abstract = f"{chemical} gave {disease} to {next(words)}. Then {next(words)} and {next(words)} were seen."
        at = len(title) + 1
        end = at + len(chemical) + len(" gave ")
        id_ = f"{name}-{number}"
        lines = [
            f"{id_}|t|{title}",
            f"{id_}|a|{abstract}",
            f"{id_}\t{at}\t{at + len(chemical)}\t{chemical}\tChemical\tC1",
            f"{id_}\t{end}\t{end + len(disease)}\t{disease}\tDisease\tD1",
        ]
        blocks.append("\n".join([*lines, *([f"{id_}\tCID\tC1\tD1"] if number % 2 else [])]))
    return "\n\n".join(blocks) + "\n"


def pairs(words: Iterator[str], count: int, name: str, labels: tuple[str, ...] | None) -> str:
    """A table of pairs of sentences with scores or classes; five or six words in a row."""
    rows = [f"index\tsentence1\tsentence2\t{'score' if labels is None else 'label'}"]
    for number in range(count):
        label = f"{number % 5}.5" if labels is None else labels[number % len(labels)]
        first, second = (" is ".join(next(words) for _ in range(one)) for one in (3, 2 + number % 2))
        rows.append(f"{name}-{number}\t{first}.\t{second}.\t{label}")
    return "\n".join(rows) + "\n"
