from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtscale.corpora import catalogue
from mtscale.corpora.example import PairExample
from mtscale.corpora.mednli import read_examples, read_gold
from mtscale.errors import ConfigError, DataError
from mtscale.tasks import TASKS, Access
from tests.costs import cost

FIXTURES = Path(__file__).parent / "fixtures"
MEDNLI = TASKS["mednli"]


def pair(id_: str = "p1", label: str = "neutral", first: str = "Secretword ß.", second: str = "Toy pain.") -> str:
    fields = {"gold_label": label, "pairID": id_, "sentence1": first, "sentence2": second, "sentence1_parse": "(ROOT)"}
    return json.dumps(fields) + "\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "pairs.jsonl"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_pairs_of_one_premise_are_one_document(tmp_path: Path) -> None:
    text = pair("p1") + pair("p2", "entailment", "Joke\trash.", '"Fake"') + pair("p3", "contradiction", second="No.")
    path = write(tmp_path, "\ufeff" + text.replace("\n", "\r\n").removesuffix("\r\n"))
    assert list(read_examples(MEDNLI, [path])) == [
        PairExample("p1", "p1", "Secretword ß.", "Toy pain.", "neutral"),
        PairExample("p2", "p2", "Joke\trash.", '"Fake"', "entailment"),
        PairExample("p3", "p1", "Secretword ß.", "No.", "contradiction"),
    ]
    assert list(read_gold(MEDNLI, [path])) == [
        ("p1", "p1", "neutral"),
        ("p2", "p2", "entailment"),
        ("p1", "p3", "contradiction"),
    ]


def test_the_fixtures_read_as_a_data_root() -> None:
    for split in ("train", "dev", "test"):
        ids = [f"fixture-{split}-{number}" for number in (1, 2, 3)]
        gold = catalogue.read_gold(replace(MEDNLI, access=Access.OPEN), split, FIXTURES)
        assert gold == dict(zip(ids, ("entailment", "contradiction", "neutral"), strict=True))
        examples = list(catalogue.read_examples(replace(MEDNLI, access=Access.OPEN), split, FIXTURES))
        assert {example.document for example in examples} == {ids[0]}
        assert all(isinstance(one, PairExample) and one.first.startswith("Imaginary") for one in examples)


def test_reads_one_pair_at_a_time(tmp_path: Path) -> None:
    examples = read_examples(MEDNLI, [write(tmp_path, pair() + "nonsense\n")])
    assert next(examples).id == "p1"
    with pytest.raises(DataError, match=r"pairs\.jsonl:2: expected one JSON object"):
        next(examples)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"pairs\.jsonl: expected one pair a line, found an empty file"),
        (pair() + "\n", r":2: expected one JSON object"),
        (pair()[:-10], r":1: expected one JSON object"),
        (pair().replace("}", ', "more": NaN}}'), r":1: expected one JSON object"),
        (pair() + "[" * 20_000, r":2: expected one JSON object"),
        (pair() + "1" * 20_000, r":2: expected one JSON object"),
        (pair() + '["Secretword"]', r":2: expected one JSON object, found another JSON value"),
        (
            pair(label="-"),
            r":1: task mednli: expected one of the labels contradiction, entailment, neutral .*without a",
        ),
        (pair(label="Secretword"), r":1: task mednli: expected one of the labels"),
        (pair() + pair("p2") + pair(), r":3: this pairID has occurred before"),
        (pair(second=" "), r":1: .*not found in sentence2"),
        (pair().replace("pairID", "pairId"), r":1: .*not found in pairID"),
        (pair().replace('"p1"', "1"), r":1: .*not found in pairID"),
        (pair("a\tb"), r":1: expected a pairID of printable characters"),
        (pair("a\nb"), r":1: expected a pairID of printable characters"),
        (pair().replace("Toy", r"\ud800Toy"), r":1: .*not found in sentence2"),
        (pair().encode("utf-16"), r":1: expected UTF-8, found byte 0xff"),
        (pair().replace(r"\u00df", "ß").encode("latin-1"), r":1: expected UTF-8, found byte 0xdf"),
        (pair().replace("p1", "p\x001"), r":1: expected one JSON object"),
    ],
)
def test_malformed_files_are_one_error_with_file_and_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list(read_gold(MEDNLI, [write(tmp_path, text)]))
    assert "Secretword" not in str(caught.value)
    assert "Toy" not in str(caught.value)


def test_files_that_cannot_be_read_are_data_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.jsonl"):
        with pytest.raises(DataError, match="expected a readable file, found: "):
            list(read_examples(MEDNLI, [path]))


def test_another_kind_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"clinicalsts: .*not similarity"):
        read_examples(replace(TASKS["clinicalsts"], format="mednli"), [tmp_path / "absent"])


TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)
ID = st.text(st.characters(categories=["L", "N", "P"]), min_size=1)


@settings(deadline=None, max_examples=100)
@given(
    rows=st.lists(
        st.tuples(ID, st.sampled_from(MEDNLI.labels), TEXT, TEXT), min_size=1, max_size=5, unique_by=lambda row: row[0]
    ),
    ascii_only=st.booleans(),
)
def test_what_is_written_is_read_back(
    rows: list[tuple[str, str, str, str]], ascii_only: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = ("pairID", "gold_label", "sentence1", "sentence2")
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=ascii_only) for row in rows]
    path = write(tmp_path_factory.mktemp("pairs"), "".join(f"{line}\n" for line in lines))
    examples = list(read_examples(MEDNLI, [path]))
    assert [(one.id, one.label, one.first, one.second) for one in examples] == rows
    premises = [row[2] for row in rows]
    assert [one.document for one in examples] == [rows[premises.index(premise)][0] for premise in premises]


@pytest.mark.parametrize("text", ['{"a":' * 4000, '"' * 20_000, "-" * 20_000, "\\u00" * 5000, "{}\n" * 7000])
def test_no_small_file_takes_long(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)

    def read_it() -> None:
        with suppress(DataError):
            list(read_examples(MEDNLI, [path]))

    assert cost(read_it) < 20
