"""MT-BERT (Figure 1 of the paper): shared layers, and a head per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from mtscale.model.encoder import take_pooler
from mtscale.model.heads import Head
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

    def forward(
        self,
        task: str,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        word_pieces: Tensor | None = None,
    ) -> Tensor:
        """Logits: (B, outputs) for a [CLS] task, (W, outputs) for tagging (see ``inputs.batches``)."""
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask}
        if getattr(self.encoder.config, "type_vocab_size", 0) > 1:
            arguments["token_type_ids"] = token_type_ids
        hidden: Tensor = self.encoder(**arguments).last_hidden_state
        if self.tasks[task].kind is Kind.TAGGING:
            assert word_pieces is not None
            read = hidden.flatten(0, 1)[word_pieces]
        else:
            read = hidden[:, 0] if self.pooler is None else self.pooler(hidden)
        logits: Tensor = self.head(task)(read)
        return logits

    def head(self, task: str) -> Head:
        """The head of a task."""
        head = self.heads[head_name(task)]
        assert isinstance(head, Head)
        return head

    def uses_pooler(self, task: str) -> bool:
        """Whether a task's loss reaches the pooler."""
        return self.pooler is not None and self.tasks[task].kind is not Kind.TAGGING


def head_name(task: str) -> str:
    """The submodule of a task's head."""
    return f"{task}_head"
