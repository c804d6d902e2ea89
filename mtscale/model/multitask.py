"""MT-BERT (Figure 1 of the paper): shared layers, and a head per task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from mtscale.model.encoder import take_pooler
from mtscale.model.heads import Head, loss_sum
from mtscale.model.packing import Layout
from mtscale.model.reader import PieceReader
from mtscale.model.trainable import ENCODER, POOLER, TrainableModel
from mtscale.tasks import Kind, Task


class MultiTaskModel(TrainableModel):
    """One encoder, one optional pooler shared by the [CLS] tasks, one head per task.

    [CLS] heads read the encoder's own tanh pooler where the architecture has one, as BERT and the authors' code do;
    tagging heads read the last layer at the first piece of each word. ``mean_scores`` holds the mean training score of
    each similarity task. With ``learned_weights`` each head learns the weight of its loss.

    ``piece_classes``: tagging heads have the classes of pieces too. ``dropout_per_example``: the dropout of tagging
    heads has one mask for all pieces of an example.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        tasks: Sequence[Task],
        head_dropout: float,
        seed: int,
        mean_scores: Mapping[str, float],
        *,
        learned_weights: bool = False,
        piece_classes: bool = False,
        dropout_per_example: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = {task.name: task for task in tasks}
        self.pooler = take_pooler(encoder)
        self.encoder = encoder
        self._reader = PieceReader(encoder)
        self._dropout_per_example = dropout_per_example
        hidden_size: int = encoder.config.hidden_size
        # A submodule may not bear the name of an attribute of ModuleDict ("type", "keys"), hence the ending.
        self.heads = nn.ModuleDict(
            {
                head_name(task.name): Head(
                    task,
                    hidden_size,
                    head_dropout,
                    seed,
                    mean_scores.get(task.name, 0.0),
                    learned_weight=learned_weights,
                    piece_classes=piece_classes,
                )
                for task in tasks
            }
        )

    def forward(self, task: str, input_ids: Tensor, token_type_ids: Tensor, layout: Layout, read: Tensor) -> Tensor:
        """Logits (N, outputs) at the N places that a task's head reads (see ``inputs.batches``)."""
        return self.logits((task,), input_ids, token_type_ids, layout, read)[task]

    def logits(
        self, tasks: Sequence[str], input_ids: Tensor, token_type_ids: Tensor, layout: Layout, read: Tensor
    ) -> dict[str, Tensor]:
        """Logits (N, outputs) of several tasks whose heads read the same N places, by one pass of the encoder."""
        hidden = self._reader(input_ids, token_type_ids, layout, read)
        pooled = None
        if self.pooler is not None and any(map(self.uses_pooler, tasks)):
            pooled = self.pooler(hidden.unsqueeze(1))
        logits = {}
        for task in tasks:
            shares_masks = self._dropout_per_example and self.tasks[task].kind is Kind.TAGGING
            read_by_head = pooled if self.uses_pooler(task) else hidden
            logits[task] = self.head(task)(read_by_head, layout.row_of(read) if shares_masks else None, layout.rows)
        return logits

    def head(self, task: str) -> Head:
        """The head of a task."""
        head = self.heads[head_name(task)]
        assert isinstance(head, Head)
        return head

    def loss_sum(self, task: str, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of the task's kind."""
        return loss_sum(self.tasks[task].kind, logits, labels)

    def objective(self, task: str, loss: Tensor, share: float) -> Tensor:
        """That of the task's head."""
        return self.head(task).objective(loss, share)

    def owners(self) -> Iterator[tuple[str, list[nn.Parameter]]]:
        """The encoder, the pooler, and each task of its head."""
        yield ENCODER, list(self.encoder.parameters())
        if self.pooler is not None:
            yield POOLER, list(self.pooler.parameters())
        for task in self.tasks:
            yield task, list(self.heads[head_name(task)].parameters())

    def moved_by(self, task: str) -> set[str]:
        """The encoder, the task's head, and the pooler if that reads it."""
        return {ENCODER, task} | ({POOLER} if self.uses_pooler(task) else set())

    def uses_pooler(self, task: str) -> bool:
        """Whether a task's head reads the pooler."""
        return self.pooler is not None and self.tasks[task].kind is not Kind.TAGGING


def head_name(task: str) -> str:
    """The submodule of a task's head."""
    return f"{task}_head"
