"""The tables of settings in a recipe: names, defaults, limits and explanations. ``recipe`` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Cut = Literal["gold_blind", "gold_aware"]
LossWeights = Literal["static", "uncertainty"]
Mixing = Literal["proportional", "annealed", "temperature", "uniform", "round_robin"]


class Section(BaseModel):
    """A table of a recipe: unknown keys are refused, values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EncoderSettings(Section):
    """``[encoder]``: the shared layers."""

    name: str = Field(
        "sample", description="hub id, alias (biobert, ...), folder, or 'sample' for the packaged encoder"
    )
    max_pieces: int = Field(128, ge=8, le=512, description="longest input in word pieces, [CLS] and [SEP] included")
    dropout: Literal["checkpoint"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        "checkpoint", description="hidden and attention dropout; 'checkpoint' keeps the encoder's own"
    )


class StageSettings(Section):
    """``[refine]``, and ``[finetune]`` where it differs. Defaults are section 4.2 of the paper."""

    epochs: int = Field(100, ge=1, description="passes over the training examples, at most")
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better dev score")
    batch_size: int = Field(32, ge=1, description="examples in a mini-batch, over all ranks")
    learning_rate: float = Field(5e-5, gt=0, description="peak learning rate of Adamax")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the rate rises linearly")
    weight_decay: float = Field(0.01, ge=0, description="decoupled decay of weights (no biases, no layer norms)")
    clip: float = Field(1.0, gt=0, description="largest global gradient norm")
    head_dropout: float = Field(0.1, ge=0, lt=1, description="dropout before each head")
    mixing: Mixing = Field(
        "proportional",
        description="'proportional': every mini-batch of every task once an epoch (Algorithm 1); the others give small "
        "tasks more of as many steps (inputs/mixing.py)",
    )
    temperature: float = Field(2.0, ge=1, description="for mixing = 'temperature': shares as size ** (1 / temperature)")
    loss_weights: LossWeights = Field(
        "static",
        description="'static': each task's loss_weight; 'uncertainty': times a weight learned with the task's head "
        "(Kendall, Gal and Cipolla 2018, arXiv:1705.07115)",
    )
    batches: Literal["recomposed", "fixed"] = Field(
        "recomposed", description="mini-batches composed anew each epoch, or once as Algorithm 1 prints it"
    )
    order: Literal["by_length", "random"] = Field(
        "by_length", description="examples of similar length together (less padding), or at random"
    )


class FinetuneSettings(Section):
    """``[finetune]``: what is not given is taken from ``[refine]``."""

    epochs: int = Field(10, ge=1, description="passes over the task's training examples, at most")
    learning_rate: float = Field(1e-5, gt=0, description="peak learning rate, smaller than in refine")
    patience: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    warmup: float | None = Field(None, ge=0, lt=1)
    weight_decay: float | None = Field(None, ge=0)
    clip: float | None = Field(None, gt=0)
    head_dropout: float | None = Field(None, ge=0, lt=1)
    mixing: Mixing | None = None
    temperature: float | None = Field(None, ge=1)
    loss_weights: LossWeights | None = None
    batches: Literal["recomposed", "fixed"] | None = None
    order: Literal["by_length", "random"] | None = None


class PaperSettings(Section):
    """``[paper]``: what the authors' code does otherwise than the paper says, for ``protocol = "paper"`` alone."""

    cut: Cut = Field(
        "gold_aware",
        description="sentences of over 30 words are cut after the last O tag that fits, on test too (split_if_longer "
        "in ncbi-nlp/bluebert, mt-bluebert/mt_bluebert/blue_prepro_std.py); 'gold_blind' does not look",
    )
