"""The tables of settings in a recipe: names, defaults, limits and explanations. ``recipe`` puts them together."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LossWeights = Literal["static", "uncertainty"]
Mixing = Literal["proportional", "annealed", "temperature", "uniform", "round_robin"]
TextFormat = Literal["lines", "paragraphs", "files", "pubtator", "jsonl"]
Cleaning = Literal["none", "bluebert"]


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
    affinity_every: int | None = Field(
        None,
        ge=1,
        description="refine: after so many steps each, sample the tasks' gradient cosines and look-ahead affinities "
        "(training/affinity.py says what that costs)",
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


class ScratchSettings(Section):
    """``[pretrain.scratch]``: the shape of a BERT whose weights are drawn, and its vocabulary. Defaults: BERT-base."""

    layers: int = Field(12, ge=1, le=96, description="layers")
    hidden: int = Field(768, ge=8, le=8192, description="units of a layer")
    heads: int = Field(12, ge=1, le=128, description="attention heads, a divisor of hidden")
    intermediate: int = Field(3072, ge=8, le=65536, description="units of a layer's feed-forward part")
    vocabulary: int = Field(
        30522,
        ge=100,
        le=500_000,
        description="word pieces of the WordPiece vocabulary trained on the same text, at most",
    )
    min_count: int = Field(2, ge=1, description="how often a piece must occur in the text to be joined from others")
    case: Literal["lower", "kept"] = Field("lower", description="whether the vocabulary knows capitals")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden, found {self.heads} and {self.hidden}")
        return self


class PretrainSettings(Section):
    """``[pretrain]``: masked language modelling on text, as in BERT (section 3.5.1 of the paper)."""

    files: tuple[str, ...] = Field(
        (),
        strict=False,
        description="the text: files, or patterns with * and ?, below the data root or beside the recipe, or absolute; "
        "after 'sample:' those of the packaged sample",
    )
    format: TextFormat = Field(
        "lines",
        description="'lines': a document a line of text; 'paragraphs': documents between blank lines; 'files': one "
        "a file; 'pubtator'; 'jsonl': an object a line",
    )
    field: str | None = Field(None, min_length=1, description="jsonl: the member that holds the text ('text')")
    access: Literal["open", "dua"] = Field(
        "dua",
        description="whether the text may be passed on, or lies under a use agreement; the encoder bears the mark",
    )
    clean: Cleaning = Field(
        "none", description="'bluebert': lower case, ASCII only, Penn Treebank tokens, as BlueBERT's authors did"
    )
    start: Literal["encoder", "scratch"] = Field(
        "encoder", description="go on from the encoder of [encoder], or draw the one of [pretrain.scratch]"
    )
    scratch: ScratchSettings = ScratchSettings()
    heldout: float = Field(
        0.05, gt=0, lt=1, description="share of the documents, drawn by their text, on which nothing is trained"
    )
    masking: Literal["pieces", "words"] = Field("pieces", description="mask single word pieces, or whole words")
    mask_rate: float = Field(0.15, gt=0, lt=1, description="share of a row's pieces that are to be predicted")
    as_mask: float = Field(0.8, ge=0, le=1, description="of these, the share that is replaced by [MASK]")
    at_random: float = Field(0.1, ge=0, le=1, description="and by another piece at random; the rest stays as it is")
    epochs: int | None = Field(None, ge=1, description="passes over the text (1); or give steps")
    steps: int | None = Field(None, ge=1, description="mini-batches, instead of epochs")
    evaluate_every: int | None = Field(
        None, ge=1, description="steps between looks at the held-out text, with a checkpoint; without it, every epoch"
    )
    batch_size: int = Field(32, ge=1, description="rows of at most encoder.max_pieces in a mini-batch, over all ranks")
    learning_rate: float = Field(1e-4, gt=0, description="peak learning rate of Adamax")
    warmup: float = Field(0.01, ge=0, lt=1, description="share of the steps over which the rate rises linearly")
    weight_decay: float = Field(0.01, ge=0, description="decoupled decay of weights (no biases, no layer norms)")
    clip: float = Field(1.0, gt=0, description="largest global gradient norm")
    cache_gib: float = Field(
        50.0, gt=0, description="the most disk for encoded text; beyond it parts are encoded anew each epoch"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if outside := [name for name in self.files if ".." in PurePath(name).parts]:
            raise ValueError(f"files must not lead out of their folder by '..', found {', '.join(map(repr, outside))}")
        if self.field is not None and self.format != "jsonl":
            raise ValueError(f"field is for format = 'jsonl' alone, found format = {self.format!r}")
        if self.start != "scratch" and "scratch" in self.model_fields_set:
            raise ValueError("[pretrain.scratch] is for start = 'scratch' alone: leave it out or change start")
        if self.as_mask + self.at_random > 1:
            raise ValueError(f"as_mask and at_random must add up to at most 1, found {self.as_mask + self.at_random:g}")
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        return self
