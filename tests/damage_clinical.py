"""Corpora of clinical texts, in each format that has such, to be damaged."""

from __future__ import annotations

import json
from collections.abc import Callable

from mtscale.tasks import Kind, Task
from tests.damage_case import Case, make_task, place

# --- i2b2

RECORD = {
    "txt": 'ZQNOTE ZQONE\nZqalfa zqé Zqbeta zqgama zq"and 😀zq zqdelta .\n\n  zqeta zqiota zqkappa\nZqend',
    "con": (
        'c="zqalfa" 2:0 2:0||t="treatment"\n'
        'c="zqbeta zqgama" 2:2 2:3||t="problem"\n'
        'c="zq"and 😀zq" 2:4 2:5||t="problem"\n'
        'c="zqdelta" 2:6 2:6||t="test"\n'
        'c="zqeta" 4:1 4:1||t="problem"\n'
        'c="zqiota" 4:2 4:2||t="problem"\n'
        'c="zqkappa" 4:3 4:3||t="treatment"\n'
        'c="zqalfa" 2:0 2:0||t="treatment"\n'
    ),
    "rel": (
        'c="zqalfa" 2:0 2:0||r="TrIP"||c="zqbeta zqgama" 2:2 2:3\n'
        'c="zq"and 😀zq" 2:4 2:5||r="PIP"||c="zqbeta zqgama" 2:2 2:3\n'
        'c="zqdelta" 2:6 2:6||r="TeRP"||c="zqbeta zqgama" 2:2 2:3\n'
        'c="zqdelta" 2:6 2:6||r="TeCP"||c="zqbeta zqgama" 2:2 2:3\n'
        'c="zqeta" 4:1 4:1||r="TrAP"||c="zqalfa" 2:0 2:0\n'
    ),
}
SHORT_RECORD = {"txt": "Zqone zqtwo\r\n", "con": 'c="zqone" 1:0 1:0||t="problem"\r\n', "rel": ""}


def _records(text_folder: str) -> dict[str, str]:
    folders = {"txt": text_folder, "con": "beth/concept", "rel": "beth/rel"}
    return {
        f"{folders[suffix]}/{name}.{suffix}": content
        for name, record in (("doc", RECORD), ("short", SHORT_RECORD))
        for suffix, content in record.items()
        if content
    } | {"beth/rel/short.rel": "\n"}


I2B2_TASKS = (
    make_task(Kind.RELATION, "i2b2", ["beth"], "PIP", "TeCP", "TeRP", "TrAP", "TrIP", "false"),
    make_task(Kind.TAGGING, "i2b2", ["beth"], "problem", "treatment", "test", dev_fraction=0.5),
)

# --- ShARe/CLEF

REPORT = "Zqhead: zqalfa zqé zqand 😀zq zqbeta\nzqgama. ZQX [**zqname**] ____\n\n- zqdelta zq||||zqeta.\n"
DISORDERS = (("zqalfa",), ("zqbeta", "zqgama"), ("zqé", "zqgama"), ("zqdelta", "zqeta"), ("[**zqname**]",))


def _bars(name: str, text: str, *mentions: tuple[str, ...]) -> str:
    places = ("||".join("{}||{}".format(*place(text, part)) for part in parts) for parts in mentions)
    return "".join(f"{name}.txt||Disease_Disorder||zqui-less||{one}\n" for one in places)


def _knowtator(name: str, text: str, *mentions: tuple[str, ...]) -> str:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<annotations textSource="{name}.txt">']
    for number, parts in enumerate(mentions):
        lines += ["<annotation>", f'<mention id="m{number}"/>']
        lines += ['<span start="{}" end="{}"/>'.format(*place(text, part)) for part in parts]
        spanned = " ... ".join(parts)
        lines += [f"<spannedText>{spanned}</spannedText>", "<creationDate>Zq</creationDate>", "</annotation>"]
        lines += [f'<classMention id="m{number}">', '<hasSlotMention id="s"/>']
        lines += [f'<mentionClass id="Disease_Disorder">{spanned}</mentionClass>', "</classMention>"]
    return "\n".join([*lines, "</annotations>", ""])


def _reports(gold: Callable[..., str], suffix: str) -> dict[str, str]:
    return {
        "reports/one-ECHO.txt": REPORT,
        "reports/two-ECG.txt": "Zqone zqtwo",
        f"gold/one-ECHO.{suffix}": gold("one-ECHO", REPORT, *DISORDERS),
        f"gold/two-ECG.{suffix}": gold("two-ECG", "Zqone zqtwo", ("zqtwo",)),
    }


def _disorders(*paths: str, **more: float) -> Task:
    return make_task(Kind.TAGGING, "shareclef", paths, "Disease_Disorder", **more)


# --- ClinicalSTS and MedNLI

PAIRS = (
    ("Zqalfa zqé.", "zqbeta 😀zq", "2.5"),
    ("zqalfa  ZQÉ.", "zqgama", "0"),
    ('Zq"delta zqeta', "zqdelta", "5.0"),
    ("zqiota", "zqkappa", "3.75"),
)


def _entailments() -> str:
    rows = (
        ("p1", "entailment", "Zqalfa zqé 😀zq", "Zqbeta \\ zqgama"),
        ("p2", "neutral", "Zqalfa zqé 😀zq", 'Zq"delta'),
        ("p-3", "contradiction", "Zqeta\tzqiota", "zqkappa"),
    )
    lines = []
    for id_, label, premise, hypothesis in rows:
        pair = {"gold_label": label, "pairID": id_, "sentence1": premise, "sentence1_parse": "(ZQ zq)"}
        lines.append(json.dumps({**pair, "sentence2": hypothesis}, ensure_ascii=id_ == "p1") + "\n")
    return "".join(lines)


# --- the cases

CASES = (
    Case("i2b2", "texts inside", _records("beth/txt"), I2B2_TASKS),
    Case("i2b2", "texts beside", _records("test_data"), I2B2_TASKS),
    Case("shareclef", "bars", _reports(_bars, "txt"), (_disorders("reports", "gold", dev_fraction=0.5),)),
    Case("shareclef", "Knowtator", _reports(_knowtator, "txt.knowtator.xml"), (_disorders("reports", "gold"),)),
    Case(
        "shareclef",
        "list",
        {**_reports(_bars, "pipe"), "listed.txt": "one-ECHO.txt\ntwo-ECG\n"},
        (_disorders("reports", "gold", "listed.txt"),),
    ),
    Case(
        "clinicalsts",
        "scores beside",
        {"pairs.txt": "".join("\t".join(pair) + "\n" for pair in PAIRS)},
        (make_task(Kind.SIMILARITY, "clinicalsts", ["pairs.txt"], score_range=(0.0, 5.0), dev_fraction=0.3),),
    ),
    Case(
        "clinicalsts",
        "scores apart",
        {
            "pairs.txt": "".join("\t".join(pair[:2]) + "\r\n" for pair in PAIRS),
            "scores.txt": "\n".join(score for *_, score in PAIRS),
        },
        (make_task(Kind.SIMILARITY, "clinicalsts", ["pairs.txt", "scores.txt"], score_range=(0.0, 5.0)),),
    ),
    Case(
        "mednli",
        "pairs",
        {"pairs.jsonl": _entailments()},
        (
            make_task(
                Kind.INFERENCE,
                "mednli",
                ["pairs.jsonl"],
                *("contradiction", "entailment", "neutral"),
                dev_fraction=0.5,
            ),
        ),
    ),
)
