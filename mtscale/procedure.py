"""What the authors' code does otherwise than this project, switch by switch: the table ``[paper]`` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PaperSettings(BaseModel):
    """``[paper]``: what the authors' code does otherwise, for ``protocol = "paper"`` alone.

    Files are those of ncbi-nlp/bluebert, mt-bluebert/mt_bluebert, at commit f4b8af9; yfpeng/mt-bluebert has the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    cut: Literal["gold_aware", "gold_blind"] = Field(
        "gold_aware",
        description="sentences of over 30 words are cut after the last O tag that fits, on test too (split_if_longer, "
        "blue_prepro_std.py:166-196); 'gold_blind' does not look",
    )
    tag_classes: Literal["pieces", "words"] = Field(
        "pieces",
        description="tagging heads also have the classes X (a word's other pieces), CLS and SEP, and are trained on "
        "all pieces (build_data_sequence, blue_prepro_std.py:199-234; batcher.py, labels padded with -1); 'words': on "
        "the first piece of each word",
    )
    pair_order: Literal["second_first", "as_given"] = Field(
        "second_first",
        description="pairs read [CLS] second [SEP] first [SEP] (bert_feature_extractor, blue_prepro_std.py:156-161)",
    )
    too_long: Literal["drop", "cut"] = Field(
        "drop",
        description="sentences to tag of more than max_pieces are dropped in training and whole at evaluation, up to "
        "the encoder's positions (build_data_sequence tests words, blue_prepro_std.py:221; BatchGen.load, "
        "mt_dnn/batcher.py:60-64); 'cut' cuts them once more",
    )
    after_warmup: Literal["jump", "continuous"] = Field(
        "jump",
        description="learning rate of a step before which x of all are done: x / warmup, from 0 on, then 1 - x "
        "(warmup_linear of pytorch_pretrained_bert 0.6.0, called by mt_dnn/model.py); 'continuous' falls from the peak",
    )
    idle_heads: Literal["zero_grad", "skip"] = Field(
        "zero_grad",
        description="a head that was trained before takes every other task's step with a gradient of zero: momentum "
        "and decay move it (zero_grad of torch 1.1 in MTDNNModel.update, mt_dnn/model.py); 'skip' lets it rest",
    )
    tagging_dropout: Literal["per_example", "per_piece"] = Field(
        "per_example",
        description="one mask of a tagging head's dropout for all pieces of an example (DropoutWrapper with "
        "vb_dropout, module/dropout_wrapper.py and mt_dnn/matcher.py:48-66), or one for each piece",
    )
    similarity_bias: Literal["zero", "mean_score"] = Field(
        "zero",
        description="where the bias of similarity heads starts (_my_init, mt_dnn/matcher.py:70-88), or at the mean "
        "training score",
    )


# What the clean protocol does.
CLEAN_PROCEDURE = PaperSettings(
    cut="gold_blind",
    tag_classes="words",
    pair_order="as_given",
    too_long="cut",
    after_warmup="continuous",
    idle_heads="skip",
    tagging_dropout="per_piece",
    similarity_bias="mean_score",
)
