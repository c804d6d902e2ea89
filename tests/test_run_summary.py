from __future__ import annotations

from pathlib import Path

from mtscale import names
from mtscale.run_summary import history, summarize
from mtscale.runs import RunDirectory, RunRecord, State, Status


def make_run(folder: Path, protocol: str = "clean") -> RunDirectory:
    record = RunRecord(
        name="run",
        family="f",
        group="g",
        recipe="r",
        stage="refine",
        seed=3,
        protocol=protocol,
        tasks=("ner", "nli"),
        ds_config="cpu",
        world_size=1,
        command=("mtscale", "train"),
        versions={},
        recipe_hash="h",
    )
    return RunDirectory.create(folder / "run", record, "", "{}")


def score(task: str) -> str:
    return names.metric("dev", task, names.SCORE)


def test_a_new_run_has_no_scores(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    summary = summarize(run)
    nothing = {"dev": None, "test": None, "floor": None, "best_epoch": None}
    assert summary["scores"] == {"ner": nothing, "nli": nothing}
    assert (summary["macro"], summary["state"], summary["step"]) == (None, "running", 0)
    assert (summary["id"], summary["dir"], summary["created"]) == (run.record.id, str(run.path), run.record.created)
    assert (summary["family"], summary["group"], summary["seed"], summary["tasks"]) == ("f", "g", 3, ["ner", "nli"])


def test_the_dev_score_is_the_latest_until_an_epoch_is_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for epoch, value in enumerate([0.4, 0.7, 0.6], start=1):
        run.append_event("dev", 10 * epoch, epoch, {score("ner"): value, names.metric("dev", "ner", names.FLOOR): 0.2})
    before = summarize(run)["scores"]["ner"]
    assert before == {"dev": 0.6, "test": None, "floor": 0.2, "best_epoch": 2}

    run.append_event("best", 30, 3, {names.best("ner"): 0.7, names.best(names.MACRO): 0.65, names.BEST_EPOCH: 2})
    test = {names.metric("test", "ner", names.SCORE): 0.5, names.metric("test", "ner", names.FLOOR): 0.1}
    run.append_event("test", 30, 3, test)
    run.write_status(Status(state=State.FINISHED, step=30, steps=30, epoch=3, message="done"))

    after = summarize(run)
    assert after["scores"]["ner"] == {"dev": 0.7, "test": 0.5, "floor": 0.1, "best_epoch": 2}
    assert after["scores"]["nli"]["dev"] is None
    assert (after["macro"], after["state"], after["step"], after["steps"]) == (0.65, "finished", 30, 30)
    assert after["message"] == "done"


def test_a_run_that_chose_on_test_has_the_kept_epochs_test_scores_and_no_dev(tmp_path: Path) -> None:
    run = make_run(tmp_path, protocol="paper")
    for epoch, value in enumerate([0.4, 0.7, 0.6], start=1):
        run.append_event("test", 10 * epoch, epoch, {names.metric("test", "ner", names.SCORE): value})
    assert summarize(run)["scores"]["ner"]["test"] == 0.6
    kept = {names.best("ner", "test"): 0.7, names.best(names.MACRO, "test"): 0.65}
    run.append_event("best", 20, 2, kept)
    summary = summarize(run)
    assert summary["scores"]["ner"] == {"dev": None, "test": 0.7, "floor": None, "best_epoch": 2}
    assert summary["macro"] == 0.65


def test_what_a_rewind_took_back_is_not_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.append_event("dev", 10, 1, {score("ner"): 0.4})
    run.append_event("dev", 20, 2, {score("ner"): 0.9})
    run.append_event("rewind", 10, 1, {})
    run.append_event("dev", 20, 2, {score("ner"): 0.5})
    found = summarize(run)["scores"]["ner"]
    assert (found["dev"], found["best_epoch"]) == (0.5, 2)


def test_history_has_every_value_under_its_name(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    first = run.append_event("train", 1, 1, {names.TRAIN_LOSS: 2.0, names.LEARNING_RATE: 0.1})
    run.append_event("train", 2, 1, {names.TRAIN_LOSS: 1.5})
    series = history(run.events())
    assert [(point["step"], point["epoch"], point["value"]) for point in series[names.TRAIN_LOSS]] == [
        (1, 1, 2.0),
        (2, 1, 1.5),
    ]
    assert [point["value"] for point in series[names.LEARNING_RATE]] == [0.1]
    assert abs(series[names.TRAIN_LOSS][0]["time"] - first.time) < 0.001
