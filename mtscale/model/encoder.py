"""The shared encoder: any Hugging Face BERT-type checkpoint by hub id, alias or folder, or the packaged ``sample``.

Weights that exist as ``.bin`` alone are read by torch's restricted unpickler, as transformers does. Code that a
checkpoint brings is never run, nor is anybody asked whether it should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from mtscale.encoders import ALIASES
from mtscale.errors import ConfigError
from mtscale.model.sample import sample_encoder
from mtscale.offline import is_offline

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


@dataclass(frozen=True)
class LoadReport:
    """What loading took from the checkpoint: counts of tensors taken, names of those missing and ignored.

    ``pickled``: its weights are a pickle in a folder.
    """

    source: str
    taken: int
    missing: tuple[str, ...]
    ignored: tuple[str, ...]
    pickled: bool = False

    def __str__(self) -> str:
        def some(names: tuple[str, ...]) -> str:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            return f"{len(names)}" + (f" ({shown})" if names else "")

        return (
            f"encoder {self.source}: {self.taken} tensors taken, {some(self.missing)} missing and drawn at random, "
            f"{some(self.ignored)} in the checkpoint ignored"
            + (f"; its weights are a pickle: `mtscale encoders convert {self.source}`" if self.pickled else "")
        )


def locate(name: str) -> str:
    """The folder or hub id behind an encoder's name in a recipe.

    Raises:
        ConfigError: a folder without a config or without weights.
    """
    if name == "sample":
        return str(sample_encoder())
    if name in ALIASES:
        return ALIASES[name]
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith(("/", ".", "~")):
            raise ConfigError(f"encoder {name!r}: no such folder")
        return name
    if not (folder / "config.json").is_file():
        raise ConfigError(f"encoder folder {folder}: no config.json in it")
    if not any((folder / weights).is_file() for weights in WEIGHT_FILES):
        raise ConfigError(f"encoder folder {folder}: no weights in it, expected one of {', '.join(WEIGHT_FILES)}")
    return str(folder)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The encoder's fast tokenizer.

    Raises:
        ConfigError: as ``open_tokenizer``, or there is no such encoder.
    """
    return open_tokenizer(locate(name), name)


def open_tokenizer(place: str, name: str) -> PreTrainedTokenizerBase:
    """The fast tokenizer in a folder or behind a hub id, of the encoder ``name``.

    Raises:
        ConfigError: it cannot be loaded, has no vocabulary, no fast form or no [CLS] and [SEP], or lower-cases text
            for a vocabulary with capitals (every capitalised entry would be out of reach).
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(_not_loaded("tokenizer", name, error)) from error
    if not tokenizer.is_fast or None in (
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.pad_token_id,
        tokenizer.unk_token_id,
    ):
        raise ConfigError(f"encoder {name!r}: its tokenizer has no fast form, or no [CLS], [SEP] and [PAD]")
    special = set(tokenizer.all_special_tokens)
    if not tokenizer.get_vocab().keys() - special:
        raise ConfigError(f"encoder {name!r}: no vocabulary with it, expected tokenizer.json or vocab.txt")
    # A tokenizer.json may pad and truncate by itself, silently; both are for inputs.encode to do and to count.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    lowered = tokenizer.backend_tokenizer.normalizer
    if lowered is not None and lowered.normalize_str("A") == "a":
        capitals = sum(1 for piece in tokenizer.get_vocab() if piece != piece.lower() and piece not in special)
        # Uncased vocabularies hold no capitals but those of special and unused entries such as "[unused1]".
        if capitals > len(tokenizer.get_vocab()) // 100:
            raise ConfigError(
                f"encoder {name!r}: the tokenizer lower-cases but {capitals} entries of its vocabulary have capitals; "
                'set "do_lower_case": false in its tokenizer_config.json'
            )
    return tokenizer


def load_encoder(
    name: str, dropout: float | Literal["checkpoint"], max_pieces: int
) -> tuple[PreTrainedModel, LoadReport]:
    """The encoder in float32 with its loading report; missing tensors are drawn from torch's global generator.

    Raises:
        ConfigError: it cannot be loaded, or is made for shorter inputs than ``max_pieces``.
    """
    place = locate(name)
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        if dropout != "checkpoint":
            config.hidden_dropout_prob = dropout
            config.attention_probs_dropout_prob = dropout
        model, info = AutoModel.from_pretrained(
            place, config=config, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    except Exception as error:  # a broken weight file raises whatever safetensors, torch or pickle chose for it
        raise ConfigError(_not_loaded("weights", name, error)) from error
    longest = getattr(config, "max_position_embeddings", max_pieces)
    if longest < max_pieces:
        raise ConfigError(f"encoder {name!r} reads at most {longest} pieces, encoder.max_pieces is {max_pieces}")
    missing = tuple(sorted(info["missing_keys"]))
    report = LoadReport(
        source=name,
        taken=len(model.state_dict()) - len(missing),
        missing=missing,
        ignored=tuple(sorted(info["unexpected_keys"])),
        pickled=Path(place).is_dir() and not any((Path(place) / one).is_file() for one in WEIGHT_FILES[:2]),
    )
    return model, report


def longest_input(name: str) -> int:
    """The most pieces that an encoder has positions for, 512 at most."""
    return positions(AutoConfig.from_pretrained(locate(name), trust_remote_code=False))


def positions(config: transformers.PretrainedConfig) -> int:
    """The positions of an encoder with this config, 512 at most."""
    return min(512, int(getattr(config, "max_position_embeddings", 512)))


def take_pooler(encoder: PreTrainedModel) -> nn.Module | None:
    """Take the [CLS] pooler out of the encoder, so that tagging neither computes nor moves it; None if it has none."""
    pooler = getattr(encoder, "pooler", None)
    if not isinstance(pooler, nn.Module):
        return None
    encoder.register_module("pooler", None)
    return pooler


def _not_loaded(what: str, name: str, error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    if is_offline():
        return (
            f"encoder {name!r}: cannot load its {what}, and no hub is asked: tasks under a use agreement are trained "
            "offline (or HF_HUB_OFFLINE is set). Give the folder of an encoder, fetch it on its own before, or set "
            f"HF_HUB_OFFLINE=0 to allow the hub to be asked. {type(error).__name__}: {first_line}"
        )
    return (
        f"encoder {name!r}: cannot load its {what}. Expected a folder in Hugging Face format or a hub id that is "
        f"reachable or in the local cache (HF_HOME). {type(error).__name__}: {first_line}"
    )
