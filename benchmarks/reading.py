"""Corpora to Arrow: how long it takes from cold and again, and whether memory grows with the number of rows.

Each measurement is a process of its own with a cache of its own. Private memory is RssAnon, sampled every 10 ms.

    python -m benchmarks.reading time DATA_ROOT     prints the seconds of one pass over the four public corpora
    python -m benchmarks.reading memory FORMAT ROWS prints the peak of private memory over one pass
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.memory import peak_memory
from benchmarks.processes import run
from benchmarks.public import PUBLIC, has_public_corpora
from benchmarks.results import Report, Result, once
from mtscale import recipe
from mtscale.corpora import catalogue
from mtscale.tasks import Access, Kind, Task

ROWS = (10_000, 1_000_000)
FORMATS = ("tsv", "relations", "conll")
HELD_OUT_ROWS = 1_000
_SENTENCE = "Lithium carbonate toxicity in a newborn infant number {} was described ; no treatment was given ."


def measure(data_root: Path | None) -> Report:
    """Seconds for the public corpora where they are, and the growth of memory from 10^4 to 10^6 rows."""
    results: dict[str, Result] = {}
    if has_public_corpora(data_root):
        with tempfile.TemporaryDirectory() as cache:
            for name in ("reading_cold_seconds", "reading_again_seconds"):
                seconds = _measured("time", str(data_root), cache=cache)["seconds"]
                how = f"{PUBLIC}: read, encode and cache all splits of its tasks, one process, without imports"
                results[name] = once(seconds, "s", how)
    for format_ in FORMATS:
        peaks = []
        for rows in ROWS:
            with tempfile.TemporaryDirectory() as cache:
                peaks.append(_measured("memory", format_, str(rows), cache=cache)["peak_mib"])
        growth = peaks[1] / peaks[0]
        how = (
            f"peak RssAnon with {ROWS[1]:,} training rows, {peaks[1]:.0f} MiB, by that with {ROWS[0]:,}, "
            f"{peaks[0]:.0f} MiB; {format_}: read, encode, cache, and the floor"
        )
        name = f"reading_memory_growth_{format_}"
        results[name] = once(growth, "ratio", how)
    return Report(results)


def _measured(*arguments: str, cache: str) -> dict[str, float]:
    environment = {"MTSCALE_CACHE": cache, "TOKENIZERS_PARALLELISM": "true"}
    result: dict[str, float] = run("benchmarks.reading", *arguments, environment=environment)
    return result


def pass_over_corpora(data_root: Path) -> float:
    """Seconds to have every split of the public corpora encoded, from whatever the cache holds."""
    from mtscale.model.encoder import load_tokenizer
    from mtscale.training.stages import encode_tasks

    loaded = recipe.load(recipe.find(PUBLIC), ['encoder.name="sample"'])
    tasks = [table.resolve(data_root, data_root) for table in loaded.tasks]
    tokenizer = load_tokenizer("sample")
    start = time.perf_counter()
    splits = encode_tasks(loaded, tasks, data_root, tokenizer)
    assert all(len(split.lengths) for by_split in splits.values() for split in by_split.values())
    return time.perf_counter() - start


def peak_of_generated(format_: str, rows: int) -> float:
    """Peak private memory in MiB while a made corpus is read, encoded and cached, and its floor is found."""
    from mtscale import judge
    from mtscale.inputs.cache import open_split
    from mtscale.inputs.encode import PieceVocabulary
    from mtscale.model.encoder import load_tokenizer

    vocabulary = PieceVocabulary.of(load_tokenizer("sample"))
    with tempfile.TemporaryDirectory() as folder, peak_memory() as peak:
        task = make_corpus(format_, rows, Path(folder))
        opened = open_split(task, "train", None, vocabulary, 128)
        assert len(opened.lengths) == rows
        judge.floor(task, "dev", None)
        assert catalogue.read_gold(task, "dev", None)
    return peak[0]


def make_corpus(format_: str, rows: int, folder: Path) -> Task:
    """A corpus of one task in a folder, with so many training rows, each with another sentence."""
    for split, count in (("train", rows), ("dev", HELD_OUT_ROWS), ("test", HELD_OUT_ROWS)):
        with (folder / f"{split}.txt").open("w", encoding="utf-8") as file:
            file.writelines(_lines(format_, count))
    kind = {"tsv": Kind.INFERENCE, "relations": Kind.RELATION, "conll": Kind.TAGGING}[format_]
    return Task(
        name=f"made-{format_}",
        kind=kind,
        domain="own",
        access=Access.OPEN,
        corpus=str(folder),
        format="conll" if format_ == "conll" else "tsv",
        files={split: (f"{split}.txt",) for split in ("train", "dev", "test")},
        labels={Kind.INFERENCE: ("yes", "no"), Kind.RELATION: ("treats", "none")}.get(kind, ("Chemical",)),
        negative="none" if kind is Kind.RELATION else None,
    )


def _lines(format_: str, rows: int) -> Iterator[str]:
    if format_ == "tsv":
        yield "index\tsentence1\tsentence2\tlabel\n"
        for row in range(rows):
            yield f"p{row}\t{_SENTENCE.format(row)}\tLithium was toxic .\t{'yes' if row % 3 else 'no'}\n"
    elif format_ == "relations":
        yield "index\tsentence\tlabel\n"
        for row in range(rows):
            yield f"r{row}\t@CHEMICAL$ and @DISEASE$ : {_SENTENCE.format(row)}\t{'none' if row % 3 else 'treats'}\n"
    else:
        for row in range(rows):
            if row % 10 == 0:
                yield f"-DOCSTART- ({row})\n\n"
            words = _SENTENCE.format(row).split()
            yield "".join(f"{word}\t{'B' if word == 'Lithium' else 'O'}\n" for word in words) + "\n"


def main(arguments: list[str]) -> None:
    """One measurement of this process, printed as JSON."""
    match arguments:
        case ["time", data_root]:
            print(json.dumps({"seconds": pass_over_corpora(Path(data_root))}))
        case ["memory", format_, rows]:
            print(json.dumps({"peak_mib": peak_of_generated(format_, int(rows))}))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
