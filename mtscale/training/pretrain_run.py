"""The pretraining run of a job: its plan, what is recorded of it, its model with the place where it stands."""

from __future__ import annotations

import logging

import torch
from transformers import BertConfig

from mtscale.model.masked import MaskedModel, draw_masked, load_masked, scratch_config
from mtscale.pretraining.text import PretrainText
from mtscale.recipe import Recipe
from mtscale.runs import RunDirectory
from mtscale.tracking.tracker import Param
from mtscale.training.job import Job, Member
from mtscale.training.journal import Journal, SilentJournal
from mtscale.training.loop import Surroundings
from mtscale.training.pretrain import PretrainLoop, PretrainPlan

logger = logging.getLogger(__name__)


def pretrain_plan(job: Job, member: Member, text: PretrainText, world_size: int) -> PretrainPlan:
    """The plan of a member of stage pretrain."""
    resolved = job.resolved(member.stage, world_size)
    return PretrainPlan(member.seed, job.recipe.pretrain, text, resolved, job.access(member))


def pretrain_params(job: Job, plan: PretrainPlan) -> dict[str, Param]:
    """What tells pretraining runs apart on MLflow's compare page; the whole recipe is an artifact."""
    settings, resolved = plan.settings, plan.resolved
    return {
        "recipe": job.recipe.name,
        "stage": "pretrain",
        "seed": plan.seed,
        "encoder": job.recipe.encoder.name if settings.start == "encoder" else "scratch",
        "encoder.max_pieces": job.recipe.encoder.max_pieces,
        "encoder.dropout": job.recipe.encoder.dropout,
        "text.format": settings.format,
        "text.clean": settings.clean,
        "text.heldout": settings.heldout,
        "text.documents": plan.text.corpus.total.documents,
        "masking": settings.masking,
        "masking.rate": settings.mask_rate,
        "optim.lr": settings.learning_rate,
        "optim.warmup": settings.warmup,
        "optim.weight_decay": settings.weight_decay,
        "optim.clip": settings.clip,
        "steps": plan.steps,
        "batch.train": settings.batch_size,
        "batch.micro": resolved.micro_batch,
        "batch.accumulation": resolved.accumulation,
        "ds.zero": resolved.zero_stage,
        "ds.precision": resolved.precision,
        "ds.config": job.ds_config_path.name,
    }


def pretrain_loop(
    job: Job, plan: PretrainPlan, run: RunDirectory, around: Surroundings, journal: Journal | SilentJournal
) -> PretrainLoop:
    """Model and engine of a run, as they are before its first step."""
    torch.manual_seed(plan.seed)
    model = _model(job.recipe, plan.text, tell=around.ranks.is_main)
    # Dropout differs between ranks; everything drawn before is the same on all.
    torch.manual_seed((plan.seed << 20) + around.ranks.rank)
    return PretrainLoop(plan, model, run.path, journal, around.ranks, around.device, around.stop)


def new_config(recipe: Recipe, text: PretrainText) -> BertConfig:
    """The configuration of an encoder from scratch."""
    backend, padding = text.vocabulary.backend, text.tokenizer.pad_token_id
    assert isinstance(padding, int)
    encoder = recipe.encoder
    size = backend.get_vocab_size()
    return scratch_config(recipe.pretrain.scratch, size, padding, encoder.dropout, encoder.max_pieces)


def _model(recipe: Recipe, text: PretrainText, *, tell: bool) -> MaskedModel:
    if recipe.pretrain.start == "scratch":
        return draw_masked(new_config(recipe, text))
    model, report = load_masked(recipe.encoder.name, recipe.encoder.dropout, recipe.encoder.max_pieces)
    if tell:
        logger.info("%s", report)
    return model
