"""One run: the epochs of a stage (Algorithm 1 of the paper), the choice of an epoch on dev, the one look at test."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import PreTrainedTokenizerBase

from mtscale import judge, names
from mtscale.corpora.example import SplitName
from mtscale.ds_config import ResolvedDsConfig
from mtscale.errors import MtscaleError
from mtscale.inputs.batches import Batch, collate, slice_rows
from mtscale.inputs.cache import EncodedSplit
from mtscale.inputs.schedule import Rows, Schedule, ScheduledBatch
from mtscale.metrics.scoring import TaskScore, macro_score
from mtscale.model.multitask import MultiTaskModel
from mtscale.predictions import Prediction, store
from mtscale.recipe import StageName, StageSettings
from mtscale.runs import write_atomically
from mtscale.tasks import Task
from mtscale.tracking.figures import confusion_figure
from mtscale.training import checkpoint, looks
from mtscale.training.checkpoint import LoopState
from mtscale.training.distributed import Ranks, barrier, broadcast, sum_over_ranks
from mtscale.training.engine import Engine, StepResult
from mtscale.training.evaluate import predict
from mtscale.training.journal import Journal, SilentJournal
from mtscale.training.stop import StopRequest

logger = logging.getLogger(__name__)

# At most so many training records a run: a record is the mean over a window of steps.
MAX_RECORDS = 2000
MAX_NONFINITE_IN_A_ROW = 10

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
    protocol: str
    resolved: ResolvedDsConfig


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


@dataclass(frozen=True)
class TaskResult:
    """A line of the results table: scores of the kept epoch."""

    task: str
    metric: str
    dev: float
    test: float
    floor: float


class Loop:
    """Trains and evaluates one run inside its directory ``folder``."""

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
        self.folder = folder
        self.journal = journal
        self.schedule = schedule_of(plan, around.splits)
        self.steps = self.schedule.steps_per_epoch * plan.settings.epochs
        self.engine = Engine(model, plan.settings, plan.resolved, self.steps, around.ranks, around.device)
        self.state = LoopState()
        self._records = _TrainingRecords(max(1, self.steps // MAX_RECORDS), around.ranks)

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def resume(self) -> bool:
        """Go on from the newest whole state of the run directory, if there is one."""
        found = checkpoint.load_state(self._checkpoints, self.engine, self.around.ranks)
        if found is None:
            return False
        self.state = found
        return True

    def run(self) -> list[TaskResult] | None:
        """Train to the end and score test once; None if the run was stopped before (its state is saved)."""
        while self.state.epochs_done < self.plan.settings.epochs and not self._is_out_of_patience():
            epoch = self.state.epochs_done + 1
            if not self._train_epoch(epoch):
                self.journal.stopping()
                self._save_state()
                return None
            self._evaluate_epoch(epoch)
            self.state.epochs_done = epoch
            self._save_state()
        return self._score_test()

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
        done = self.state.step - (epoch - 1) * self.schedule.steps_per_epoch
        for scheduled in batches[done:]:
            if self.around.stop.agreed(self.folder / "stop", self.around.device):
                self._record(epoch, self._records.flush())
                return False
            self._step(scheduled, epoch)
        return True

    def _step(self, scheduled: ScheduledBatch, epoch: int) -> None:
        task = scheduled.task
        encoded = self.around.splits[task]["train"]
        terms = int(encoded.terms[scheduled.rows].sum())
        started = time.perf_counter()
        slices = self._slices(encoded, scheduled.rows)
        result = self.engine.step(task, slices, terms, self.state.step)
        self.state.step += 1
        self._check_finite(task, result)
        pieces = int(encoded.lengths[scheduled.rows].sum())
        self._records.add(task, result, len(scheduled.rows), pieces, time.perf_counter() - started)
        if self._records.is_full(self.state.step):
            self._record(epoch, self._records.flush())
        self.journal.progress(self.state.step, epoch, f"epoch {epoch}, {self._records.rate:.0f} examples/s")

    def _slices(self, encoded: EncodedSplit, rows: Rows) -> list[Batch]:
        """This rank's slices as tensors; an empty one becomes a row without labels, which adds zero to the loss."""
        ranks, device = self.around.ranks, self.around.device
        pad_id = _pad_id(self.around.tokenizer)
        slices = []
        for own in slice_rows(rows, ranks.world_size, self.plan.resolved.accumulation, ranks.rank):
            batch = collate(encoded.rows, own if len(own) else rows[:1], encoded.task.kind, pad_id)
            slices.append((batch if len(own) else batch.without_labels()).to(device))
        return slices

    def _check_finite(self, task: str, result: StepResult) -> None:
        if result.applied:
            self.state.nonfinite_in_a_row = 0
            return
        self.state.nonfinite_steps += 1
        self.state.nonfinite_in_a_row += 1
        logger.warning("step %d (%s): loss or gradient not finite, update skipped", self.state.step, task)
        if self.state.nonfinite_in_a_row >= MAX_NONFINITE_IN_A_ROW:
            raise MtscaleError(
                f"{MAX_NONFINITE_IN_A_ROW} steps in a row had a loss or gradient that was not finite, the last of task "
                f"{task}. The best epoch so far is kept; try a lower learning_rate or fp32"
            )

    def _record(self, epoch: int, values: Mapping[str, float]) -> None:
        if values:
            extra = {names.NONFINITE_STEPS: float(self.state.nonfinite_steps)} if self.state.nonfinite_steps else {}
            self.journal.log("train", self.state.step, epoch, {**values, **extra})

    def _evaluate_epoch(self, epoch: int) -> None:
        """Score dev and keep the epoch if its macro score is the best so far."""
        scores: dict[str, float] = {}
        predictions: dict[str, list[Prediction]] = {}
        reports: dict[str, TaskScore] = {}
        for task in self.plan.tasks:
            predictions[task.name] = self._predict(task, "dev")
            if self.around.ranks.is_main:
                reports[task.name] = judge.score(task, "dev", predictions[task.name], self.around.data_root)
                scores[task.name] = reports[task.name].values[names.SCORE]
        scores = broadcast(scores, self.around.ranks)
        macro = macro_score(scores)
        values = {names.MACRO_SCORE: macro}
        for name, report in reports.items():
            values |= {names.metric("dev", name, metric): value for metric, value in report.values.items()}
        if epoch == 1 and self.around.ranks.is_main:
            values |= self._floors("dev")
        self.journal.log("dev", self.state.step, epoch, values)
        shown = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
        logger.info("epoch %d: dev macro %.4f (%s)", epoch, macro, shown)
        if macro > self.state.best_macro:
            self._keep(epoch, macro, scores, predictions, reports)

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
        self.state.best_epoch, self.state.best_macro, self.state.best_scores = epoch, macro, dict(scores)
        if self.around.ranks.is_main:
            checkpoint.save_best(self._checkpoints, self.engine, self.around.tokenizer)
            for task, made in predictions.items():
                store(made, self.folder / "predictions" / f"dev.{task}.jsonl")
                self._write_report("dev", task, reports[task])
        barrier(self.around.ranks)
        kept = {names.best(task): score for task, score in scores.items()}
        kept |= {names.BEST_MACRO_SCORE: macro, names.BEST_STEP: self.state.step, names.BEST_EPOCH: epoch}
        self.journal.log("best", self.state.step, epoch, kept)

    def _predict(self, task: Task, split: SplitName) -> list[Prediction]:
        around = self.around
        batch_size = 2 * self.plan.resolved.micro_batch
        encoded = around.splits[task.name][split]
        return predict(self.engine, encoded, batch_size, _pad_id(around.tokenizer), around.ranks)

    def _score_test(self) -> list[TaskResult]:
        """Score test with the kept epoch, once, and write the look down first; rank 0 returns the results."""
        around = self.around
        self.engine.load_weights(checkpoint.load_best(self._checkpoints))
        scores: dict[str, float] = {}
        values: dict[str, float] = {}
        for task in self.plan.tasks:
            predictions = self._predict(task, "test")
            if not around.ranks.is_main:
                continue
            store(predictions, self.folder / "predictions" / f"test.{task.name}.jsonl")
            gold_hash = around.splits[task.name]["test"].source_hash
            looks.record_test_look(around.runs, self.plan.name, task.name, gold_hash, self.plan.protocol)
            score = judge.score(task, "test", predictions, around.data_root)
            self._write_report("test", task.name, score)
            values |= {names.metric("test", task.name, metric): value for metric, value in score.values.items()}
            scores[task.name] = score.values[names.SCORE]
        if not around.ranks.is_main:
            return []
        values |= self._floors("test")
        values[names.TEST_MACRO_SCORE] = macro_score(scores)
        self.journal.log("test", self.state.step, self.state.best_epoch, values)
        return [
            TaskResult(
                task=task.name,
                metric=task.metric,
                dev=self.state.best_scores[task.name],
                test=scores[task.name],
                floor=values[names.metric("test", task.name, names.FLOOR)],
            )
            for task in self.plan.tasks
        ]

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
        checkpoint.save_state(self._checkpoints, self.engine, self.state, self.around.ranks)


class _TrainingRecords:
    """The means of a window of steps; losses stay on the device until the window is full."""

    def __init__(self, window: int, ranks: Ranks) -> None:
        self._window = window
        self._ranks = ranks
        self._steps: list[tuple[str, StepResult]] = []
        self._examples = 0
        self._pieces = 0
        self._seconds = 0.0
        self.rate = 0.0

    def add(self, task: str, result: StepResult, examples: int, pieces: int, seconds: float) -> None:
        self._steps.append((task, result))
        self._examples += examples
        self._pieces += pieces
        self._seconds += seconds
        rate = examples / seconds
        self.rate = rate if self.rate == 0 else 0.9 * self.rate + 0.1 * rate

    def is_full(self, step: int) -> bool:
        return step % self._window == 0

    def flush(self) -> dict[str, float]:
        """The window's values by name; nothing if it holds no step. Every rank must call it at the same step."""
        if not self._steps:
            return {}
        shares = torch.stack([result.loss for _, result in self._steps])
        losses = sum_over_ranks(shares, self._ranks).tolist()
        by_task: dict[str, list[float]] = defaultdict(list)
        for (task, _), loss in zip(self._steps, losses, strict=True):
            by_task[task].append(loss)
        last = self._steps[-1][1]
        values = {
            names.TRAIN_LOSS: sum(losses) / len(losses),
            names.LEARNING_RATE: last.learning_rate,
            names.GRAD_NORM: float(last.grad_norm),
            names.EXAMPLES_PER_SECOND: self._examples / self._seconds,
            names.PIECES_PER_SECOND: self._pieces / self._seconds,
            names.RESIDENT_GIB: psutil.Process().memory_info().rss / 2**30,
        }
        values |= {names.train_loss(task): sum(found) / len(found) for task, found in by_task.items()}
        self._steps, self._examples, self._pieces, self._seconds = [], 0, 0, 0.0
        return values


def schedule_of(plan: RunPlan, splits: Splits) -> Schedule:
    """The schedule of a run."""
    lengths = {task.name: splits[task.name]["train"].lengths for task in plan.tasks}
    settings = plan.settings
    return Schedule(lengths, settings.batch_size, plan.seed, settings.batches, settings.order)


def _pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    return int(tokenizer.pad_token_id)
