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
from mtscale.recipe import Protocol, Recipe, StageName
from mtscale.recipe_tasks import TaskTable
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
# Of its documents, a budget leaves the largest task this share at least, as many as fit to within the other.
LEAST_SHARE, STEP_SHARE = 0.1, 0.02


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
        self._splits: dict[tuple[str, Protocol], Splits] = {}
        self._documents: dict[str, tuple[int, int]] = {}
        self._pretraining: dict[str, float] = {}
        self._shapes: dict[str, tuple[PretrainedConfig, duration.Size]] = {}

    def plan(self, size: Size, workers: int) -> tuple[Plan, Estimate]:
        """The plan of a size, and what it takes."""
        made = planning.make(self._study, self._folder, self._runs, size)
        seconds = {unit.name: self._seconds(unit) for unit in made.units}
        # GPUs add up. Workers of one thread each share the cores, but without what one of several threads loses.
        shared = 1.0 if workers == 1 else 1 / duration.SCALING
        gpus = min(workers, max(1, self._machine.gpu_count))  # one place each, however many workers are asked for
        at_once = gpus if self._machine.accelerator == "cuda" else shared
        total = sum(seconds.values()) / at_once + duration.START_SECONDS
        return made, Estimate(seconds, total, sum(map(self._disk, made.units)) + workers * self._state(made))

    def fit(self, budget_seconds: float, workers: int) -> tuple[Plan, Estimate]:
        """The largest of the sizes that fits the budget: fewer documents, down to a share, and only then fewer epochs.

        Raises:
            ConfigError: not even the smallest one does.
        """
        whole, estimate = self.plan(Size(), workers)
        if estimate.total <= budget_seconds:
            return whole, estimate
        limits = {table.name: table.train_documents for table in self._study.tasks}
        most = max((min(train, limits[name] or train) for name, (train, _) in self._documents.items()), default=1)
        for refine, finetune in _fewer_epochs(*_epochs(whole)):
            found = self._most_documents(refine, finetune, most, budget_seconds, workers)
            if found is not None:
                return found
        raise ConfigError(
            f"study {self._study.name}: at its smallest (one epoch, a tenth of the documents) it is estimated at "
            f"{self.plan(Size(1, 1, ceil(LEAST_SHARE * most)), workers)[1].total / 60:.0f} minutes, more than the "
            f"{budget_seconds / 60:.0f} allowed: take fewer seeds or parts"
        )

    def _most_documents(
        self, refine: int, finetune: int | None, most: int, budget_seconds: float, workers: int
    ) -> tuple[Plan, Estimate] | None:
        """With so many epochs, all documents or as many as fit the budget; None if not even the least share does."""

        def fitting(documents: int | None) -> tuple[Plan, Estimate] | None:
            plan, estimate = self.plan(Size(refine, finetune, documents), workers)
            return (plan, estimate) if estimate.total <= budget_seconds else None

        if (all_of_them := fitting(None)) is not None:
            return all_of_them
        fits, too_many = ceil(LEAST_SHARE * most), most
        best = fitting(fits)
        while best is not None and too_many - fits > max(1, STEP_SHARE * most):
            between = (fits + too_many) // 2
            if (found := fitting(between)) is None:
                too_many = between
            else:
                fits, best = between, found
        return best

    def _seconds(self, unit: Unit) -> float:
        if unit.kind == "pretrain":
            return self._pretrain_seconds(unit)
        splits = self._encoded(unit.recipe)
        stages: list[tuple[StageName, tuple[str, ...]]] = [("refine", unit.tasks)]
        stages += [("finetune", (task,)) for task in unit.finetuned]
        return sum(self._stage_seconds(unit.recipe, stage, tasks, splits) for stage, tasks in stages)

    def _stage_seconds(self, recipe: Recipe, stage: StageName, tasks: tuple[str, ...], splits: Splits) -> float:
        settings = recipe.settings(stage)
        shares = {table.name: self._share(table, recipe.protocol) for table in recipe.tasks}
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
        device = self._machine.accelerator
        seconds = duration.seconds(work, config, size, resolved.precision, device, ranks=1)
        sampled = duration.affinity_work(work, settings.affinity_every, len(tasks), settings.batch_size)
        # Affinities are computed in float32, whatever the precision.
        seconds += duration.seconds_on_pieces(sampled, config, size, "fp32", device, ranks=1)
        return seconds - duration.START_SECONDS + RUN_SECONDS

    def _share(self, table: TaskTable, protocol: Protocol) -> float:
        """The part of the documents that are trained on; protocol ``paper`` trains on dev too, with the same limit."""
        train, dev = self._documents[table.name]
        whole = (train, dev) if protocol == "paper" else (train,)
        limit = table.train_documents
        return 1.0 if limit is None else sum(min(limit, count) for count in whole) / sum(whole)

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
        known = self._splits.setdefault((encoder, recipe.protocol), {})
        wanted = [self._on_all_of_train(table.name) for table in recipe.tasks if table.name not in known]
        if wanted:
            whole = recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update={"name": encoder})})
            found = encode_tasks(whole, wanted, self._data_root, load_tokenizer(encoder))
            self._splits[encoder, recipe.protocol] = {**known, **found}
            for name, splits in found.items():
                train, dev = (len(set(splits[split].rows["document"])) for split in ("train", "dev"))
                self._documents[name] = (train - dev if recipe.protocol == "paper" else train), dev
        return self._splits[encoder, recipe.protocol]

    def _on_all_of_train(self, name: str) -> Task:
        table = next(table for table in self._study.tasks if table.name == name)
        return replace(table.resolve(self._data_root, self._folder), train_documents=None)

    def _pretrain_seconds(self, unit: Unit) -> float:
        """What `mtscale train --dry-run` says of it."""
        source = self._study.encoders[unit.encoder]
        assert isinstance(source, EncoderSource)
        if source.pretrain not in self._pretraining:
            found = str(planning.pretraining_recipe(source, self._folder))
            command = [sys.executable, "-m", "mtscale.cli", "train", "--recipe", found, "--dry-run", "--json"]
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


def _fewer_epochs(refine: int, finetune: int | None) -> Iterator[tuple[int, int | None]]:
    """All, then half of them and so on, down to one."""
    yield refine, finetune
    while refine > 1 or (finetune or 1) > 1:
        refine, finetune = ceil(refine / 2), None if finetune is None else ceil(finetune / 2)
        yield refine, finetune
