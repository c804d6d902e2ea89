"""A study whose runs are all there, with predictions made of the gold: what a report looks like when all is trained.

``python -m tests.finished_study STUDY FOLDER`` makes one and its report, to be looked at.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from mtscale import judge, names
from mtscale.corpora import catalogue
from mtscale.predictions import load
from mtscale.runs import RunDirectory
from mtscale.study import plan as planning
from mtscale.study import report, spec
from mtscale.study.plan import Plan, Unit
from mtscale.study.store import Outcome, StudyFolder
from mtscale.tasks import TASKS
from mtscale.training import looks
from tests.noisy import run_with_predictions

EPOCHS = 3
# What part of the predictions is right, alone; each further task adds, fine-tuning adds once more.
RIGHT, BY_TASK, BY_FINETUNING = 0.6, 0.06, 0.03


def finish(plan: Plan, folder: StudyFolder) -> None:
    """Make every run of a plan on the packaged tasks."""
    for place, unit in enumerate(plan.units):
        if unit.kind == "pretrain":
            _pretrained(folder.runs, unit)
        else:
            right = RIGHT + BY_TASK * (len(unit.tasks) - 1) + 0.01 * unit.seed
            _run(folder.runs, unit, unit.name, unit.tasks, right)
            for task in unit.finetuned:
                _run(folder.runs, unit, unit.run_of(task, finetuned=True), (task,), right + BY_FINETUNING)
        folder.add(Outcome(unit.name, 0, "", 60.0 + place))


def _pretrained(runs: Path, unit: Unit) -> None:
    run = run_with_predictions(
        runs, unit.name, 0.0, seed=unit.seed, recipe=unit.recipe.name, tasks=(), stage="pretrain"
    )
    for epoch, perplexity in enumerate((4000.0, 130.0, 90.0)):
        values = {names.HELDOUT_PERPLEXITY: perplexity, names.UNIGRAM_PERPLEXITY: 700.0}
        run.append_event("heldout", 10 * epoch, epoch, values)
    run.append_event("best", 20, 2, {names.BEST_PERPLEXITY: 90.0, names.BEST_EPOCH: 2})


def _run(runs: Path, unit: Unit, name: str, tasks: Sequence[str], right: float) -> None:
    protocol = unit.recipe.protocol
    run = run_with_predictions(
        runs,
        name,
        right,
        seed=unit.seed,
        recipe=unit.recipe.name,
        tasks=tasks,
        splits=("test",),
        protocol=protocol,
        stage="refine" if name == unit.name else "finetune",
    )
    source, chosen = random.Random(name), names.chosen_on(protocol)
    on_test: dict[str, float] = {}
    for task in tasks:
        made = load(run.path / "predictions" / f"test.{task}.jsonl", TASKS[task])
        found = judge.score_against(TASKS[task], catalogue.read_gold(TASKS[task], "test", None), made).values
        on_test |= {names.metric("test", task, metric): value for metric, value in found.items()}
        on_test[names.metric("test", task, names.FLOOR)] = 0.3
    # The second epoch is kept.
    for epoch, less in enumerate((0.2, 0.0, 0.02), start=1):
        values = {
            names.metric(chosen, task, names.SCORE): on_test[names.metric("test", task, names.SCORE)] - less
            for task in tasks
        }
        run.append_event(chosen, 10 * epoch, epoch, values if less or chosen == "dev" else on_test)
        if chosen == "test" or not less:
            for task in tasks:
                looks.record(runs, looks.Look(name, run.record.id, task, epoch, "gold", protocol))
        if len(tasks) > 1 and unit.recipe.refine.affinity_every:
            _sample(run, 10 * epoch, tasks, source)
    kept = {names.best(task, chosen): on_test[names.metric("test", task, names.SCORE)] for task in tasks}
    run.append_event("best", 20, 2, {**kept, names.BEST_EPOCH: 2})
    if chosen == "dev":
        run.append_event("test", 30, 2, on_test)


def _sample(run: RunDirectory, step: int, tasks: Sequence[str], source: random.Random) -> None:
    values = {names.AFFINITY_SECONDS: 1.5, names.AFFINITY_SHARE: 0.2}
    for one in tasks:
        for other in tasks:
            if one < other:
                values[names.cosine(one, other)] = values[names.cosine(other, one)] = source.uniform(-0.2, 0.5)
            if one != other:
                values[names.lookahead(one, other)] = source.uniform(-0.001, 0.004)
    run.append_event("affinity", step, step // 10, values)


def make(study: spec.Study, beside: Path, runs: Path) -> tuple[Plan, StudyFolder]:
    """Plan a study and finish it."""
    plan, folder = planning.make(study, beside, runs), StudyFolder(runs, study.name)
    seconds = {unit.name: 60.0 for unit in plan.units}
    folder.save(plan, beside, seconds, command=[study.name, "--budget", "48"], machine="a CPU, 2 cores")
    finish(plan, folder)
    return plan, folder


if __name__ == "__main__":
    path, found = spec.find(sys.argv[1])
    planned, made = make(found, path.parent, Path(sys.argv[2]).absolute())
    print("\n".join(map(str, report.write(planned, made, made.path / "report", path.parent, None))))
