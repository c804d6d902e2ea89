"""One run: the epochs of a stage (Algorithm 1 of the paper), the choice of an epoch, the looks at test.

Protocol ``clean`` chooses the epoch on dev and scores test once, at the end. Protocol ``paper`` does what the authors'
code does: every epoch is scored on test, and the best one there is reported.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from mtscale import judge, names
from mtscale.corpora import catalogue
from mtscale.corpora.example import Gold, SplitName
from mtscale.ds_config import ResolvedDsConfig
from mtscale.inputs.batches import Batch, collate, slice_rows
from mtscale.inputs.cache import EncodedSplit
from mtscale.inputs.mixing import Mixture
from mtscale.inputs.schedule import Rows, Schedule, ScheduledBatch
from mtscale.metrics.scoring import TaskScore, macro_score
from mtscale.model.multitask import MultiTaskModel
from mtscale.predictions import Prediction, store
from mtscale.pretraining.text import PretrainText
from mtscale.procedure import CLEAN_PROCEDURE, PaperSettings
from mtscale.recipe import Protocol, StageName
from mtscale.recipe_sections import StageSettings
from mtscale.runs import RunDirectory, write_atomically
from mtscale.tasks import Task
from mtscale.tracking.figures import confusion_figure
from mtscale.training import checkpoint, looks
from mtscale.training.affinity import AffinityProbe
from mtscale.training.checkpoint import LoopState
from mtscale.training.distributed import Ranks, barrier, broadcast
from mtscale.training.engine import Engine
from mtscale.training.evaluate import predict
from mtscale.training.journal import Journal, SilentJournal
from mtscale.training.steps import StepLoop
from mtscale.training.stop import StopRequest

logger = logging.getLogger(__name__)


Splits = Mapping[str, Mapping[SplitName, EncodedSplit]]


@dataclass(frozen=True)
class RunPlan:
    """One run of a recipe: a stage, a seed, its tasks (finetune: one) and the encoder it starts from."""

    name: str
    stage: StageName
    seed: int
    tasks: tuple[Task, ...]
    settings: StageSettings
    encoder: str
    protocol: Protocol
    resolved: ResolvedDsConfig
    procedure: PaperSettings = CLEAN_PROCEDURE

    @property
    def chosen_on(self) -> SplitName:
        """The split whose scores choose the epoch."""
        return names.chosen_on(self.protocol)


@dataclass(frozen=True)
class Surroundings:
    """What all runs of a process share."""

    runs: Path
    data_root: Path | None
    splits: Splits
    tokenizer: PreTrainedTokenizerBase
    ranks: Ranks
    device: torch.device
    stop: StopRequest
    text: PretrainText | None = None


@dataclass(frozen=True)
class TaskResult:
    """A line of the results table: a task, its metric, and scores by the heads of their columns."""

    task: str
    metric: str
    scores: Mapping[str, float]


class Loop(StepLoop):
    """Trains and evaluates one run inside its directory ``folder``."""

    state: LoopState

    def __init__(
        self,
        plan: RunPlan,
        around: Surroundings,
        model: MultiTaskModel,
        folder: Path,
        journal: Journal | SilentJournal,
    ) -> None:
        self.plan = plan
        self.around = around
        self.model = model
        self.schedule = schedule_of(plan.tasks, plan.settings, plan.seed, around.splits)
        self.steps_per_epoch = self.schedule.steps_per_epoch
        super().__init__(folder, journal, around.ranks, self.steps_per_epoch * plan.settings.epochs)
        self.engine = Engine(
            model, plan.settings, plan.resolved, self.steps, around.ranks, around.device, plan.procedure
        )
        self.state = LoopState()
        train = {task.name: around.splits[task.name]["train"] for task in plan.tasks}
        self._affinity = AffinityProbe(
            model, train, self.schedule, plan.settings, plan.resolved, around.ranks, around.device
        )
        self._gold: dict[tuple[str, SplitName], Gold] = {}

    def resume(self) -> None:
        """Go on from the newest whole state of the run directory, if there is one."""
        self.state = checkpoint.load_state(self.checkpoints, self.engine, self.around.ranks, LoopState) or self.state

    def run(self) -> list[TaskResult] | None:
        """Train to the end; the results, or None if the run was stopped before (its state is saved)."""
        while self.state.epochs_done < self.plan.settings.epochs and not self._is_out_of_patience():
            epoch = self.state.epochs_done + 1
            if not self._train_epoch(epoch):
                self.journal.stopping()
                self._save_state()
                return None
            self._evaluate_epoch(epoch)
            self.state.epochs_done = epoch
            self._save_state()
        return self._score_test() if self.plan.chosen_on == "dev" else self._scores_on_test()

    def _is_out_of_patience(self) -> bool:
        """Whether dev has not got better for as many epochs as the recipe allows; asked of a resumed run too."""
        patience, done = self.plan.settings.patience, self.state.epochs_done
        if patience is None or done - self.state.best_epoch < patience:
            return False
        logger.info("no better dev score for %d epochs: ending after epoch %d", patience, done)
        return True

    def _train_epoch(self, epoch: int) -> bool:
        """Whether the epoch was trained to its end; False if a stop was agreed on before."""
        self.engine.train()
        batches = self.schedule.epoch(epoch)
        done = self.state.step - (epoch - 1) * self.steps_per_epoch
        for scheduled in islice(batches, done, None):
            if self._is_asked_to_stop(self.around.stop, self.around.device, epoch):
                return False
            self._step(scheduled, epoch)
            if self._affinity.is_due(self.state.step):
                values = self._affinity.measure(self.state.step)
                self.journal.log("affinity", self.state.step, epoch, values)
        return True

    def _step(self, scheduled: ScheduledBatch, epoch: int) -> None:
        encoded = self.around.splits[scheduled.task]["train"]
        terms = int(encoded.terms[scheduled.rows].sum())
        started = time.perf_counter()
        slices = self._slices(encoded, scheduled.rows)
        pieces = int(encoded.lengths[scheduled.rows].sum())
        self._train_step(scheduled.task, slices, terms, epoch, len(scheduled.rows), pieces, started)

    def _slices(self, encoded: EncodedSplit, rows: Rows) -> list[Batch]:
        """This rank's slices as tensors; an empty one becomes a row without labels, which adds zero to the loss."""
        ranks, device = self.around.ranks, self.around.device
        slices = []
        for own in slice_rows(rows, ranks.world_size, self.plan.resolved.accumulation, ranks.rank):
            batch = collate(encoded.rows, own if len(own) else rows[:1], encoded.task.kind)
            slices.append((batch if len(own) else batch.without_labels()).to(device))
        return slices

    def _learned(self) -> dict[str, float]:
        if self.plan.settings.loss_weights == "static":
            return {}
        return {names.loss_weight(task.name): self.model.head(task.name).weight() for task in self.plan.tasks}

    def _evaluate_epoch(self, epoch: int) -> None:
        """Score the split that chooses, and keep the epoch if its macro score is the best so far."""
        split = self.plan.chosen_on
        scores: dict[str, float] = {}
        predictions: dict[str, list[Prediction]] = {}
        reports: dict[str, TaskScore] = {}
        for task in self.plan.tasks:
            predictions[task.name] = self._predict(task, split)
            if self.around.ranks.is_main:
                reports[task.name] = self._judge(task, split, epoch, predictions[task.name])
                scores[task.name] = reports[task.name].values[names.SCORE]
        scores = broadcast(scores, self.around.ranks)
        macro = macro_score(scores)
        values = {names.macro(split): macro}
        for name, report in reports.items():
            values |= {names.metric(split, name, metric): value for metric, value in report.values.items()}
        if epoch == 1 and self.around.ranks.is_main:
            values |= self._floors(split)
        self.journal.log(split, self.state.step, epoch, values)
        shown = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
        logger.info("epoch %d: %s macro %.4f (%s)", epoch, split, macro, shown)
        own = self.state.own_best_scores
        self.state.own_best_scores = {name: max(score, own.get(name, score)) for name, score in scores.items()}
        self.state.last_scores = dict(scores)
        if macro > self.state.best_macro:
            self._keep(epoch, macro, scores, predictions, reports)

    def _judge(self, task: Task, split: SplitName, epoch: int, predictions: Sequence[Prediction]) -> TaskScore:
        """Score an epoch's predictions; a look at test is written down first. The gold is read once a run."""
        if split == "test":
            run_id = RunDirectory(self.folder).record.id
            gold_hash = self.around.splits[task.name]["test"].source_hash
            look = looks.Look(self.plan.name, run_id, task.name, epoch, gold_hash, self.plan.protocol)
            looks.record(self.around.runs, look)
        key = task.name, split
        if key not in self._gold:
            self._gold[key] = catalogue.read_gold(task, split, self.around.data_root)
        return judge.score_against(task, self._gold[key], predictions)

    def _floors(self, split: SplitName) -> dict[str, float]:
        """What constants and dictionaries reach on a split, by name."""
        return {
            names.metric(split, task.name, metric): value
            for task in self.plan.tasks
            for metric, value in judge.floor(task, split, self.around.data_root).items()
        }

    def _keep(
        self,
        epoch: int,
        macro: float,
        scores: Mapping[str, float],
        predictions: Mapping[str, Sequence[Prediction]],
        reports: Mapping[str, TaskScore],
    ) -> None:
        split = self.plan.chosen_on
        self.state.best_epoch, self.state.best_macro, self.state.best_scores = epoch, macro, dict(scores)
        if self.around.ranks.is_main:
            checkpoint.save_best(self.checkpoints, self.engine, self.model, self.around.tokenizer)
            for task, made in predictions.items():
                self._store(split, task, made, reports[task])
        barrier(self.around.ranks)
        kept = {names.best(task, split): score for task, score in scores.items()}
        kept |= {names.best(names.MACRO, split): macro, names.BEST_STEP: self.state.step, names.BEST_EPOCH: epoch}
        self.journal.log("best", self.state.step, epoch, kept)

    def _predict(self, task: Task, split: SplitName) -> list[Prediction]:
        around = self.around
        batch_size = 2 * self.plan.resolved.micro_batch
        encoded = around.splits[task.name][split]
        return predict(self.engine, encoded, batch_size, around.ranks)

    def _score_test(self) -> list[TaskResult]:
        """Score test with the kept epoch, once; rank 0 returns the results."""
        around = self.around
        self.engine.load_weights(checkpoint.load_best(self.checkpoints))
        scores: dict[str, float] = {}
        values: dict[str, float] = {}
        for task in self.plan.tasks:
            predictions = self._predict(task, "test")
            if not around.ranks.is_main:
                continue
            score = self._judge(task, "test", self.state.best_epoch, predictions)
            self._store("test", task.name, predictions, score)
            values |= {names.metric("test", task.name, metric): value for metric, value in score.values.items()}
            scores[task.name] = score.values[names.SCORE]
        if not around.ranks.is_main:
            return []
        floors = self._floors("test")
        values |= floors | {names.macro("test"): macro_score(scores)}
        self.journal.log("test", self.state.step, self.state.best_epoch, values)
        return self._results({"dev": self.state.best_scores, "test": scores}, floors)

    def _scores_on_test(self) -> list[TaskResult]:
        """The results where test has chosen: of the epoch kept, of each task's own best epoch, of the last one."""
        if not self.around.ranks.is_main:
            return []
        state = self.state
        columns = {"kept epoch": state.best_scores, "own best": state.own_best_scores, "last epoch": state.last_scores}
        return self._results(columns, self._floors("test"))

    def _results(self, columns: Mapping[str, Mapping[str, float]], floors: Mapping[str, float]) -> list[TaskResult]:
        return [
            TaskResult(
                task.name,
                task.metric,
                {head: scores[task.name] for head, scores in columns.items()}
                | {"floor (test)": floors[names.metric("test", task.name, names.FLOOR)]},
            )
            for task in self.plan.tasks
        ]

    def _store(self, split: SplitName, task: str, predictions: Sequence[Prediction], score: TaskScore) -> None:
        store(predictions, self.folder / "predictions" / f"{split}.{task}.jsonl")
        self._write_report(split, task, score)

    def _write_report(self, split: SplitName, task: str, score: TaskScore) -> None:
        """The full report and the confusion matrix as files of the run, shown in the mirrors too."""
        folder = self.folder / "reports" / split
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{task}.json"
        write_atomically(path, json.dumps({"values": score.values, "report": score.report}, indent=2))
        self.journal.artifact(path, f"reports/{split}")
        if score.confusion is not None:
            figure = folder / f"{task}.confusion.png"
            confusion_figure(score.confusion.labels, score.confusion.rows, f"{task}, {split}", figure)
            self.journal.artifact(figure, f"reports/{split}")

    def _save_state(self) -> None:
        checkpoint.save_state(self.checkpoints, self.engine, self.state, self.around.ranks)


def schedule_of(tasks: Sequence[Task], settings: StageSettings, seed: int, splits: Splits) -> Schedule:
    """The schedule of a run."""
    return Schedule(
        lengths={task.name: splits[task.name]["train"].lengths for task in tasks},
        batch_size=settings.batch_size,
        seed=seed,
        batches=settings.batches,
        order=settings.order,
        mixture=Mixture(settings.mixing, settings.temperature, settings.epochs),
        caps={task.name: task.cap for task in tasks if task.cap is not None},
    )
