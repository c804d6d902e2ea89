"""What the engine asks of a model: logits of a task, its loss, and which weights a step on it moves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor, nn

from mtscale.model.packing import Layout

ENCODER = "encoder"
POOLER = "pooler"


class TrainableModel(nn.Module, ABC):
    """A shared encoder and what is trained on top of it; each weight has one owner."""

    @abstractmethod
    def forward(self, task: str, input_ids: Tensor, token_type_ids: Tensor, layout: Layout, read: Tensor) -> Tensor:
        """Logits (N, outputs) of a task at the N of the P pieces that it reads (see ``inputs.batches``)."""

    @abstractmethod
    def loss_sum(self, task: str, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a task summed over what it predicts, in float32."""

    @abstractmethod
    def objective(self, task: str, loss: Tensor, share: float) -> Tensor:
        """What a step minimises on a part of a mini-batch, of which ``loss`` is the share of the mean loss."""

    @abstractmethod
    def owners(self) -> Iterator[tuple[str, list[nn.Parameter]]]:
        """The owners of weights, each weight once."""

    @abstractmethod
    def moved_by(self, task: str) -> set[str]:
        """The owners whose weights a step on a task moves."""
