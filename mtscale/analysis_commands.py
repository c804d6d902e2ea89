"""The commands that hold a run against its corpora again: evaluate (with calibration) and errors (with texts)."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtscale import names, recipe
from mtscale.corpora import catalogue
from mtscale.corpora.example import SplitName
from mtscale.errors import EXIT_FINISHED, ConfigError, DataError
from mtscale.model_commands import add_runs, load_run
from mtscale.predictions import Prediction, load
from mtscale.runs import RunDirectory, RunRecord, find_run, write_atomically
from mtscale.tasks import Kind, Task
from mtscale.training import job, looks
from mtscale.training.tables import table

if TYPE_CHECKING:
    from mtscale.serving.calibration import Calibration
    from mtscale.serving.mistakes import Mistake
    from mtscale.serving.predictor import Predictor

_SHOWN = 20


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    evaluate = commands.add_parser(
        "evaluate",
        help="score a run's kept epoch again, with the calibration of its probabilities",
        description="The task's metrics, the score's interval over documents, the expected calibration error, and a "
        "temperature fitted on dev; a reliability plot in reports/calibration of the run. Looking at test is written "
        "down.",
    )
    evaluate.add_argument("--task", action="append", metavar="T", help="this task (again for others; default: all)")
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    evaluate.set_defaults(command=_evaluate)
    errors = commands.add_parser(
        "errors",
        help="show what a run got wrong, in context, on the terminal",
        description="Wrong and lost predictions of the kept epoch, grouped by kind, with their texts: for whoever may "
        "read them. Looking at test is written down.",
    )
    errors.add_argument("--task", required=True, metavar="T", help="the task")
    errors.add_argument("--limit", type=int, default=_SHOWN, metavar="N", help=f"of each group (default: {_SHOWN})")
    errors.add_argument("--allow-text", action="store_true", help="write texts even where the output is no terminal")
    errors.set_defaults(command=_errors)
    for command in (evaluate, errors):
        command.add_argument("run", metavar="RUN", help="id, name or directory")
        command.add_argument("--split", choices=("dev", "test"), default="dev", help="default: dev")
        command.add_argument("--data", metavar="DIR", help="folder of the corpora (default: MTSCALE_DATA)")
        add_runs(command)


def _evaluate(options: argparse.Namespace) -> int:
    run = find_run(job.runs_folder(options.runs), options.run)
    trained = load_run(run)
    from mtscale.serving.predictor import Predictor

    predictor = Predictor(trained)
    found: dict[str, dict[str, Any]] = {}
    for one in trained.chosen(options.task):
        task, data_root = _with_corpus(run, one.name, options.data)
        found[task.name] = _evaluate_task(run, predictor, task, options.split, data_root)
    if options.json:
        print(json.dumps(found, indent=2))
        return EXIT_FINISHED
    header = ["task", "metric", options.split, "95 % interval", "temperature", "ECE", "with temperature"]
    rows = []
    for name, facts in found.items():
        numbers = [facts["values"][names.SCORE], *(facts.get(key) for key in ("temperature", "ece", "ece_scaled"))]
        score, *others = ("" if one is None else f"{one:.4f}" for one in numbers)
        interval = "" if facts["interval"] is None else "{:.4f} to {:.4f}".format(*facts["interval"])
        rows.append([name, facts["metric"], score, interval, *others])
    print(table(header, rows))
    print("\nInterval: of other documents of this kind, not of other seeds (docs/statistics.md).")
    print(f"ECE: expected calibration error, 15 bins; temperatures fitted on dev. Plots: {_folder(run)}")
    if names.chosen_on(run.record.protocol) == "test":
        print("This run was trained on dev too: temperatures fitted there are too low, and scores there too good.")
    return EXIT_FINISHED


def _evaluate_task(
    run: RunDirectory, predictor: Predictor, task: Task, split: SplitName, data_root: Path | None
) -> dict[str, Any]:
    """The scores and the calibration of a task, which are written into the run's reports too."""
    from mtscale.serving.calibration import calibrate, fit_temperature
    from mtscale.serving.evaluate import evaluate

    on_dev = evaluate(predictor, task, "dev", data_root)
    on_split = on_dev
    if split == "test":
        _record_look(run, task, data_root)
        on_split = evaluate(predictor, task, "test", data_root)
    facts: dict[str, Any] = {"task": task.name, "split": split, "metric": task.metric, "values": on_split.score.values}
    facts["interval"] = _interval(task, split, data_root, on_split.predictions)
    if task.kind is Kind.SIMILARITY:
        _write(run, facts)
        return facts
    assert on_dev.logits is not None
    assert on_dev.labels is not None
    assert on_split.logits is not None
    assert on_split.labels is not None
    calibration = calibrate(on_split.logits, on_split.labels, fit_temperature(on_dev.logits, on_dev.labels))
    facts |= calibration.as_dict()
    _write(run, facts)
    _draw(run, facts, calibration)
    return facts


def _interval(
    task: Task, split: SplitName, data_root: Path | None, predictions: list[Prediction]
) -> tuple[float, float] | None:
    """The interval of the task's score, inside what the metric can be; None where all of the split is one cluster."""
    from mtscale.metrics.significance import score_interval
    from mtscale.study.samples import read_test_set, score

    sample = score(read_test_set(task, split, data_root), task.metric, [predictions]).sample
    if sample.clusters < 2:
        return None
    low, high = score_interval(sample)
    return max(low, -1.0 if task.kind is Kind.SIMILARITY else 0.0), min(high, 1.0)


def _write(run: RunDirectory, facts: dict[str, Any]) -> None:
    folder, name = _folder(run), f"{facts['split']}.{facts['task']}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.json", json.dumps(facts, indent=2))


def _draw(run: RunDirectory, facts: dict[str, Any], calibration: Calibration) -> None:
    from mtscale.serving.calibration import reliability_figure

    name = f"{facts['split']}.{facts['task']}"
    picture = _folder(run) / f"{name}.png"
    reliability_figure(calibration, f"{facts['task']}, {facts['split']}", picture)
    picture.chmod(0o600)


def _folder(run: RunDirectory) -> Path:
    return run.path / "reports" / "calibration"


def _errors(options: argparse.Namespace) -> int:
    if not (sys.stdout.isatty() or options.allow_text):
        raise ConfigError("errors prints texts of the corpus, and the output is no terminal; --allow-text prints them")
    run = find_run(job.runs_folder(options.runs), options.run)
    if options.task not in run.record.tasks:
        raise ConfigError(f"{run.path} has no task {options.task}; it has {', '.join(run.record.tasks)}")
    task, data_root = _with_corpus(run, options.task, options.data)
    stored = run.path / "predictions" / f"{options.split}.{task.name}.jsonl"
    if not stored.is_file():
        raise DataError(f"{stored}: no predictions there; a run has those of dev from its first evaluation on")
    if options.split == "test":
        _record_look(run, task, data_root)
    from mtscale.serving.mistakes import contexts, find_mistakes

    mistakes = find_mistakes(task, catalogue.read_gold(task, options.split, data_root), load(stored, task))
    groups: dict[str, list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        groups[mistake.group].append(mistake)
    chosen = [mistake for group in groups.values() for mistake in group[: options.limit]]
    texts = dict(contexts(task, options.split, data_root, chosen))
    print(f"{task.name}, {options.split}, {run.path.name}: [gold], {{predicted}}")
    for group, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        print(f"\n== {group}: {len(found)}")
        for mistake in found[: options.limit]:
            told = " -> ".join(label for label in (mistake.gold, mistake.predicted) if label)
            # A mention that no sentence holds has no context.
            print(f"{mistake.id} ({told}): {texts.get(mistake, '(across sentences)')}")
    return EXIT_FINISHED


def _record_look(run: RunDirectory, task: Task, data_root: Path | None) -> None:
    """Write a look at test down, before its gold is opened."""
    from mtscale.inputs.cache import files_hash

    record = run.record
    gold = files_hash(catalogue.corpus_files(task, "test", data_root))
    looks.record(
        run.path.parent, looks.Look(record.name, record.id, task.name, _kept_epoch(run), gold, record.protocol)
    )


def _kept_epoch(run: RunDirectory) -> int:
    kept = [event.values[names.BEST_EPOCH] for event in run.events() if names.BEST_EPOCH in event.values]
    return int(kept[-1]) if kept else 0


def _with_corpus(run: RunDirectory, name: str, data: str | None) -> tuple[Task, Path | None]:
    """A task of a run with the places of its files, and the data root they are read under."""
    loaded = recipe.load(run.path / "recipe.toml")
    data_root = catalogue.data_folder(data, loaded.data_root)
    (found,) = (one for one in loaded.tasks if one.name == name)
    return found.resolve(data_root, recipe_folder(run.record)), data_root


def command_options(record: RunRecord) -> argparse.Namespace:
    """The options of the command that made a run."""
    parser = argparse.ArgumentParser(add_help=False)
    job.add_options(parser)
    return parser.parse_known_args(list(record.command[1:]))[0]


def recipe_folder(record: RunRecord) -> Path:
    """The folder of the recipe that a run's command named: files of one's own tasks may lie there.

    Raises:
        ConfigError: the recipe is no more where it was.
    """
    options = command_options(record)
    if options.beside is not None:
        folder: Path = Path(record.directory) / options.beside
        return folder
    given = options.recipe
    beside = Path(record.directory) / given
    return (beside if beside.is_file() else recipe.find(given)).parent
