"""Weights in a pickle become safetensors, and a pickle that would do something is refused before it can."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mtscale import cli
from mtscale.errors import EXIT_FINISHED, EXIT_REFUSED
from mtscale.model.encoder import load_encoder, load_tokenizer


@pytest.fixture
def pickled(tiny_encoder: Path, tmp_path: Path) -> Path:
    """The tiny encoder with its weights as a pickle alone."""
    folder = Path(shutil.copytree(tiny_encoder, tmp_path / "pickled"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    (folder / "surprise.py").write_text("raise SystemExit", encoding="utf-8")
    return folder


def test_a_converted_encoder_is_the_same(pickled: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "converted"
    assert cli.main(["encoders", "convert", str(pickled), "-o", str(out)]) == EXIT_FINISHED
    converted, expected = load_file(out / "model.safetensors"), load_file(tiny_encoder / "model.safetensors")
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[name], expected[name]) for name in expected)
    assert not (out / "surprise.py").exists()
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    texts = ["Naloxone and tremor."]
    assert load_tokenizer(str(out))(texts)["input_ids"] == load_tokenizer(str(tiny_encoder))(texts)["input_ids"]
    assert load_encoder(str(out), 0.0, 64)[1].missing == load_encoder(str(tiny_encoder), 0.0, 64)[1].missing


def test_parts_are_put_together_and_stay_in_their_folder(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    (pickled / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    where = {name: f"pytorch_model-{place % 2}.bin" for place, name in enumerate(names)}
    for part in set(where.values()):
        torch.save({name: tensors[name] for name in names if where[name] == part}, pickled / part)
    index = pickled / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": where}), encoding="utf-8")
    assert cli.main(["encoders", "convert", str(pickled), "-o", str(tmp_path / "out")]) == EXIT_FINISHED
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == tensors.keys()
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.bin"}}), encoding="utf-8")
    assert cli.main(["encoders", "convert", str(pickled), "-o", str(tmp_path / "other")]) == EXIT_REFUSED
    assert "expected names of files beside it" in capsys.readouterr().err


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self._ran = ran

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._ran}",)


def test_a_pickle_that_would_run_something_is_refused(
    pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran, out = tmp_path / "ran", tmp_path / "out"
    torch.save({"weight": Trap(ran)}, pickled / "pytorch_model.bin")
    assert cli.main(["encoders", "convert", str(pickled), "-o", str(out)]) == EXIT_REFUSED
    assert "nothing of it was run" in capsys.readouterr().err
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap(ran)}))
    assert cli.main(["encoders", "convert", str(pickled), "-o", str(out)]) == EXIT_REFUSED
    torch.save(["no names"], pickled / "pytorch_model.bin")
    assert cli.main(["encoders", "convert", str(pickled), "-o", str(out)]) == EXIT_REFUSED
    assert not ran.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["pickled"], "nothing half-written is left"


def test_what_needs_no_conversion_or_has_no_place_is_refused(
    tiny_encoder: Path, pickled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["encoders", "convert", str(tiny_encoder), "-o", str(tmp_path / "out")]) == EXIT_REFUSED
    assert "nothing to convert" in capsys.readouterr().err
    assert cli.main(["encoders", "convert", str(pickled), "-o", str(tmp_path)]) == EXIT_REFUSED
    assert "exists" in capsys.readouterr().err


def test_a_pickle_is_told_when_it_is_loaded(pickled: Path) -> None:
    assert "mtscale encoders convert" in str(load_encoder(str(pickled), 0.0, 64)[1])
