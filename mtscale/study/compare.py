"""The command ``mtscale runs compare``: what models gain over a baseline, task by task, and whether it is real."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mtscale import names
from mtscale.corpora.example import SplitName
from mtscale.errors import EXIT_FINISHED, ConfigError
from mtscale.runs import RunDirectory, find_run
from mtscale.study import run_settings
from mtscale.study.differences import RULE, Adjusted, adjust
from mtscale.study.models import Comparer, Model, fold, protocol_of
from mtscale.training import job, looks
from mtscale.training.tables import number, table


@dataclass(frozen=True)
class _Compared:
    """The models, the baseline first, and the differences of each of the others from it."""

    models: list[Model]
    split: SplitName
    protocol: str
    differences: list[tuple[int, Adjusted]]

    def of(self, place: int) -> list[Adjusted]:
        return [one for owner, one in self.differences if owner == place]


def run(options: argparse.Namespace) -> int:
    """Compare, print; returns the exit code.

    Raises:
        ConfigError: the runs do not compare, with what to do about it.
        DataError: gold or predictions cannot be read, or do not belong together.
    """
    root = job.runs_folder(options.runs)
    given = _distinct(find_run(root, wanted) for wanted in options.run)
    models = _models(given, _distinct(find_run(root, wanted) for wanted in options.baseline or ()))
    protocol = protocol_of(models)
    split: SplitName = options.split or names.chosen_on(protocol)
    comparer = Comparer(split, options.data)
    found = [
        (place, comparer.difference(task, models[0], model))
        for place, model in enumerate(models[1:], start=1)
        for task in _shared_tasks(models[0], model, options.task)
    ]
    adjusted = adjust([one for _, one in found])
    differences = [(place, one) for (place, _), one in zip(found, adjusted, strict=True)]
    compared = _Compared(models, split, protocol, differences)
    print(json.dumps(_as_json(compared), indent=2) if options.json else _as_text(compared))
    return EXIT_FINISHED


def _distinct(runs: Iterable[RunDirectory]) -> list[RunDirectory]:
    """Each run once, however often and by whatever name it was given."""
    return list({run.record.id: run for run in runs}.values())


def _models(given: Sequence[RunDirectory], baseline: Sequence[RunDirectory]) -> list[Model]:
    """The baseline, of which different tasks may come from different recipes, and the others."""
    if not baseline:
        models = fold(given)
    else:
        ids = {run.record.id for run in baseline}
        folded = fold(baseline)
        name = folded[0].name if len(folded) == 1 else "baseline"
        models = [Model(name, tuple(baseline)), *fold([run for run in given if run.record.id not in ids])]
    if len(models) < 2:
        raise ConfigError(
            f"expected runs of at least two models, found only {models[0].name}: runs of one recipe and stage that "
            "differ in their seed are one model"
        )
    return models


def _shared_tasks(baseline: Model, other: Model, wanted: Sequence[str] | None) -> list[str]:
    shared = [task for task in baseline.tasks if task in other.tasks]
    missing = [task for task in wanted or () if task not in shared]
    if missing or not shared:
        raise ConfigError(
            f"{baseline.name} and {other.name} share {'the tasks ' + ', '.join(shared) if shared else 'no task'}"
            + (f", not {', '.join(missing)}" if missing else "; give runs of the same tasks")
        )
    return [task for task in shared if not wanted or task in wanted]


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"A{place}"


def _as_json(compared: _Compared) -> dict[str, Any]:
    return {
        "split": compared.split,
        "protocol": compared.protocol,
        "optimistic": names.chosen_on(compared.protocol) == "test",
        "rule": RULE,
        "models": [
            {
                "key": _letter(place),
                "name": model.name,
                "seeds": model.seeds,
                "runs": [{"id": one.record.id, "dir": str(one.path)} for one in model.runs],
            }
            for place, model in enumerate(compared.models)
        ],
        "baseline": _letter(0),
        "differences": [_row_as_json(place, one) for place, one in compared.differences],
        "settings": run_settings.differing([model.runs for model in compared.models]),
        "test_looks": _looks(compared),
    }


def _row_as_json(place: int, adjusted: Adjusted) -> dict[str, Any]:
    one = adjusted.difference
    low, high = one.interval
    return {
        "model": _letter(place),
        "task": one.task,
        "metric": one.metric,
        "baseline_mean": one.baseline_mean,
        "baseline_deviation": one.baseline_deviation,
        "mean": one.other_mean,
        "deviation": one.other_deviation,
        "difference": one.difference,
        "low": low,
        "high": high,
        "p": one.p,
        "clusters": one.comparison.clusters,
        "seeds": one.comparison.seeds,
        "label": one.label,
        "adjusted": {"low": adjusted.low, "high": adjusted.high, "p": adjusted.p, "verdict": adjusted.verdict},
    }


def _as_text(compared: _Compared) -> str:
    optimistic = "" if names.chosen_on(compared.protocol) == "dev" else f", {names.OPTIMISTIC}"
    lines = [f"{compared.split}, protocol {compared.protocol}{optimistic}"]
    for place, model in enumerate(compared.models):
        runs = ", ".join(one.path.name for one in model.runs)
        seeds = ", ".join(map(str, model.seeds))
        lines.append(f"{_letter(place)}  {model.name}, seed {seeds}: {runs}")
    parts = ["\n".join(lines), *(_table(compared, place) for place in range(1, len(compared.models)))]
    if settings := run_settings.differing([model.runs for model in compared.models]):
        header = ["setting", *(_letter(place) for place in range(len(compared.models)))]
        parts.append(table(header, [[name, *values] for name, values in settings.items()]))
    return "\n\n".join([*parts, "\n".join(_notes(compared))])


def _table(compared: _Compared, place: int) -> str:
    """A row a task, and the plain means, whose tasks may share documents, so that they have no interval."""
    key, base = _letter(place), _letter(0)
    header = ["task", "metric", base, key, f"{key} - {base}", "95 % interval", "p", "clusters"]
    header += ["adjusted interval", "adjusted p", ""]
    found = compared.of(place)
    rows = [_row(one) for one in found]
    if len(found) > 1:
        means = [
            sum(values) / len(found)
            for values in zip(
                *((one.difference.baseline_mean, one.difference.other_mean) for one in found), strict=True
            )
        ]
        rows.append(["macro average", "", *map(number, means), f"{means[1] - means[0]:+.4f}", *6 * [""]])
    return table(header, rows)


def _row(adjusted: Adjusted) -> list[str]:
    one = adjusted.difference
    return [
        one.task,
        one.metric,
        _spread(one.baseline_mean, one.baseline_deviation),
        _spread(one.other_mean, one.other_deviation),
        f"{one.difference:+.4f}",
        _interval(*one.interval),
        f"{one.p:.4f}",
        str(one.comparison.clusters),
        _interval(adjusted.low, adjusted.high),
        f"{adjusted.p:.4f}",
        adjusted.verdict,
    ]


def _spread(mean: float, deviation: float | None) -> str:
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def _interval(low: float, high: float) -> str:
    return f"{low:+.4f} {high:+.4f}"


def _notes(compared: _Compared) -> list[str]:
    """What has to be said with the numbers."""
    lines = [f"{len(compared.differences)} comparisons. {RULE}."]
    labels: dict[str, list[str]] = {}
    for place, one in compared.differences:
        if one.difference.label:
            labels.setdefault(one.difference.label, []).append(f"{_letter(place)} {one.difference.task}")
    lines += [f"{label}: {', '.join(owners)}" for label, owners in labels.items()]
    if looked := _looks(compared):
        lines.append("looks at test: " + ", ".join(f"{task} {count}" for task, count in looked.items()))
    return lines


def _looks(compared: _Compared) -> dict[str, int]:
    """How often the test sets compared were looked at, from the folders that the runs stand in."""
    if compared.split != "test":
        return {}
    counts: Counter[str] = Counter()
    for folder in {run.path.resolve().parent for model in compared.models for run in model.runs}:
        counts.update(looks.count_test_looks(folder))
    tasks = dict.fromkeys(one.difference.task for _, one in compared.differences)
    return {task: counts[task] for task in tasks}
