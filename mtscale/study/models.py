"""Models as runs: those that differ only in their seed are one model, whose stored predictions are compared.

Comparing on test is no new look at it: a stored prediction has been scored by its run, which wrote that look down, and
``looks.read`` counts the same run, epoch and gold once however often they are scored.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mtscale import names, recipe
from mtscale.corpora import catalogue
from mtscale.corpora.example import SPLITS, SplitName
from mtscale.errors import ConfigError, DataError
from mtscale.predictions import Prediction, load
from mtscale.run_summary import summarize
from mtscale.runs import RunDirectory
from mtscale.study import samples
from mtscale.study.differences import Difference, difference
from mtscale.study.samples import Scored, TestSet
from mtscale.tasks import Task

# What of a task decides the gold: not where its files lie, nor what a model reads and learns of it.
_ASKED = (
    "name",
    "kind",
    "format",
    "labels",
    "negative",
    "arguments",
    "relation",
    "candidates",
    "score_range",
    "columns",
    "scheme",
    "dev_documents",
    "dev_fraction",
    "choosing_documents",
    "folds",
    "fold",
    "split_seed",
)


@dataclass(frozen=True)
class Model:
    """Runs that together are one model. Different tasks may come from different runs, as those of finetune do."""

    name: str
    runs: tuple[RunDirectory, ...]

    @property
    def tasks(self) -> list[str]:
        """The tasks it was trained on, each once."""
        return list(dict.fromkeys(task for run in self.runs for task in run.record.tasks))

    @property
    def seeds(self) -> list[int]:
        """The seeds of its runs, each once."""
        return sorted({run.record.seed for run in self.runs})

    def of(self, task: str) -> list[RunDirectory]:
        """Its runs of a task by seed.

        Raises:
            ConfigError: they differ in more than their seed, or a seed occurs twice.
        """
        runs = sorted((run for run in self.runs if task in run.record.tasks), key=lambda run: run.record.seed)
        listed = ", ".join(run.path.name for run in runs)
        if len({run.record.group for run in runs}) > 1:
            raise ConfigError(
                f"{self.name}, task {task}: expected runs that differ in nothing but their seed, found {listed}; "
                "compare their groups with each other instead"
            )
        if len({run.record.seed for run in runs}) < len(runs):
            raise ConfigError(
                f"{self.name}, task {task}: expected one run of each seed, found {listed}; leave some out"
            )
        return runs


def fold(runs: Sequence[RunDirectory]) -> list[Model]:
    """The models that runs belong to, in the order of their first runs.

    Recipe and stage are a model's; the seed, and the task of finetune, are a run's.
    """
    found: dict[tuple[str, str], list[RunDirectory]] = {}
    for run in runs:
        found.setdefault((run.record.recipe_hash, run.record.stage), []).append(run)
    return [Model(f"{own[0].record.recipe}-{own[0].record.stage}", tuple(own)) for own in found.values()]


def protocol_of(models: Sequence[Model]) -> str:
    """The protocol that all runs share.

    Raises:
        ConfigError: they do not: scores chosen on test do not compare with others.
    """
    by_protocol: dict[str, str] = {}
    for model in models:
        for run in model.runs:
            by_protocol.setdefault(run.record.protocol, run.path.name)
    if len(by_protocol) > 1:
        found = ", ".join(f"{protocol} ({run})" for protocol, run in by_protocol.items())
        raise ConfigError(
            f"expected runs of one protocol, found {found}; scores chosen on test do not compare with others"
        )
    return next(iter(by_protocol))


class Comparer:
    """Compares models on one split; gold and scores are read once."""

    def __init__(self, split: SplitName, data: Path | None = None) -> None:
        """``data``: the folder of the corpora, instead of the one the runs were given."""
        self._split = split
        self._data = data
        self._test_sets: dict[str, tuple[dict[str, object], str, TestSet]] = {}
        self._scored: dict[tuple[str, str, tuple[Path, ...]], Scored] = {}

    def difference(self, task: str, baseline: Model, other: Model, metric: str | None = None) -> Difference:
        """Other minus baseline on a task, by its primary metric or another one of ``samples.METRICS``.

        Raises:
            ConfigError: the runs do not compare, with what to do about it.
            DataError: gold or predictions cannot be read, or do not belong together.
        """
        protocol = protocol_of([baseline, other])
        if self._split == "dev" and names.chosen_on(protocol) == "test":
            raise ConfigError(f"protocol {protocol} trains on dev, so there is no dev score: compare on test")
        one, two = (self._score(task, model, metric) for model in (baseline, other))
        test_set = self._test_sets[task][2]
        return difference(test_set, metric or test_set.task.metric, one, two)

    def _score(self, name: str, model: Model, metric: str | None) -> Scored:
        runs = model.of(name)
        if not runs:
            raise ConfigError(
                f"{model.name}: none of its runs was trained on task {name}, only on {', '.join(model.tasks)}"
            )
        for run in runs:
            self._check_gold(run, name)
        test_set = self._test_sets[name][2]
        metric = metric or test_set.task.metric
        key = name, metric, tuple(run.path for run in runs)
        if key not in self._scored:
            predictions = [_predictions(run, test_set) for run in runs]
            self._scored[key] = samples.score(test_set, metric, predictions)
            if metric == test_set.task.metric:
                for run, score in zip(runs, self._scored[key].scores, strict=True):
                    _check_recorded(run, name, self._split, score)
        return self._scored[key]

    def _check_gold(self, run: RunDirectory, name: str) -> None:
        """Read the gold of a task when its first run comes, and refuse runs that were scored on another one."""
        task, data_root = task_of(run, name, self._data)
        asked, files = _asked(task), _files_hash(run, name, self._split)
        if name not in self._test_sets:
            self._test_sets[name] = asked, files, samples.read_test_set(task, self._split, data_root)
        known, known_files, _ = self._test_sets[name]
        if (asked, files) != (known, known_files):
            what = "other corpus files" if asked == known else "other labels or settings of the task"
            raise ConfigError(f"{run.path}: task {name} has {what} than in the runs before it: they do not compare")


def task_of(run: RunDirectory, name: str, data: Path | None = None) -> tuple[Task, Path | None]:
    """A task as a run had it, and the folder of its corpora: the one given, or the run's own.

    Raises:
        ConfigError: the run has no such task.
    """
    record = run.record
    given = argparse.ArgumentParser(add_help=False)
    given.add_argument("--recipe", default="sample")
    given.add_argument("--data")
    given.add_argument("--beside")
    options, _ = given.parse_known_args(record.command[1:])
    started_in = Path(record.directory)
    loaded = recipe.load(run.path / "recipe.toml")
    data_root = catalogue.data_folder(data or (started_in / options.data if options.data else None), None)
    if data_root is None and loaded.data_root:
        data_root = started_in / Path(loaded.data_root).expanduser()
    for table in loaded.tasks:
        if table.name == name:
            beside = started_in / options.beside if options.beside else (started_in / options.recipe).parent
            return table.resolve(data_root, beside), data_root
    raise ConfigError(f"{run.path}: no task {name!r}, only {', '.join(table.name for table in loaded.tasks)}")


def _check_recorded(run: RunDirectory, task: str, split: SplitName, score: float) -> None:
    """Refuse a gold or predictions that are not those which the run was scored with."""
    scores = summarize(run)["scores"][task]
    recorded = scores["dev"] if split == "dev" else scores["test"]
    if recorded is not None and not math.isclose(recorded, score, abs_tol=1e-9):
        raise DataError(
            f"{run.path}: task {task} has the score {recorded:.6f} on {split} in its events, its predictions have "
            f"{score:.6f} against the corpus at hand: the corpus or the predictions have changed since; "
            "give the folder of the corpora that it was trained on with --data"
        )


def _asked(task: Task) -> dict[str, object]:
    return {name: getattr(task, name) for name in _ASKED}


def _files_hash(run: RunDirectory, task: str, split: SplitName) -> str:
    """Of the corpus files of a split, as the run found them."""
    recorded = run.record.data_hashes.get(task, "").split("-")
    return recorded[SPLITS.index(split)] if len(recorded) == len(SPLITS) else "-".join(recorded)


def _predictions(run: RunDirectory, test_set: TestSet) -> list[Prediction]:
    path = run.path / "predictions" / f"{test_set.split}.{test_set.task.name}.jsonl"
    if not path.is_file():
        state = run.state()
        raise ConfigError(
            f"{run.path} ({state}): no predictions of {test_set.task.name} on {test_set.split}. A run stores those "
            f"on test at its end; finish it (`mtscale runs resume {run.path.name}`), or leave it out"
        )
    return load(path, test_set.task)
