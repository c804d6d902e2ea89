"""How long the units of a study will take and how much disk they need, and what a time budget allows.

The tasks are encoded once, whole; for a subsample the work is taken in proportion to its documents.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from mtscale import ds_config, names
from mtscale.ds_config import JsonObject, Machine
from mtscale.errors import ConfigError, MtscaleError
from mtscale.model.encoder import load_tokenizer, locate
from mtscale.recipe import Recipe, StageName
from mtscale.study import plan as planning
from mtscale.study.plan import Plan, Size, Unit
from mtscale.study.spec import EncoderSource, Study
from mtscale.tasks import Task
from mtscale.training import duration
from mtscale.training.estimate import size_of
from mtscale.training.loop import Splits
from mtscale.training.stages import encode_tasks

# A run in a worker that has its imports behind it: encoder, engine, evaluation's first pass, checkpoints.
RUN_SECONDS = 4.0
BYTES_OF_WEIGHT = 4
BYTES_OF_STATE = 16
KEPT_STATES = 2
# A budget is met with fewer documents first, down to a tenth of them, and only then with fewer epochs.
SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.17, 0.1)


@dataclass(frozen=True)
class Estimate:
    """Seconds of each unit in one worker, of the whole study, and bytes on disk at its fullest."""

    seconds: Mapping[str, float]
    total: float
    disk: float


class Estimator:
    """Knows the tasks' lengths and the machine's speed."""

    def __init__(
        self, study: Study, folder: Path, runs: Path, data_root: Path | None, machine: Machine, config: JsonObject
    ) -> None:
        self._study, self._folder, self._runs = study, folder, runs
        self._data_root, self._machine, self._config = data_root, machine, config
        self._splits: dict[str, Splits] = {}
        self._documents: dict[str, int] = {}
        self._pretraining: dict[str, float] = {}
        self._shapes: dict[str, tuple[PretrainedConfig, duration.Size]] = {}

    def plan(self, size: Size, workers: int) -> tuple[Plan, Estimate]:
        """The plan of a size, and what it takes."""
        made = planning.make(self._study, self._folder, self._runs, size)
        seconds = {unit.name: self._seconds(unit) for unit in made.units}
        # Workers on one CPU share what one alone would have; GPUs add up.
        at_once = workers if self._machine.accelerator == "cuda" else 1
        total = sum(seconds.values()) / at_once + duration.START_SECONDS
        return made, Estimate(seconds, total, sum(map(self._disk, made.units)) + workers * self._state(made))

    def fit(self, budget_seconds: float, workers: int) -> tuple[Plan, Estimate]:
        """The largest of the sizes that fits the budget.

        Raises:
            ConfigError: not even the smallest one does.
        """
        plan, estimate = self.plan(Size(), workers)
        for size in self._sizes(plan):
            if estimate.total <= budget_seconds:
                return plan, estimate
            plan, estimate = self.plan(size, workers)
        if estimate.total <= budget_seconds:
            return plan, estimate
        raise ConfigError(
            f"study {self._study.name}: at its smallest (one epoch, a tenth of the documents) it is estimated at "
            f"{estimate.total / 60:.0f} minutes, more than the {budget_seconds / 60:.0f} allowed: take fewer "
            "seeds or parts"
        )

    def _sizes(self, whole: Plan) -> Iterator[Size]:
        """Smaller and smaller ones."""
        refine, finetune = _epochs(whole)
        most = max(self._documents.values(), default=0)
        while True:
            for share in SHARES:
                yield Size(refine, finetune, None if share == 1.0 else ceil(share * most))
            if refine == 1 and finetune in (1, None):
                return
            refine, finetune = ceil(refine / 2), None if finetune is None else ceil(finetune / 2)

    def _seconds(self, unit: Unit) -> float:
        if unit.kind == "pretrain":
            return self._pretrain_seconds(unit)
        splits = self._encoded(unit.recipe)
        stages: list[tuple[StageName, tuple[str, ...]]] = [("refine", unit.tasks)]
        stages += [("finetune", (task,)) for task in unit.finetuned]
        return sum(self._stage_seconds(unit.recipe, stage, tasks, splits) for stage, tasks in stages)

    def _stage_seconds(self, recipe: Recipe, stage: StageName, tasks: tuple[str, ...], splits: Splits) -> float:
        settings = recipe.settings(stage)
        shares = {table.name: self._share(table.name, table.train_documents) for table in recipe.tasks}
        counts = {task: ceil(len(splits[task]["train"].rows) * shares[task] / settings.batch_size) for task in tasks}
        work = duration.work_of(
            counts, settings.epochs, settings.batch_size, splits, chosen_on=names.chosen_on(recipe.protocol)
        )
        config, size = self._shape(recipe)
        resolved = ds_config.resolve(
            self._config,
            batch_size=settings.batch_size,
            clip=settings.clip,
            world_size=1,
            machine=self._machine,
        )
        seconds = duration.seconds(work, config, size, resolved.precision, self._machine.accelerator, ranks=1)
        return seconds - duration.START_SECONDS + RUN_SECONDS

    def _share(self, task: str, documents: int | None) -> float:
        return 1.0 if documents is None else min(1.0, documents / self._documents[task])

    def _encoder(self, recipe: Recipe) -> str:
        """The encoder of a recipe, or, while it is not made yet, the one it will be made from."""
        if Path(recipe.encoder.name).is_dir() or not Path(recipe.encoder.name).is_absolute():
            return recipe.encoder.name
        return self._stand_in()

    def _stand_in(self) -> str:
        """An encoder of the study that exists: what a pretrained one is like is not known before."""
        named = [source for source in self._study.encoders.values() if isinstance(source, str)]
        return named[0] if named else "sample"

    def _encoded(self, recipe: Recipe) -> Splits:
        encoder = self._encoder(recipe)
        known = self._splits.setdefault(encoder, {})
        wanted = [self._whole(table.name) for table in recipe.tasks if table.name not in known]
        if wanted:
            whole = recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update={"name": encoder})})
            found = encode_tasks(whole, wanted, self._data_root, load_tokenizer(encoder))
            self._splits[encoder] = {**known, **found}
            for name, splits in found.items():
                self._documents[name] = len(set(splits["train"].rows["document"]))
        return self._splits[encoder]

    def _whole(self, name: str) -> Task:
        table = next(table for table in self._study.tasks if table.name == name)
        return replace(table.resolve(self._data_root, self._folder), train_documents=None)

    def _pretrain_seconds(self, unit: Unit) -> float:
        """What `mtscale train --dry-run` says of it."""
        source = self._study.encoders[unit.encoder]
        assert isinstance(source, EncoderSource)
        if source.pretrain not in self._pretraining:
            command = [sys.executable, "-m", "mtscale.cli", "train", "--recipe", source.pretrain, "--dry-run", "--json"]
            command += [] if self._data_root is None else ["--data", str(self._data_root)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise MtscaleError(f"the plan of {source.pretrain} failed: {done.stderr.strip()}")
            self._pretraining[source.pretrain] = float(json.loads(done.stdout)["seconds"])
        return self._pretraining[source.pretrain]

    def _parameters(self, unit: Unit) -> int:
        return self._shape(unit.recipe)[1].parameters

    def _shape(self, recipe: Recipe) -> tuple[PretrainedConfig, duration.Size]:
        encoder = self._encoder(recipe)
        if encoder not in self._shapes:
            config = AutoConfig.from_pretrained(locate(encoder), trust_remote_code=False)
            self._shapes[encoder] = config, size_of(config)
        return self._shapes[encoder]

    def _disk(self, unit: Unit) -> float:
        return len(unit.runs) * BYTES_OF_WEIGHT * self._parameters(unit)

    def _state(self, plan: Plan) -> float:
        return KEPT_STATES * BYTES_OF_STATE * max(map(self._parameters, plan.units), default=0)


def _epochs(plan: Plan) -> tuple[int, int | None]:
    """The epochs of refine and, where a model is trained on, of finetune."""
    recipes = [unit.recipe for unit in plan.units if unit.kind != "pretrain"]
    refine = max((recipe.refine.epochs for recipe in recipes), default=1)
    finetune = [recipe.finetune.epochs for recipe in recipes if "finetune" in recipe.stages]
    return refine, max(finetune) if finetune else None
