"""The encoder with its head for masked pieces, against plain transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, BertConfig, RobertaConfig, RobertaForMaskedLM

from mtscale.encoders import is_marked
from mtscale.errors import ConfigError
from mtscale.model.encoder import load_encoder
from mtscale.model.masked import MASKED, MaskedModel, draw_masked, load_masked
from mtscale.model.packing import Layout
from mtscale.model.trainable import ENCODER

LENGTHS = np.array([9, 3, 12])
READ = torch.tensor([1, 4, 10, 13, 20])


def inputs(vocabulary: int) -> tuple[torch.Tensor, torch.Tensor, Layout]:
    ids = torch.randint(5, vocabulary, (int(LENGTHS.sum()),), generator=torch.Generator().manual_seed(3))
    return ids, torch.zeros_like(ids), Layout.of(LENGTHS)


def plain_logits(whole: torch.nn.Module, ids: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Those of transformers on padded rows, at the places read."""
    with torch.no_grad():
        logits = whole(input_ids=layout.pad(ids), attention_mask=layout.mask.long()).logits
    return torch.cat([logits[row, :length] for row, length in enumerate(LENGTHS)])[READ]


def test_logits_and_loss_are_those_of_transformers(tiny_encoder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, report = load_masked(str(tiny_encoder), 0.0, 64)
    assert any("predictions" in name for name in report.missing), "the tiny encoder has no head of its own"
    model.eval()
    ids, types, layout = inputs(model.encoder.config.vocab_size)
    logits = model(MASKED, ids, types, layout, READ).detach()
    model.save(tmp_path / "saved", model.state_dict(), "open")
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved").eval()
    expected = plain_logits(plain, ids, layout)
    assert torch.allclose(logits, expected, atol=1e-5)
    labels = ids[READ]
    chosen = torch.log_softmax(expected.double(), dim=-1)[torch.arange(len(READ)), labels]
    assert float(model.loss_sum(MASKED, logits, labels)) == pytest.approx(-float(chosen.sum()), rel=1e-5)


def test_each_weight_has_one_owner_and_output_weights_are_the_word_embeddings(tiny_encoder: Path) -> None:
    model, _ = load_masked(str(tiny_encoder), 0.0, 64)
    owned = [(owner, weight) for owner, weights in model.owners() for weight in weights]
    assert len({id(weight) for _, weight in owned}) == len(owned) == len(list(model.parameters()))
    assert {owner for owner, _ in owned} == model.moved_by(MASKED) == {ENCODER, MASKED}
    words = model.encoder.get_input_embeddings().weight
    assert [owner for owner, weight in owned if weight is words] == [ENCODER]
    assert any(weight is words for weight in model.head.parameters())


def test_what_is_saved_loads_with_nothing_missing_and_keeps_the_pooler(tiny_encoder: Path, tmp_path: Path) -> None:
    model, _ = load_masked(str(tiny_encoder), 0.0, 64)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.5)
    folder = tmp_path / "saved"
    model.save(folder, {name: tensor.clone() for name, tensor in model.state_dict().items()}, "dua")
    encoder, found = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    before = AutoModel.from_pretrained(tiny_encoder).state_dict()
    for name, tensor in encoder.state_dict().items():
        expected = before[name] if name.startswith("pooler") else before[name] + 0.5
        assert torch.equal(tensor, expected), name
    _, found = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    assert is_marked(str(folder))
    encoder.save_pretrained(tmp_path / "again")
    assert is_marked(str(tmp_path / "again")), "the mark outlives loading and saving by others"
    again, _ = load_masked(str(tmp_path / "again"), 0.0, 64)
    again.save(tmp_path / "third", again.state_dict(), "open")
    assert is_marked(str(tmp_path / "third")), "open text takes no mark away"
    assert not is_marked(str(tiny_encoder))
    assert not is_marked("some/hub-id")


def test_a_roberta_is_masked_too(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=90, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=66,
    )  # fmt: skip
    whole = RobertaForMaskedLM(config).eval()
    ids, types, layout = inputs(90)
    expected = plain_logits(whole, ids, layout)
    model = MaskedModel(whole, None).eval()
    assert torch.allclose(model(MASKED, ids, types, layout, READ), expected, atol=1e-5)
    model.save(tmp_path / "saved", model.state_dict(), "open")
    _, found = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not found["missing_keys"]


def test_an_architecture_without_a_known_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="BertModel has no head that is known here"):
        MaskedModel(load_encoder_of_no_use(), None)


def load_encoder_of_no_use() -> torch.nn.Module:
    return AutoModel.from_config(small())


def small() -> BertConfig:
    return BertConfig(vocab_size=90, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)


def test_an_encoder_from_scratch_is_drawn_from_the_seed(tmp_path: Path) -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(draw_masked(small()).state_dict())
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert not torch.equal(
        drawn[0]["head.predictions.transform.dense.weight"], drawn[2]["head.predictions.transform.dense.weight"]
    )
    draw_masked(small()).save(tmp_path / "saved", drawn[0], "open")
    encoder, report = load_encoder(str(tmp_path / "saved"), "checkpoint", 64)
    assert {name.split(".")[0] for name in report.missing} <= {"pooler"}
    assert torch.equal(
        encoder.state_dict()["embeddings.word_embeddings.weight"], drawn[0]["encoder.embeddings.word_embeddings.weight"]
    )
