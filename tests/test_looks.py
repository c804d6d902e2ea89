"""Looks at test sets: each is written down, and a resumed run's same look is the same look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mtscale.training import looks
from mtscale.training.looks import TEST_LOOKS, Look, count_test_looks

LOOK = Look("run", "0123456789ab", "diseases", 2, "a1b2", "clean")


def test_a_look_made_again_by_the_same_run_counts_once(tmp_path: Path) -> None:
    other_task, other_epoch = replace(LOOK, task="evidence"), replace(LOOK, epoch=3)
    new_run_of_that_name = replace(LOOK, id="ba9876543210")
    for look in (LOOK, other_task, LOOK, other_epoch, new_run_of_that_name):
        looks.record(tmp_path, look)
    assert looks.read(tmp_path) == [LOOK, other_task, other_epoch, new_run_of_that_name]
    assert count_test_looks(tmp_path) == {"diseases": 3, "evidence": 1}
    assert len((tmp_path / TEST_LOOKS).read_text(encoding="utf-8").splitlines()) == 5, "every one is written down"


def test_half_a_line_costs_no_other_look(tmp_path: Path) -> None:
    looks.record(tmp_path, LOOK)
    with open(tmp_path / TEST_LOOKS, "a", encoding="utf-8") as stream:
        stream.write('{"time": 17000')
    looks.record(tmp_path, replace(LOOK, task="evidence"))
    assert count_test_looks(tmp_path) == {"diseases": 1, "evidence": 1}


def test_no_file_is_no_look(tmp_path: Path) -> None:
    assert count_test_looks(tmp_path) == {}
