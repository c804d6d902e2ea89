"""MT-BERT (Figure 1 of the paper): shared layers, and a head per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from mtscale.model.encoder import take_pooler
from mtscale.model.heads import Head
from mtscale.model.packing import Layout
from mtscale.model.reader import PieceReader
from mtscale.tasks import Kind, Task


class MultiTaskModel(nn.Module):
    """One encoder, one optional pooler shared by the [CLS] tasks, one head per task.

    [CLS] heads read the encoder's own tanh pooler where the architecture has one, as BERT and the authors' code do;
    tagging heads read the last layer at the first piece of each word. ``mean_scores`` holds the mean training score of
    each similarity task. With ``learned_weights`` each head learns the weight of its loss.
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
    ) -> None:
        super().__init__()
        self.tasks = {task.name: task for task in tasks}
        self.pooler = take_pooler(encoder)
        self.encoder = encoder
        self._reader = PieceReader(encoder)
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
        return {task: self.head(task)(pooled if self.uses_pooler(task) else hidden) for task in tasks}

    def head(self, task: str) -> Head:
        """The head of a task."""
        head = self.heads[head_name(task)]
        assert isinstance(head, Head)
        return head

    def uses_pooler(self, task: str) -> bool:
        """Whether a task's head reads the pooler."""
        return self.pooler is not None and self.tasks[task].kind is not Kind.TAGGING


def head_name(task: str) -> str:
    """The submodule of a task's head."""
    return f"{task}_head"
