"""A job from start to end: encode, then each run of the family in order: pretrain, refine, a finetune run per task."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from mtscale import names, processes
from mtscale.corpora.example import SPLITS, SplitName
from mtscale.errors import EXIT_FINISHED, EXIT_STOPPED, ConfigError, MtscaleError
from mtscale.inputs.cache import EncodedSplit, join_splits, open_split
from mtscale.inputs.encode import PieceVocabulary
from mtscale.model.encoder import load_encoder, load_tokenizer, longest_input
from mtscale.model.masked import mark
from mtscale.model.multitask import MultiTaskModel
from mtscale.pretraining.text import open_text
from mtscale.recipe import Recipe
from mtscale.runs import RunDirectory, RunProcess, RunRecord, State, process_start, write_atomically
from mtscale.tasks import Kind, Task
from mtscale.tracking import replay
from mtscale.tracking.tracker import Param
from mtscale.training import distributed, host_memory, lifeline, results
from mtscale.training.estimate import describe
from mtscale.training.failures import describe_error, explain_interruption, explain_shortage
from mtscale.training.job import Job, Member
from mtscale.training.journal import Journal, SilentJournal
from mtscale.training.loop import Loop, RunPlan, Splits, Surroundings, TaskResult, schedule_of
from mtscale.training.pretrain import PretrainLoop
from mtscale.training.pretrain_run import pretrain_loop, pretrain_params, pretrain_plan
from mtscale.training.record import new_record
from mtscale.training.shared import require_shared
from mtscale.training.stop import StopRequest

logger = logging.getLogger(__name__)


def train(job: Job) -> int:
    """Run a job on this rank; returns the exit code."""
    ranks = distributed.ranks_from_environment()
    if job.dry_run and not ranks.is_main:
        return EXIT_FINISHED
    if job.machine.accelerator == "cpu":
        host_memory.keep_freed()
    text = open_text(job.recipe, job.text) if job.text is not None else None
    tokenizer = load_tokenizer(job.recipe.encoder.name) if text is None else text.tokenizer
    splits = encode_tasks(job.recipe, job.tasks, job.data_root, tokenizer)
    if job.dry_run:
        plan = describe(job, splits, ranks.world_size, text)
        print(json.dumps(plan, indent=2) if job.as_json else results.plan_text(plan))
        return EXIT_FINISHED
    stop = StopRequest()
    stop.listen()
    lifeline.hold(stop)
    device = distributed.start(ranks, job.machine)
    try:
        require_shared(job.runs, ranks)
        job = distributed.broadcast(job, ranks)  # the family's name holds the time, which ranks read apart
        around = Surroundings(job.runs, job.data_root, splits, tokenizer, ranks, device, stop, text)
        return _train_family(job, around)
    finally:
        distributed.finish()


def _train_family(job: Job, around: Surroundings) -> int:
    """Train the members in order and print their results; members that are finished already are passed over."""
    tables: dict[str, list[TaskResult]] = {}
    for member in job.members:
        opened = _open_run(job, member, around)
        if opened is None:
            continue
        outcome = _train_member(job, member, opened, around)
        if outcome is None:
            if around.ranks.is_main:
                logger.info("stopped: `mtscale runs resume %s` goes on from here", job.runs / member.name)
            return EXIT_STOPPED
        title = f"{member.stage}, seed {member.seed}"
        if names.chosen_on(job.recipe.protocol) == "test":
            title += f", protocol {job.recipe.protocol}: test scores, {names.OPTIMISTIC}"
        tables.setdefault(title, []).extend(outcome)
    if around.ranks.is_main:
        for title, found in tables.items():
            print(f"\n{title}\n{results.results_table(found)}")
        uri = RunDirectory(job.runs / job.members[-1].name).record.mlflow_uri
        print("\n" + results.where_to_look([job.runs / member.name for member in job.members], uri), flush=True)
    return EXIT_FINISHED


def encode_tasks(
    recipe: Recipe, tasks: Sequence[Task], data_root: Path | None, tokenizer: PreTrainedTokenizerBase
) -> Splits:
    """Every split of every task, from the cache or encoded now. The ``paper`` protocol trains on train and dev."""
    vocabulary = PieceVocabulary.of(tokenizer)
    longest = longest_input(recipe.encoder.name)
    encoded: dict[str, dict[SplitName, EncodedSplit]] = {}
    for given in tasks:
        task = replace(given, trains_on_dev=recipe.protocol == "paper")
        splits = {
            split: open_split(task, split, data_root, vocabulary, recipe.encoder.max_pieces, recipe.procedure, longest)
            for split in SPLITS
        }
        if recipe.protocol == "paper":
            splits["train"] = join_splits(splits["train"], splits["dev"])
        encoded[task.name] = splits
    return encoded


def _open_run(job: Job, member: Member, around: Surroundings) -> RunDirectory | None:
    """The member's run directory, made now or taken up; None if the run is finished.

    Rank 0 decides and the others follow, so that a refusal ends all of them at once.
    """
    rank = processes.this_process(f"rank {around.ranks.rank}")
    gathered = distributed.gather([*processes.above_this_process(), rank], around.ranks)
    verdict: bool | MtscaleError = False
    if around.ranks.is_main:
        try:
            verdict = _claim(job, member, around, list(dict.fromkeys(itertools.chain(*gathered))))
        except MtscaleError as error:
            verdict = error
    verdict = distributed.broadcast(verdict, around.ranks)
    if isinstance(verdict, MtscaleError):
        raise verdict
    return RunDirectory(job.runs / member.name) if verdict else None


def _claim(job: Job, member: Member, around: Surroundings, found: Sequence[RunProcess]) -> bool:
    """Make the run directory, or take up one that is queued, stopped or cut off; False if the run is finished."""
    run = RunDirectory(job.runs / member.name)
    hashes = _data_hashes(member, around)
    record = new_record(job, member, around.ranks.world_size, sys.argv, found, hashes)
    if not (run.path / "run.json").exists():
        config = json.dumps(job.resolved(member.stage, around.ranks.world_size).config, indent=2)
        RunDirectory.create(run.path, record, job.recipe.to_toml(), config)
        _describe_environment(run)
        return True
    state, known = run.state(), run.record
    if state is State.FINISHED:
        return False
    if known.started and dict(known.data_hashes) != hashes:
        raise ConfigError(f"{run.path}: the corpus files have changed since it was started: choose another --run name")
    if state is not State.QUEUED:  # a queued run may have been asked to stop already
        run.stop_file.unlink(missing_ok=True)
    run.remove_unfinished()
    _describe_environment(run)
    if not known.started:
        _write_settings(job, member, run, record)
    run.update_record(
        pid=record.pid,
        pid_start=process_start(record.pid),
        host=record.host,
        world_size=record.world_size,
        processes=record.processes,
    )
    run.write_status(run.status.model_copy(update={"state": State.RUNNING, "message": "", "time": time.time()}))
    return True


def _write_settings(job: Job, member: Member, run: RunDirectory, record: RunRecord) -> None:
    """What a queued run could not know yet, or was meant to be before its command died."""
    write_atomically(run.path / "recipe.toml", job.recipe.to_toml())
    config = job.resolved(member.stage, record.world_size).config
    write_atomically(run.path / "ds_config.json", json.dumps(config, indent=2))
    kept = {"id", "created", "pid_start"}
    run.update_record(**{name: value for name, value in record if name not in kept})


def _data_hashes(member: Member, around: Surroundings) -> dict[str, str]:
    """Of all that a run reads, by task, so that a change of it is noticed."""
    if member.stage == "pretrain":
        assert around.text is not None
        return {"text": around.text.corpus.hash[:12]}
    return {
        task.name: "-".join(around.splits[task.name][split].source_hash[:12] for split in SPLITS)
        for task in member.tasks
    }


def _describe_environment(run: RunDirectory) -> None:
    """Write ``environment.txt``, which a run that was killed right after its making may lack."""
    path = run.path / "environment.txt"
    if not path.exists():
        installed = sorted({f"{entry.name}=={entry.version}" for entry in distributions()}, key=str.lower)
        write_atomically(path, "\n".join([f"python=={sys.version.split()[0]}", *installed]) + "\n")


def _train_member(job: Job, member: Member, run: RunDirectory, around: Surroundings) -> list[TaskResult] | None:
    """Train one run and write its final state, whatever happens; None if it was stopped."""
    training = _pretraining(job, member, around) if member.stage == "pretrain" else _task_training(job, member, around)
    journal: Journal | SilentJournal = SilentJournal()
    if around.ranks.is_main:
        run.update_record(params=training.params)
        tracker, _ = replay.mirrored(run)
        tracker.start(run.record.params, replay.tags(run))
        journal = Journal(run, tracker, training.steps)
        for name in replay.CONFIG_FILES:
            journal.artifact(run.path / name, "config")
        logger.info("%s: %s, seed %d, %d steps", run.path, training.title, member.seed, training.steps)
    try:
        with explain_shortage(job.resolved(member.stage, around.ranks.world_size)), explain_interruption(run.path):
            loop = training.loop(run, journal)
            _take_up(loop, run, around)
            found = loop.run()
    except BaseException as error:
        # Where the disk is full, the final state may not fit either: the run is then lost, and can be resumed.
        with contextlib.suppress(OSError):
            journal.close(State.FAILED, describe_error(error))
        raise
    if found is None:
        journal.close(State.STOPPED, f"stopped {around.stop.reason}, with a checkpoint")
        return None
    journal.close(State.FINISHED)
    return found


@dataclass(frozen=True)
class _Training:
    """What differs between the stages: how a run is called, its steps, what is recorded of it, its loop."""

    title: str
    steps: int
    params: Mapping[str, Param]
    loop: Callable[[RunDirectory, Journal | SilentJournal], Loop | PretrainLoop]


def _pretraining(job: Job, member: Member, around: Surroundings) -> _Training:
    assert around.text is not None
    plan = pretrain_plan(job, member, around.text, around.ranks.world_size)

    def loop(run: RunDirectory, journal: Journal | SilentJournal) -> PretrainLoop:
        return pretrain_loop(job, plan, run, around, journal)

    total = around.text.corpus.total
    title = f"pretrain on {total.documents} documents"
    return _Training(title, plan.steps, pretrain_params(job, plan), loop)


def _task_training(job: Job, member: Member, around: Surroundings) -> _Training:
    plan = _plan(job, member, around)
    schedule = schedule_of(plan.tasks, plan.settings, plan.seed, around.splits)

    def loop(run: RunDirectory, journal: Journal | SilentJournal) -> Loop:
        return _loop(job, plan, run, around, journal)

    title = f"{plan.stage} of {len(plan.tasks)} tasks"
    return _Training(title, schedule.steps_per_epoch * plan.settings.epochs, _params(job, plan), loop)


def _loop(job: Job, plan: RunPlan, run: RunDirectory, around: Surroundings, journal: Journal | SilentJournal) -> Loop:
    """Model and engine of a run on tasks, as they are before its first step."""
    ranks = around.ranks
    torch.manual_seed(plan.seed)
    encoder, report = load_encoder(plan.encoder, job.recipe.encoder.dropout, job.recipe.encoder.max_pieces)
    mark(encoder.config, run.record.access)
    if ranks.is_main:
        logger.info("%s", report)
    model = MultiTaskModel(
        encoder,
        plan.tasks,
        plan.settings.head_dropout,
        plan.seed,
        mean_scores(plan.tasks, around.splits) if plan.procedure.similarity_bias == "mean_score" else {},
        learned_weights=plan.settings.loss_weights == "uncertainty",
        piece_classes=plan.procedure.tag_classes == "pieces",
        dropout_per_example=plan.procedure.tagging_dropout == "per_example",
    )
    # Dropout differs between ranks; everything drawn before is the same on all.
    torch.manual_seed((plan.seed << 20) + ranks.rank)
    return Loop(plan, around, model, run.path, journal)


def _take_up(loop: Loop | PretrainLoop, run: RunDirectory, around: Surroundings) -> None:
    """Go on from the newest checkpoint, if there is one."""
    loop.resume()
    # A run that died before its first checkpoint has events too, which it records again.
    if around.ranks.is_main and (loop.state.step or any(run.events())):
        run.append_event("rewind", loop.state.step, loop.state.epochs_done, {})
        logger.info("going on after step %d", loop.state.step)


def mean_scores(tasks: Sequence[Task], splits: Splits) -> dict[str, float]:
    """The mean training score of each similarity task."""
    return {
        task.name: float(np.mean(splits[task.name]["train"].rows["score"]))
        for task in tasks
        if task.kind is Kind.SIMILARITY
    }


def _plan(job: Job, member: Member, around: Surroundings) -> RunPlan:
    encoder = job.recipe.encoder.name
    if member.parent is not None:
        encoder = str(job.runs / member.parent / "checkpoints" / "best" / "encoder")
    return RunPlan(
        name=member.name,
        stage=member.stage,
        seed=member.seed,
        tasks=member.tasks,
        settings=job.recipe.settings(member.stage),
        encoder=encoder,
        protocol=job.recipe.protocol,
        resolved=job.resolved(member.stage, around.ranks.world_size),
        procedure=job.recipe.procedure,
    )


def _params(job: Job, plan: RunPlan) -> dict[str, Param]:
    """What tells runs apart on MLflow's compare page; the whole recipe is an artifact."""
    settings, resolved = plan.settings, plan.resolved
    return {
        "recipe": job.recipe.name,
        "stage": plan.stage,
        "seed": plan.seed,
        "protocol": plan.protocol,
        "encoder": job.recipe.encoder.name,
        "encoder.max_pieces": job.recipe.encoder.max_pieces,
        "encoder.dropout": job.recipe.encoder.dropout,
        "tasks.n": len(plan.tasks),
        "tasks.set": ",".join(task.name for task in plan.tasks),
        "optim.lr": settings.learning_rate,
        "optim.warmup": settings.warmup,
        "optim.weight_decay": settings.weight_decay,
        "optim.clip": settings.clip,
        "epochs": settings.epochs,
        "head_dropout": settings.head_dropout,
        "batch.train": settings.batch_size,
        "batch.micro": resolved.micro_batch,
        "batch.accumulation": resolved.accumulation,
        "batch.order": settings.order,
        "batch.composition": settings.batches,
        "mixing": settings.mixing,
        "loss_weights": settings.loss_weights,
        **({f"paper.{name}": value for name, value in plan.procedure} if plan.protocol == "paper" else {}),
        "ds.zero": resolved.zero_stage,
        "ds.precision": resolved.precision,
        "ds.config": job.ds_config_path.name,
    }
