"""Tables, BLUE's files and columns of tags, to be damaged."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from mtscale.tasks import Kind
from tests.damage_case import Case, make_task

Rows = Sequence[Mapping[str, object]]

# --- the rows of tsv, csv and jsonl

PAIRS = (
    {"index": "a1", "sentence1": "Zqalfa zqé, zqbeta", "sentence2": 'Zq "zqgama" 😀zq'},
    {"index": "a2", "sentence1": "Zqdelta", "sentence2": "Zqalfa zqé, zqbeta"},
    {"index": "b-3", "sentence1": "Zqeta", "sentence2": "Zqiota zqkappa"},
    {"index": "4", "sentence1": "Zqlambda", "sentence2": "Zqmu"},
)
SCORED: Rows = [{**pair, "score": score} for pair, score in zip(PAIRS, (2, 3.5, 0, 5), strict=True)]
CLASSED: Rows = [
    {"notes": "zqnone", "label": label, "document": document, **pair}
    for pair, label, document in zip(PAIRS, ("yes", "no", "no", "yes"), "xxyz", strict=True)
]
MASKED: Rows = [
    {"index": "1", "sentence": "@A$ zqé zq @B$", "label": "treats"},
    {"index": "1", "sentence": "@A$ zqé zq @B$", "label": "induces"},
    {"index": "2", "sentence": 'Zq "@A$" 😀zq, @B$', "label": "none"},
]
_SPANS = {"start1": 0, "end1": 6, "type1": "A", "start2": 11, "end2": 17, "type2": "B"}
MARKED: Rows = [
    {"text": "Zqalfa zqé zqbeta", **_SPANS, "rel": "treats"},
    {"text": "Zqbeta 😀zq zqgama", **_SPANS, "start1": 7, "end1": 10, "rel": "none"},
]
RELATIONS = ("treats", "induces", "none")
COLUMNS = {"label": "rel", "index": "nr"}


def _numbered(rows: Rows) -> Rows:
    return [{"nr": number, **row} for number, row in enumerate(rows, start=1)]


def _tsv(rows: Rows) -> str:
    return "".join("\t".join(map(str, cells)) + "\n" for cells in (rows[0], *(row.values() for row in rows)))


def _csv(rows: Rows, **dialect: Any) -> str:
    text = StringIO()
    csv.writer(text, **dialect).writerows([list(rows[0]), *(row.values() for row in rows)])
    return text.getvalue()


def _csv_of_several_lines(rows: Rows) -> str:
    return _csv([{role: str(cell).replace(" zqé", "\nzqé") for role, cell in row.items()} for row in rows])


def _jsonl(rows: Rows) -> str:
    return "".join(
        json.dumps({**row, "more": [{}]}, ensure_ascii=bool(number % 2)) + "\n" for number, row in enumerate(rows)
    )


def _table_cases() -> list[Case]:
    cases = []
    for format_, write in (("tsv", _tsv), ("csv", _csv_of_several_lines), ("jsonl", _jsonl)):
        files = [f"table.{format_}"]
        tasks = {
            "similarity": (SCORED, make_task(Kind.SIMILARITY, format_, files, score_range=(0.0, 5.0), folds=3)),
            "inference": (CLASSED, make_task(Kind.INFERENCE, format_, files, "yes", "no", dev_fraction=0.3)),
            "masked": (MASKED, make_task(Kind.RELATION, format_, files, *RELATIONS)),
            "marked": (_numbered(MARKED), make_task(Kind.RELATION, format_, files, *RELATIONS, columns=COLUMNS)),
        }
        cases += [Case(format_, name, {files[0]: write(rows)}, (task,)) for name, (rows, task) in tasks.items()]
    return cases


# --- BLUE

BLUE_TAGGED = (
    "Zqalfa\td.1\t0\tB-Chemical\n"
    "zqé\t-\t7\tI-Chemical\n"
    '"zq""😀"\t-\t12\tO\n'
    "zqbeta\t-\t17\tB-Disease\n"
    "\n"
    "zqgama\td.1\t24\tI-Disease\n"
    "zqdelta\t-\t31\tI-Chemical\n"
    "\n"
    "Zqeta\tx-9\t5\tO\n"
    "zqiota\t-\t11\tB-Disease\n"
)
BLUE_PAIRS: Rows = [
    {"index": "DDI-DrugBank.d1.s0.p0", "sentence": "@DRUG$ zqé @DRUG$", "label": "DDI-int"},
    {"index": "DDI-DrugBank.d1.s0.p0", "sentence": "@DRUG$ zqé @DRUG$", "label": "DDI-advise"},
    {"index": "DDI-MedLine.d7.s1.p1", "sentence": 'Zq "@DRUG$"\t😀zq @DRUG$', "label": "DDI-false"},
    {"index": "12.T1.T2", "sentence": "@DRUG$ zqbeta", "label": "advise"},
]
BLUE_CLASSED: Rows = [
    {"index": pair["index"], "sentence1": pair["sentence1"], "sentence2": pair["sentence2"], "label": label}
    for pair, label in zip(PAIRS, ("neutral", "entailment", "neutral", "contradiction"), strict=True)
]
_BEFORE = dict.fromkeys(["genre", "filename", "year", "old_index", "source1", "source2"], "-")
BLUE_SCORED: Rows = [
    {"index": row["index"], **_BEFORE, **{role: row[role] for role in ("sentence1", "sentence2", "score")}}
    for row in SCORED
]
INFERENCE = ("contradiction", "entailment", "neutral")


def _in_tabs(rows: Rows) -> str:
    return _csv(rows, delimiter="\t", lineterminator="\n")


def _blue_cases() -> list[Case]:
    file = ["train.tsv"]
    inference = make_task(Kind.INFERENCE, "blue", file, *INFERENCE)
    cases = {
        "tagging": (BLUE_TAGGED, make_task(Kind.TAGGING, "blue", file, "Chemical", "Disease")),
        "tagging, one label": (
            BLUE_TAGGED.replace("-Chemical", "").replace("-Disease", ""),
            make_task(Kind.TAGGING, "blue", file, "Disease", dev_fraction=0.5),
        ),
        "relation": (
            _in_tabs(BLUE_PAIRS),
            make_task(Kind.RELATION, "blue", file, "advise", "effect", "int", "false", dev_fraction=0.3),
        ),
        "named": (_in_tabs(BLUE_CLASSED), inference),
        "unnamed": (_in_tabs(BLUE_CLASSED).partition("\n")[2], inference),
        "similarity": (
            _in_tabs(BLUE_SCORED),
            make_task(Kind.SIMILARITY, "blue", file, score_range=(0.0, 5.0), folds=3),
        ),
    }
    return [Case("blue", name, {file[0]: content}, (task,)) for name, (content, task) in cases.items()]


# --- CoNLL

TABS = """-DOCSTART- (7)

# zqcomment zqone
Zqalfa\tNN\tB-Chemical
zqé\tNN\tI-Chemical
😀zq\tNN\tO

zqbeta\tNN\tI-Disease
zqgama\tNN\tI-Chemical
zqdelta\tNN\tB-Chemical

-DOCSTART- x-9 O

Zqeta\tNN\tO

-DOCSTART- -X- O
# zqcomment
zqiota\tNN\tB-Disease
"""
BLANKS = "X B-A zqalfa\nX E-A zqé\n\n\nX S-B  zqbeta\nX O zqgama\nX U-A 😀zq\nX L-A zqdelta\n \nX I-B zqeta\n"
BARE = "zqalfa B\nzqbeta I\nzqgama O\n\n-DOCSTART- (9)\n# zqalfa zqbeta\nzqé I\n"


def _conll_cases() -> list[Case]:
    file = ["train.conll"]
    cases = {
        "tabs": (TABS, make_task(Kind.TAGGING, "conll", file, "Chemical", "Disease", scheme="IOB2", dev_fraction=0.4)),
        "blanks": (
            BLANKS,
            make_task(Kind.TAGGING, "conll", file, "A", "B", columns={"token": "2", "tag": "1"}, dev_fraction=0.4),
        ),
        "bare": (BARE, make_task(Kind.TAGGING, "conll", file, "A")),
    }
    return [Case("conll", name, {file[0]: content}, (task,)) for name, (content, task) in cases.items()]


CASES = (*_table_cases(), *_blue_cases(), *_conll_cases())
