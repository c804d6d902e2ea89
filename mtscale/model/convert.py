"""Weights that a checkpoint brings as a pickle, written as safetensors: a format in which nothing can run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mtscale.errors import ConfigError
from mtscale.model.encoder import locate

PICKLE, PICKLES = "pytorch_model.bin", "pytorch_model.bin.index.json"
# The config and all that tokenizers are made of; other files of a checkpoint may be anything.
KEPT = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)


def convert(name: str, target: Path) -> int:
    """Write an encoder (folder, alias or hub id) with safetensors into a new folder; the number of tensors.

    Raises:
        ConfigError: there is no such encoder, it has no pickle, something but tensors stands in it (none of it has
            run), or ``target`` exists.
    """
    if target.exists():
        raise ConfigError(f"{target} exists: give a folder that is not there yet")
    source = _folder(locate(name), name)
    tensors = {key: tensor for file in _files(source, name) for key, tensor in _read(file).items()}
    aside = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True, mode=0o700)
    try:
        # Weights that share memory, as tied ones do, would be refused.
        save_file(
            {key: one.clone().contiguous() for key, one in tensors.items()},
            aside / "model.safetensors",
            {"format": "pt"},
        )
        for kept in KEPT:
            if (source / kept).is_file():
                shutil.copyfile(source / kept, aside / kept)
        for written in aside.iterdir():
            written.chmod(0o600)
        os.rename(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return len(tensors)


def _folder(place: str, name: str) -> Path:
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(place, allow_patterns=[*KEPT, "pytorch_model*"]))
    except Exception as error:  # whatever its client meets on the way
        raise ConfigError(
            f"encoder {name!r}: expected a folder, or a hub id that is reachable or in the local cache (HF_HOME). "
            f"{type(error).__name__}"
        ) from error


def _files(folder: Path, name: str) -> list[Path]:
    """The pickles with an encoder's weights."""
    if (folder / PICKLE).is_file():
        return [folder / PICKLE]
    if not (folder / PICKLES).is_file():
        raise ConfigError(f"encoder {name!r}: expected weights in {PICKLE}, found none; there is nothing to convert")
    try:
        names = set(json.loads((folder / PICKLES).read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ConfigError(
            f"{folder / PICKLES}: expected a weight_map with names of files, found something else"
        ) from None
    if outside := [one for one in names if not isinstance(one, str) or Path(one).name != one]:
        raise ConfigError(f"{folder / PICKLES}: expected names of files beside it, found {len(outside)} others")
    return [folder / one for one in sorted(names)]


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a pickle, by torch's unpickler that runs nothing."""
    try:
        with warnings.catch_warnings():
            # Torch doubts that it can read pickles of a newer protocol; where it cannot, it says so by an error.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            read: object = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise ConfigError(
            f"{file}: expected tensors by name, found something else or half a file ({type(error).__name__}); nothing "
            "of it was run. Fetch the encoder from its authors again"
        ) from None
    if not isinstance(read, dict) or not all(
        isinstance(key, str) and isinstance(one, Tensor) for key, one in read.items()
    ):
        raise ConfigError(f"{file}: expected tensors by name, found other things in it; nothing of it was run")
    return read
