"""Forced errors: files that are wrong in many ways, with words that must not be told, and a process that reads them.

``canary_errors.py FOLDER ENCODER WORD...`` makes a corpus a case below FOLDER, has `mtscale corpora check` and
`corpora stats` read it, every seventh time a dry run too, and prints a line of JSON with the exit codes after each.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from mtscale import cli

DONE = "exit codes: "
TAGGING = {"kind": "tagging", "format": "pubtator", "labels": ["Disease"]}
SCORED = {"kind": "similarity", "format": "tsv", "score_range": [0.0, 5.0]}
CLASSED = {"kind": "inference", "labels": ["same", "other"]}
ROWS = "index\tsentence1\tsentence2\t"


@dataclass(frozen=True)
class Forced:
    """A wrong file: what kind of task it is of, and its content, which is given words by the function it calls."""

    table: Mapping[str, object]
    content: Callable[[Callable[[], str]], str | bytes]


Word = Callable[[], str]


def _article(word: Word, *lines: str) -> str:
    return "\n".join([f"7|t|The {word()}.", f"7|a|Of {word()} and {word()}.", *lines, ""])


def _bioc(word: Word, *, annotation: str = "", head: str = "", end: str = "</document></collection>\n") -> str:
    passage = f"<passage><offset>0</offset><text>The {word()} of {word()}.</text>{annotation}</passage>"
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{head}<collection><document><id>7</id>{passage}{end}"


def _mention(word: str, length: int) -> str:
    place = f'<location offset="4" length="{length}"/>'
    return f'<annotation id="1"><infon key="type">Disease</infon>{place}<text>{word}</text></annotation>'


def _object(word: Word, **values: object) -> str:
    return json.dumps({"index": word(), "sentence1": word(), "sentence2": word(), "label": "same", **values}) + "\n"


FORCED: Mapping[str, Forced] = {
    "an offset that is off": Forced(TAGGING, lambda w: _article(w, f"7\t3\t15\t{w()}\tDisease\tD1")),
    "a text where an offset stands": Forced(TAGGING, lambda w: _article(w, f"7\t{w()}\t16\t{w()}\tDisease\tD1")),
    "a line of another format": Forced(TAGGING, lambda w: _article(w, f"{w()} {w()}")),
    "another document's mention": Forced(TAGGING, lambda w: _article(w, f"{w()}\t4\t16\t{w()}\tDisease\tD1")),
    "an id twice": Forced(TAGGING, lambda w: _article(w) + "\n" + _article(w)),
    "no UTF-8": Forced(TAGGING, lambda w: _article(w).encode() + f"\n8|t|{w()} ".encode() + b"\xff\n"),
    "cut in a line": Forced(TAGGING, lambda w: _article(w) + f"\n8|t|{w()}"),
    "a text where a class stands": Forced(
        {**CLASSED, "format": "tsv"}, lambda w: f"{ROWS}label\n1\t{w()}\t{w()}\t{w()}\n"
    ),
    "a text where a score stands": Forced(SCORED, lambda w: f"{ROWS}score\n1\t{w()}\t{w()}\t{w()}\n"),
    "a score that is out of range": Forced(SCORED, lambda w: f"{ROWS}score\n1\t{w()}\t{w()}\t9\n"),
    "a column too many": Forced(SCORED, lambda w: f"{ROWS}score\n1\t{w()}\t{w()}\t1\t{w()}\n"),
    "a missing header": Forced(SCORED, lambda w: f"1\t{w()}\t{w()}\t1\n2\t{w()}\t{w()}\t2\n"),
    "bad JSON": Forced({**CLASSED, "format": "jsonl"}, lambda w: _object(w) + f'{{"sentence1": "{w()}", {w()}\n'),
    "a value that is a list": Forced({**CLASSED, "format": "jsonl"}, lambda w: _object(w, sentence1=[w(), w()])),
    "an object without a column": Forced({**CLASSED, "format": "jsonl"}, lambda w: json.dumps({w(): w()}) + "\n"),
    "an open quote": Forced(
        {**CLASSED, "format": "csv"}, lambda w: f'index,sentence1,sentence2,label\n1,"{w()},{w()},same\n'
    ),
    "a field that is too long": Forced(
        {**CLASSED, "format": "csv"}, lambda w: f"index,sentence1,sentence2,label\n1,{f'{w()} ' * 20000},{w()},same\n"
    ),
    "a text where a tag stands": Forced({**TAGGING, "format": "conll"}, lambda w: f"{w()}\tO\n{w()}\t{w()}\n\n"),
    "a word without a tag": Forced({**TAGGING, "format": "conll"}, lambda w: f"{w()}\tO\n{w()}\n\n"),
    "XML that is cut": Forced({**TAGGING, "format": "bioc"}, lambda w: _bioc(w, end=f"<passage><text>{w()}")),
    "XML with another text": Forced({**TAGGING, "format": "bioc"}, lambda w: _bioc(w, annotation=_mention(w(), 12))),
    "an entity in XML": Forced(
        {**TAGGING, "format": "bioc"},
        lambda w: _bioc(w, head=f'<!DOCTYPE collection [<!ENTITY {w()} "{w()}">]>\n', annotation=f"&{w()};"),
    ),
}


def make(folder: Path, case: Forced, encoder: str, words: Iterator[str]) -> Path:
    """A data root with the wrong file as every split, and a recipe that reads it, outside of the root."""
    data = folder / "data"
    data.mkdir(parents=True)
    content = case.content(lambda: next(words))
    for split in ("train", "dev", "test"):
        (data / f"{split}.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    table = {"name": "wrong", **case.table, "files": {split: f"{split}.txt" for split in ("train", "dev", "test")}}
    recipe = folder / "recipe.toml"
    refine = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3}
    encoding = {"name": encoder, "max_pieces": 64}
    content_of = {"name": "wrong", "encoder": encoding, "refine": refine, "tasks": [table]}
    recipe.write_text(tomli_w.dumps(content_of), encoding="utf-8")
    return recipe


def run(*command: str) -> int | str:
    """The exit code, or what was raised, which is told as Python tells it."""
    try:
        return cli.main(command)
    except SystemExit as ended:
        return str(ended.code)
    except Exception as error:
        traceback.print_exc()
        return type(error).__name__


def main(arguments: Sequence[str]) -> None:
    """Read every case by each command."""
    folder, encoder, *words = arguments
    left = iter(words)
    for number, (name, case) in enumerate(FORCED.items()):
        place = Path(folder) / name.replace(" ", "-")
        recipe, data = str(make(place, case, encoder, left)), str(place / "data")
        codes = [
            run("corpora", "check", recipe, "--data", data, "--output", str(place / "report")),
            run("corpora", "stats", recipe, "--data", data),
        ]
        if number % 7 == 0:  # one measures this machine for seconds
            codes.append(run("train", "--recipe", recipe, "--data", data, "--runs", str(place / "runs"), "--dry-run"))
        print(DONE + json.dumps({name: codes}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
