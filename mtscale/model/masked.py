"""An encoder that predicts masked word pieces (Devlin et al. 2019), with the head its architecture has for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, PreTrainedModel

from mtscale.encoders import ACCESS
from mtscale.errors import ConfigError
from mtscale.model.encoder import LoadReport, load_encoder, locate, take_pooler
from mtscale.model.packing import Layout
from mtscale.model.reader import PieceReader
from mtscale.model.trainable import ENCODER, TrainableModel
from mtscale.recipe_sections import ScratchSettings

# The one task of a pretraining run, which also owns the weights of the head.
MASKED = "masked-pieces"
# By the names that transformers gives them: BERT's and its kin, RoBERTa's and its kin.
_HEADS = ("cls", "lm_head")


class MaskedModel(TrainableModel):
    """An encoder and its head over the vocabulary, whose output weights are the word embeddings where they are tied.

    ``pooler``: a pooler that the checkpoint had. Nothing here reads or moves it; it goes into what is saved, since what
    is trained next may want it.
    """

    def __init__(self, whole: PreTrainedModel, pooler: nn.Module | None) -> None:
        super().__init__()
        encoder = whole.base_model
        found = [name for name in _HEADS if isinstance(getattr(whole, name, None), nn.Module)]
        if not isinstance(encoder, PreTrainedModel) or encoder is whole or not found:
            raise ConfigError(
                f"stage pretrain: {type(whole).__name__} has no head that is known here for masked pieces; start from "
                "an encoder of BERT's or RoBERTa's kind"
            )
        self.encoder = encoder
        self.head: nn.Module = getattr(whole, found[0])
        self._head_name = found[0]
        self._prefix: str = whole.base_model_prefix
        self._architecture = type(whole).__name__
        self._pooler = {} if pooler is None else {f"pooler.{name}": t for name, t in pooler.state_dict().items()}
        self._reader = PieceReader(encoder)

    def forward(self, task: str, input_ids: Tensor, token_type_ids: Tensor, layout: Layout, read: Tensor) -> Tensor:
        """Logits (N, vocabulary) at the N masked pieces; elsewhere none are computed."""
        logits: Tensor = self.head(self._reader(input_ids, token_type_ids, layout, read))
        return logits

    def loss_sum(self, task: str, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy summed over the masked pieces."""
        return functional.cross_entropy(logits.float(), labels, reduction="sum")

    def objective(self, task: str, loss: Tensor, share: float) -> Tensor:
        """The loss."""
        return loss

    def owners(self) -> Iterator[tuple[str, list[nn.Parameter]]]:
        """The encoder, and the head without the weights that it shares with the encoder."""
        shared = set(self.encoder.parameters())
        yield ENCODER, list(self.encoder.parameters())
        yield MASKED, [parameter for parameter in self.head.parameters() if parameter not in shared]

    def moved_by(self, task: str) -> set[str]:
        """All of them."""
        return {ENCODER, MASKED}

    def save(self, folder: Path, weights: dict[str, Tensor], access: str) -> None:
        """Write an ordinary Hugging Face folder of ``weights``, by this model's names; ``access`` marks it."""
        kept = {name for name, _ in self.named_parameters()} | {name for name, _ in self.named_buffers()}
        named = {"encoder": self._prefix, "head": self._head_name}
        tensors = {f"{self._prefix}.{name}": tensor for name, tensor in self._pooler.items()}
        for name, tensor in weights.items():
            if name in kept:  # of weights under two names one
                part, _, rest = name.partition(".")
                tensors[f"{named[part]}.{rest}"] = tensor
        config = self.encoder.config
        config.architectures = [self._architecture]
        mark(config, access)
        folder.mkdir(mode=0o700)
        config.save_pretrained(folder)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def mark(config: transformers.PretrainedConfig, access: str) -> None:
    """Mark an encoder that is made from text under a use agreement; a mark is never taken away."""
    if access == "dua":
        setattr(config, ACCESS, access)


def load_masked(name: str, dropout: float | Literal["checkpoint"], max_pieces: int) -> tuple[MaskedModel, LoadReport]:
    """A checkpoint with its head for masked pieces; a head that it lacks is drawn from torch's global generator.

    Raises:
        ConfigError: it cannot be loaded, is made for shorter inputs, or has no such head.
    """
    encoder, _ = load_encoder(name, dropout, max_pieces)
    pooler = take_pooler(encoder)
    try:
        whole, info = AutoModelForMaskedLM.from_pretrained(
            locate(name),
            config=encoder.config,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise ConfigError(f"encoder {name!r}: cannot be loaded with a head for masked pieces: {first_line}") from error
    missing = tuple(sorted(info["missing_keys"]))
    ignored = tuple(sorted(key for key in info["unexpected_keys"] if "pooler" not in key))
    taken = len(dict(whole.named_parameters())) - len(missing)
    return MaskedModel(whole, pooler), LoadReport(name, taken, missing, ignored)


def scratch_config(
    shape: ScratchSettings, vocabulary_size: int, padding: int, dropout: float | Literal["checkpoint"], max_pieces: int
) -> BertConfig:
    """A BERT of some shape that reads no more than ``max_pieces``: further positions would never be trained."""
    config = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=max_pieces,
        pad_token_id=padding,
    )
    if dropout != "checkpoint":
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    return config


def draw_masked(config: BertConfig) -> MaskedModel:
    """A BERT with its head for masked pieces, all weights drawn from torch's global generator."""
    return MaskedModel(BertForMaskedLM(config), None)
