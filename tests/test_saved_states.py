"""Pickles from elsewhere, as states of a run and as weights of an encoder: none of what stands in them runs."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum
from deepspeed.utils.tensor_fragment import fragment_address

from mtscale.errors import ConfigError
from mtscale.model.encoder import load_encoder, load_tokenizer
from mtscale.training.saved_states import read_state


class Crafted:
    """Writes a file when it is unpickled without restraint."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def craft(path: Path, mark: Path, *, plain: bool = False) -> None:
    """A file of weights with something to run in it, which does run where nothing restrains it."""
    content = {"module": {"weight": torch.zeros(2)}, "then": Crafted(mark)}
    if plain:
        path.write_bytes(pickle.dumps(content, protocol=2))
        pickle.loads(path.read_bytes())
    else:
        torch.save(content, path)
        torch.load(path, weights_only=False)
    assert mark.exists()
    mark.unlink()


@pytest.mark.parametrize("plain", [False, True])
def test_a_crafted_state_is_refused_and_nothing_runs(tmp_path: Path, plain: bool) -> None:
    path, mark = tmp_path / "step-9" / "deepspeed" / "mp_rank_00_model_states.pt", tmp_path / "ran"
    path.parent.mkdir(parents=True)
    craft(path, mark, plain=plain)
    with pytest.raises(ConfigError, match=r"found other things in it, and nothing of it was run\. If .*step-9 is your"):
        read_state(str(path))
    assert not mark.exists()


def test_what_deepspeed_saves_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    scaler = DynamicLossScaler(
        init_scale=2**8,
        scale_window=500,
        min_scale=1.0,
        delayed_shift=2,
        consecutive_hysteresis=False,
        raise_error_at_min_scale=False,
    )
    scaler.cur_iter, scaler.last_overflow_iter = 9, 4
    state = {"scalers": [scaler, LossScaler(4.0)], "stage": ZeroStageEnum.gradients, "at": fragment_address(2, 7)}
    torch.save({**state, "moments": {0: torch.arange(3.0)}, "type": torch.bfloat16}, path)
    found = read_state(str(path), map_location="cpu")
    assert [vars(one) for one in found["scalers"]] == [vars(one) for one in state["scalers"]]  # type: ignore[attr-defined]
    assert (found["stage"], found["at"], found["type"]) == (state["stage"], state["at"], torch.bfloat16)
    assert torch.equal(found["moments"][0], torch.arange(3.0))


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    return tmp_path / "encoder"


def test_a_crafted_weight_file_of_an_encoder_is_refused_and_nothing_runs(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    craft(folder / "pytorch_model.bin", tmp_path / "ran")
    with pytest.raises(ConfigError, match="cannot load its weights"):
        load_encoder(str(folder), 0.0, 64)
    assert not (tmp_path / "ran").exists()


def test_code_that_an_encoder_brings_is_not_run_nor_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers asks on the terminal whether to run it, unless it is told not to."""
    asked = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or "y")
    code = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    (folder / "brought.py").write_text(f"{code}class Model: pass\nclass Config: pass\nclass Tokenizer: pass\n")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = {"AutoConfig": "brought.Config", "AutoModel": "brought.Model"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "brought", "auto_map": names}))
    path = folder / "tokenizer_config.json"
    tokenizer = {**json.loads(path.read_text(encoding="utf-8")), "tokenizer_class": "Brought"}
    path.write_text(json.dumps({**tokenizer, "auto_map": {"AutoTokenizer": ["brought.Tokenizer", None]}}))
    with pytest.raises(ConfigError, match="cannot load its weights"):
        load_encoder(str(folder), 0.0, 64)
    with pytest.raises(ConfigError, match="cannot load its tokenizer"):
        load_tokenizer(str(folder))
    assert not (tmp_path / "ran").exists()
    assert not asked
