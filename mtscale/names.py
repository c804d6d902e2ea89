"""The names under which numbers are recorded: built here, parsed here, and nowhere else.

MLflow shows everything before the last "/" as a chart section and the last part as the chart's title, so the
split comes first, then the task, then the metric: ``dev/cdr-disease/f1``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# No dot: task names are also names of submodules, which torch separates by dots.
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,199}")

TRAIN_LOSS = "train/loss"
LEARNING_RATE = "train/lr"
GRAD_NORM = "train/grad_norm"
HELDOUT_LOSS = "heldout/loss"
HELDOUT_PERPLEXITY = "heldout/perplexity"
UNIGRAM_PERPLEXITY = "heldout/unigram_perplexity"
BEST_PERPLEXITY = "best/perplexity"
BEST_STEP = "best/step"
BEST_EPOCH = "best/epoch"
EXAMPLES_PER_SECOND = "perf/examples_per_s"
PIECES_PER_SECOND = "perf/pieces_per_s"
RESIDENT_GIB = "perf/resident_gib"
NONFINITE_STEPS = "health/nonfinite_steps"
AFFINITY_SECONDS = "perf/affinity_seconds"
AFFINITY_SHARE = "perf/affinity_share"

SCORE = "score"
FLOOR = "floor"
MACRO = "macro"

CLEAN = "clean"
OPTIMISTIC = "optimistic: the epoch was chosen on test"


def train_loss(task: str) -> str:
    """``train/<task>/loss``: the mean training loss of one task since the last record."""
    return f"train/{task}/loss"


def loss_weight(task: str) -> str:
    """``train/<task>/loss_weight``: the learned factor of the task's loss."""
    return f"train/{task}/loss_weight"


def metric(split: str, task: str, name: str) -> str:
    """``<split>/<task>/<name>``, split being ``dev`` or ``test``."""
    return f"{split}/{task}/{name}"


def cosine(source: str, target: str) -> str:
    """``affinity/<source>/<target>/cosine``: of the angle between two tasks' gradients on the encoder."""
    return f"affinity/{source}/{target}/cosine"


def lookahead(source: str, target: str) -> str:
    """``affinity/<source>/<target>/lookahead``: the part of the target's loss that a step on the source takes away."""
    return f"affinity/{source}/{target}/lookahead"


def macro(split: str) -> str:
    """``<split>/macro/score``: the mean of the tasks' scores."""
    return metric(split, MACRO, SCORE)


def chosen_on(protocol: str) -> Literal["dev", "test"]:
    """The split on which a protocol chooses the epoch that is kept."""
    return "dev" if protocol == CLEAN else "test"


def best(task: str, split: str = "dev") -> str:
    """``best/<task>/score``: the score of the kept epoch on dev. One chosen on test is under ``best_on_test``."""
    return f"{'best' if split == 'dev' else f'best_on_{split}'}/{task}/{SCORE}"


@dataclass(frozen=True, slots=True)
class MetricName:
    """A recorded name taken apart; ``task`` is None for names that belong to no task.

    ``target`` is the other task of a name that belongs to two.
    """

    group: str
    task: str | None
    metric: str
    target: str | None = None


def parse(name: str) -> MetricName:
    """Take a recorded name apart.

    Raises:
        ValueError: the name has fewer than two parts or more than four.
    """
    parts = name.split("/")
    if len(parts) == 2:
        return MetricName(parts[0], None, parts[1])
    if len(parts) == 3:
        return MetricName(parts[0], None if parts[1] == MACRO else parts[1], parts[2])
    if len(parts) == 4:
        return MetricName(parts[0], parts[1], parts[3], parts[2])
    raise ValueError(f"a metric name has two to four parts separated by '/', found {len(parts)}")
