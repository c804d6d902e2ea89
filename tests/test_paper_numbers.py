"""The paper's numbers: whole, and in agreement with themselves where the paper is."""

from __future__ import annotations

import hashlib
from decimal import ROUND_HALF_UP, Decimal

import pytest

from mtscale.corpora.stats import PAPER_TABLE_1
from mtscale.metrics.scoring import macro_score
from mtscale.study.paper_numbers import Gain, Table, paper_numbers
from mtscale.tasks import BLUE_TASKS, TASKS, Kind

PAPER = paper_numbers()


def points(value: float) -> Decimal:
    return 100 * Decimal(f"{value:.3f}")


def test_nothing_is_missing() -> None:
    assert list(PAPER.tables) == [2, 3, 4, 5, 6]
    assert {number: len(table.cells) for number, table in PAPER.tables.items()} == {2: 15, 3: 15, 4: 20, 5: 15, 6: 45}
    assert {size.task for size in PAPER.sizes} == {task.name for task in BLUE_TASKS}
    assert len(PAPER.sizes) == 8


@pytest.mark.parametrize("table", PAPER.tables.values(), ids=lambda table: f"table{table.number}")
def test_averages_are_those_of_their_rows(table: Table) -> None:
    for model in table.models:
        scores = {task: table.cell(model, task).value for task in table.tasks}
        exact = sum(Decimal(f"{score:.3f}") for score in scores.values()) / len(scores)
        printed = exact.quantize(Decimal("0.001"), ROUND_HALF_UP)
        assert printed == Decimal(f"{table.cell(model, None).value:.3f}"), (table.number, model)
        assert macro_score(scores) == pytest.approx(float(exact))


@pytest.mark.parametrize("gain", PAPER.gains, ids=lambda gain: f"{gain.table}-{gain.task}-{gain.points}")
def test_quoted_gains_are_in_the_tables_or_noted(gain: Gain) -> None:
    table = PAPER.tables[gain.table]
    measured = points(table.cell(gain.of, gain.task).value) - points(table.cell(gain.over, gain.task).value)
    quoted = Decimal(str(gain.points))
    digits = Decimal(1).scaleb(quoted.as_tuple().exponent)  # type: ignore[arg-type]
    assert (measured.quantize(digits, ROUND_HALF_UP) == quoted) == (not gain.note)


def test_the_known_slip_stands_as_printed() -> None:
    rows = [
        [PAPER.tables[number].cell(model, task).value for task in (*PAPER.tables[number].tasks, None)]
        for number, model in ((3, "MT-BlueBERT-Refinement biomedical"), (5, "MT-BlueBERT-Fine-Tune clinical"))
    ]
    assert rows[0] == rows[1] == [0.714, 0.792, 0.824, 0.930, 0.815]
    assert PAPER.tables[5].cell("MT-BlueBERT-Fine-Tune clinical", "ddi2013").note
    assert any("Table 5" in one.place for one in PAPER.inconsistencies)


@pytest.mark.parametrize(("number", "stage"), [(2, "single-task"), (3, "single-task")])
def test_table_6_repeats_single_task_rows(number: int, stage: str) -> None:
    (name,) = {cell.model for cell in PAPER.tables[number].cells if cell.stage == stage}
    for task in PAPER.tables[number].tasks:
        assert PAPER.tables[number].cell(name, task).value == PAPER.tables[6].cell(name, task).value


# sha256 of the numbers in the order and spelling in which the paper's text (arXiv:2005.02799v1) prints them, separated
# by blanks: computed from that text, of the lines before each caption that are a number and nothing else.
DIGESTS = {
    1: "df5065dce8bb267f",
    2: "b4eed85b8b50fbc8",
    3: "756321521629d2d7",
    4: "4d1a50959a058d93",
    5: "020cd497f1d66b1b",
    6: "927fb7ecdcf5c284",
}


def test_every_number_is_the_papers() -> None:
    printed = {1: [f"{count:,}" for size in PAPER.sizes for count in (size.train, size.dev, size.test)]}
    for number, table in PAPER.tables.items():
        rows = list(dict.fromkeys(cell.row for cell in table.cells))
        cells = sorted(table.cells, key=lambda cell: rows.index(cell.row))
        printed[number] = [f"{cell.value:.3f}" for cell in cells]
    found = {number: hashlib.sha256(" ".join(cells).encode()).hexdigest()[:16] for number, cells in printed.items()}
    assert found == DIGESTS


def test_rows_and_columns_are_as_printed() -> None:
    (clinical,) = (cell for cell in PAPER.tables[2].cells if cell.value == 0.771)
    assert (clinical.row, clinical.column, clinical.task) == ("BlueBERT clinical", "ShARe/CLEFE", "shareclefe")
    (turned,) = (cell for cell in PAPER.tables[6].cells if cell.value == 0.692)
    assert (turned.row, turned.column, turned.task) == ("ChemProt", "BlueBERT clinical", "chemprot")


def test_sizes_have_the_kind_and_domain_of_the_tasks() -> None:
    kinds = {
        "Sentence similarity": Kind.SIMILARITY,
        "NER": Kind.TAGGING,
        "Relation extraction": Kind.RELATION,
        "Inference": Kind.INFERENCE,
    }
    for size in PAPER.sizes:
        task = TASKS[size.task]
        assert (kinds[size.kind], size.domain.lower()) == (task.kind, task.domain)
    assert {size.task: (size.train, size.dev, size.test) for size in PAPER.sizes} == PAPER_TABLE_1


def test_what_a_table_lacks_is_named() -> None:
    with pytest.raises(KeyError, match="Table 2 has no number for BlueBERT clinical and ddi2013"):
        PAPER.tables[2].cell("BlueBERT clinical", "ddi2013")
