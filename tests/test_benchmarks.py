from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks.results import Report, Result, interval, once, ratio


def is_sane(result: Result) -> bool:
    return bool(result["how"]) and 0 < result["low"] <= result["value"] <= result["high"] < math.inf


def test_a_ratio_is_one_of_sums_with_an_interval_over_the_blocks() -> None:
    result = ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], "x", "twice")
    assert (result["value"], result["low"], result["high"]) == (2.0, 2.0, 2.0)
    spread = ratio([2.0, 9.0], [1.0, 3.0], "x", "twice to three times")
    assert spread["value"] == 11 / 4
    assert 2.0 <= spread["low"] < spread["value"] < spread["high"] <= 3.0


def test_an_interval_leaves_out_the_extreme_twentieth_on_both_sides() -> None:
    result = interval([float(value) for value in range(1, 42)], "s", "1 to 41")
    assert (result["low"], result["value"], result["high"]) == (3.0, 21.0, 39.0)


def test_a_run_of_all_writes_the_results_and_a_run_of_some_only_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(_data_root: Path | None) -> Report:
        return Report({"speed": once(2.5, "x", "made up")}, {"A table": "its rows"})

    monkeypatch.setattr(command, "MEASURES", {"made": measure})
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    command.main(["made"])
    printed = capsys.readouterr().out
    assert not (tmp_path / "results.json").exists()
    assert all(part in printed for part in ("A table\nits rows", "2.500", "speed: made up"))
    command.main([])
    written = json.loads((tmp_path / "results.json").read_text())
    assert written == {"speed": {"value": 2.5, "low": 2.5, "high": 2.5, "unit": "x", "how": "made up"}}
    with pytest.raises(SystemExit, match="no benchmark speed: there are made"):
        command.main(["speed"])


def test_both_sides_train_on_the_same_tasks_step_by_step() -> None:
    from benchmarks import workload

    work = workload.load_sample("cdr-disease", "evidence-inference")
    ours, theirs = work.epoch(1), work.epoch(1, order="random")
    assert [batch.task for batch in ours] == [batch.task for batch in theirs]
    planned, stock = work.planned(ours), work.planned(theirs)
    assert [step.examples for step in planned] == [step.examples for step in stock]
    assert sum(step.pieces for step in planned) == sum(step.pieces for step in stock)
    assert sum(step.padded for step in planned) < sum(step.padded for step in stock)


@pytest.mark.slow
def test_speed_against_the_stock_trainer() -> None:
    from benchmarks import stock_trainer

    report = stock_trainer.measure(None, blocks=1, steps=1)
    assert report.results.keys() == {"speed_vs_stock_fp32", "speed_vs_stock_bf16"}
    assert all(is_sane(result) for result in report.results.values())


def test_the_stock_model_computes_the_loss_of_mtscales() -> None:
    """Both sides of the comparison learn the same thing from a mini-batch."""
    import torch

    from benchmarks import workload
    from benchmarks.stock_trainer import MixedRows, OneTask, StockModel
    from mtscale.inputs.batches import collate
    from mtscale.model.encoder import load_encoder
    from mtscale.model.heads import loss_sum
    from mtscale.model.multitask import MultiTaskModel

    work = workload.load_sample("cdr-disease", "cdr-similarity", "evidence-inference")
    stock = StockModel(load_encoder("sample", 0.0, 128)[0], work.tasks, 0.0).eval()
    ours = MultiTaskModel(load_encoder("sample", 0.0, 128)[0], work.tasks, 0.0, 1, {}).eval()
    features, collator = MixedRows(work), OneTask(work.tokenizer, work.tasks)
    rows = np.arange(4)
    for task in work.tasks:
        ours.head(task.name).output.load_state_dict(stock.heads[f"{task.name}_head"].state_dict())
        encoded = work.splits[task.name]["train"]
        batch = collate(encoded.rows, rows, task.kind)
        assert batch.labels is not None
        with torch.no_grad():
            logits = ours(task.name, batch.input_ids, batch.token_type_ids, batch.layout, batch.read)
            mean = loss_sum(task.kind, logits, batch.labels) / int(encoded.terms[rows].sum())
            found = stock(**collator([features[task.name, int(row)] for row in rows]))["loss"]
        torch.testing.assert_close(found, mean * task.loss_weight, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_dev_scores_of_both_sides() -> None:
    from benchmarks import dev_scores

    report = dev_scores.measure(None, seeds=(1,), examples=32, documents=3)
    result = report.results["dev_score_vs_stock"]
    assert -1 < result["low"] <= result["value"] <= result["high"] < 1
    (table,) = report.tables.values()
    assert [line.split()[0] for line in table.splitlines()[2:]] == ["mtscale", "stock"]


@pytest.mark.slow
def test_steps_with_many_heads_and_the_bare_loop() -> None:
    from benchmarks import bare_loop, heads
    from benchmarks.processes import run

    few, many = run("benchmarks.heads", "0", "3", "1")
    assert len(few) == len(many) == 1
    assert min(few + many) > 0
    found = run("benchmarks.bare_loop", "1")
    assert np.array(found["seconds"]).shape == (1, 2)
    assert heads.HEADS == 64
    assert bare_loop.PAIRS >= 20


@pytest.mark.slow
def test_a_made_corpus_trains_whatever_its_rows() -> None:
    from benchmarks import rows

    report = rows.measure(None, rows=(500, 2500))
    assert 0.5 < report.results["memory_growth"]["value"] < 2
    assert is_sane(report.results["rows_step_growth"])


@pytest.mark.slow
def test_other_regularisation_stands_apart() -> None:
    from benchmarks import regularisation

    results = regularisation.measure(None, blocks=1, steps=1).results
    assert results.keys() == {"speed_without_attention_dropout", "speed_without_dropout"}
    assert all(is_sane(result) for result in results.values())


@pytest.mark.slow
def test_ranks_take_turns() -> None:
    from benchmarks import ranks

    assert is_sane(ranks.measure(None, blocks=1, steps=1).results["speed_of_two_ranks"])


@pytest.mark.slow
def test_a_start_is_seen_from_outside_and_by_parts(tmp_path: Path) -> None:
    from benchmarks import start_up

    seen = start_up.first_step(tmp_path)
    assert seen.keys() == set(start_up.MARKS)
    assert min(seen.values()) >= 0
    packages = start_up.imports("mtscale.recipe")
    assert packages["pydantic"] > 0
    assert "torch" not in packages


@pytest.mark.slow
def test_prediction_is_timed_against_pipelines() -> None:
    from benchmarks import predict

    report = predict.measure(None, sentences=12, rounds=1, batches=(1, 4))
    assert report.results.keys() == {"predict_vs_pipelines"}
    assert is_sane(report.results["predict_vs_pipelines"])
    assert len(next(iter(report.tables.values())).splitlines()) == 4


@pytest.mark.slow
def test_the_terminal_app_is_timed_while_runs_grow() -> None:
    from benchmarks import tui

    report = tui.measure(None, runs=12, points=20, starts=1)
    assert report.results.keys() == {
        *("tui_first_frame_seconds", "tui_first_rows_seconds", "tui_first_scores_seconds"),
        *("tui_refresh_seconds", "tui_open_seconds", "tui_memory_mib", "tui_key_wait_seconds"),
    }
    assert all(is_sane(result) for result in report.results.values())
