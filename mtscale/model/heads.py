"""Heads: one fully connected layer per task over the shared encoder (section 3 of the paper), and their losses."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtscale.metrics.spans import PIECE_CLASSES
from mtscale.model.dropout import drop
from mtscale.tasks import Kind, Task

# Of the authors' code, for BERT-base's width.
INITIAL_STD, INITIAL_WIDTH = 0.02, 768


def num_outputs(task: Task, *, piece_classes: bool = False) -> int:
    """Outputs of a head: 1 score, a logit per class, or a logit per IOB2 class.

    With ``piece_classes`` also one for each of ``metrics.spans.PIECE_CLASSES``.
    """
    if task.kind is Kind.SIMILARITY:
        return 1
    if task.kind is Kind.TAGGING:
        return 2 * len(task.labels) + 1 + (len(PIECE_CLASSES) if piece_classes else 0)
    return len(task.labels)


class Head(nn.Module):
    """Dropout and a fully connected layer, whose biases start at ``bias``.

    A similarity head starts at the mean score of its training pairs (a named deviation: the authors start at 0). From 0
    it has to reach scores of 2 or 3 through the shared pooler's features, since Adamax moves a bias by one learning
    rate a step.

    With ``learned_weight`` the head also holds the logarithm of a variance, which weighs its loss (see ``objective``).

    Weights are drawn from N(0, 0.02) as in the authors' code at BERT-base's width of 768, at other widths with a
    deviation in proportion to 1 / sqrt(width), so that logits start equally far apart (a named deviation: narrower
    encoders then leave the plateau, on which every word is called O, later than others; docs/performance.md). They
    come from a generator of their own: the draw depends on the seed and the task's name alone, not on which other tasks
    are trained beside it.

    ``piece_classes``: see ``num_outputs``.
    """

    def __init__(
        self,
        task: Task,
        hidden_size: int,
        dropout: float,
        seed: int,
        bias: float = 0.0,
        *,
        learned_weight: bool = False,
        piece_classes: bool = False,
    ) -> None:
        super().__init__()
        self._kind, self._loss_weight = task.kind, task.loss_weight
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, num_outputs(task, piece_classes=piece_classes))
        generator = torch.Generator().manual_seed((seed << 32) + zlib.crc32(task.name.encode()))
        deviation = INITIAL_STD * (INITIAL_WIDTH / hidden_size) ** 0.5
        with torch.no_grad():
            self.output.weight.normal_(0.0, deviation, generator=generator)
            self.output.bias.fill_(bias)
        # One dimension, so that the optimizer takes it for what is not decayed.
        self.log_variance = nn.Parameter(torch.zeros(1)) if learned_weight else None

    def forward(self, hidden: Tensor, example: Tensor | None = None, examples: int = 0) -> Tensor:
        """(N, hidden_size) -> (N, outputs).

        With ``example`` (N), which of so many ``examples`` each is of, dropout has one mask for each example.
        """
        if example is None or not self.training:
            dropped: Tensor = self.dropout(hidden)
        else:
            masks = drop(hidden.new_ones(examples, hidden.shape[-1]), self.dropout.p)
            dropped = hidden * masks[example]
        logits: Tensor = self.output(dropped)
        return logits

    def objective(self, loss: Tensor, share: float) -> Tensor:
        """What a step minimises on a part of a mini-batch, of which ``loss`` is the share of the mean loss.

        The task's ``loss_weight`` times the loss. With a learned weight, for variance v and w = 1 / v (half of that for
        similarity): ``loss_weight * (w * loss + log(v) / 2)``, of which this part has ``share`` of the second term
        (Kendall, Gal and Cipolla 2018, arXiv:1705.07115, equations 7 and 10).
        """
        if self.log_variance is None:
            return loss * self._loss_weight
        log_variance = self.log_variance.float().squeeze(0)
        return self._loss_weight * (self._precision(log_variance) * loss + log_variance / 2 * share)

    @torch.no_grad()
    def weight(self) -> float:
        """The factor of the loss in the objective."""
        if self.log_variance is None:
            return self._loss_weight
        return self._loss_weight * float(self._precision(self.log_variance.float()))

    def _precision(self, log_variance: Tensor) -> Tensor:
        return torch.exp(-log_variance) * (0.5 if self._kind is Kind.SIMILARITY else 1.0)


def loss_sum(kind: Kind, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss summed over examples (tagging: over words), in float32 whatever the logits' precision.

    Squared error for similarity (section 3.1), cross-entropy for the others (3.2 to 3.4).
    """
    logits = logits.float()
    if kind is Kind.SIMILARITY:
        return functional.mse_loss(logits.squeeze(-1), labels, reduction="sum")
    return functional.cross_entropy(logits, labels, reduction="sum")
