from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from mtscale.model.packing import Layout
from mtscale.model.reader import PieceReader

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
# Architectures that people name when they say "BERT": with and without token types, positions from behind the padding.
PACKED = ("bert", "roberta", "electra", "camembert", "xlm-roberta")
# Attention of their own, or layers that share weights; they must come out right either way.
ANY = ("albert", "deberta-v2", "mpnet", "distilbert")


def encoder_of(kind: str, dropout: float = 0.0) -> PreTrainedModel:
    torch.manual_seed(1)
    sizes = SIZES | {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    if kind == "distilbert":
        sizes |= {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "dropout": 0.0, "attention_dropout": 0.0}
    config: PreTrainedConfig = transformers.AutoConfig.for_model(kind, **sizes)
    made: PreTrainedModel = AutoModel.from_config(config)
    return made


def rows_of(lengths: list[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(5, 50, (length,), generator=generator) for length in lengths]


def one_by_one(encoder: PreTrainedModel, rows: list[Tensor], types: list[Tensor]) -> Tensor:
    """The hidden states of all pieces, each row run alone by transformers' own attention: no padding, no packing."""
    made = []
    for row, of_row in zip(rows, types, strict=True):
        arguments = {"input_ids": row[None]}
        if getattr(encoder.config, "type_vocab_size", 0) > 1:
            arguments["token_type_ids"] = of_row[None]
        made.append(encoder(**arguments).last_hidden_state[0])
    return torch.cat(made)


@pytest.mark.parametrize("kind", [*PACKED, *ANY])
def test_the_read_pieces_and_all_gradients_are_those_of_rows_run_alone(kind: str) -> None:
    alone = encoder_of(kind).train()
    together = copy.deepcopy(alone)
    rows = rows_of([7, 3, 12, 3])
    types = [(torch.arange(len(row)) > 1).long() for row in rows]
    read = torch.tensor([0, 2, 5, 9, 10, 24])
    weights = torch.randn(len(read), 16, generator=torch.Generator().manual_seed(2))
    reader = PieceReader(together)

    expected = one_by_one(alone, rows, types)[read]
    layout = Layout.of(np.array([len(row) for row in rows]))
    found = reader(torch.cat(rows), torch.cat(types), layout, read)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    others = dict(together.named_parameters())
    for name, parameter in alone.named_parameters():
        gradient = others[name].grad
        if parameter.grad is None:
            assert gradient is None or not gradient.any(), name
        else:
            assert gradient is not None, name
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("kind", PACKED)
def test_encoders_built_like_bert_are_packed(kind: str) -> None:
    encoder = encoder_of(kind).train()
    reader = PieceReader(encoder)
    assert reader.is_packed
    assert encoder.training


@pytest.mark.parametrize("kind", PACKED)
def test_linear_layers_see_no_padding_and_the_last_ones_only_what_is_read(kind: str) -> None:
    encoder = encoder_of(kind)
    reader = PieceReader(encoder)
    seen: list[int] = []
    for layer in encoder.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][..., 0].numel()))
    reader(torch.cat(rows_of([9, 2])), torch.zeros(11).long(), Layout.of(np.array([9, 2])), torch.tensor([0, 9]))
    assert seen == [11, 2]


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_padding_and_unpadding_are_each_others_inverse(lengths: list[int]) -> None:
    layout = Layout.of(np.array(lengths))
    packed = torch.arange(1.0, sum(lengths) * 3 + 1).view(-1, 3)
    padded = layout.pad(packed)
    assert padded.shape == (len(lengths), max(lengths), 3)
    assert layout.mask.sum(dim=1).tolist() == lengths
    assert (padded == 0).all(dim=2).equal(~layout.mask)
    assert layout.unpad(padded).equal(packed)
    assert layout.positions.tolist() == [place for length in lengths for place in range(length)]


def test_gradients_of_padding_and_unpadding_agree_with_finite_differences() -> None:
    layout = Layout.of(np.array([3, 1, 2]))
    packed = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    padded = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layout.pad, packed)
    assert torch.autograd.gradcheck(layout.unpad, padded)


def test_a_saved_encoder_is_the_plain_one(tmp_path: Path) -> None:
    encoder = encoder_of("bert", dropout=0.1)
    plain = copy.deepcopy(encoder)
    PieceReader(encoder)
    encoder.save_pretrained(tmp_path / "read")
    plain.save_pretrained(tmp_path / "plain")
    assert (tmp_path / "read" / "config.json").read_text() == (tmp_path / "plain" / "config.json").read_text()
    loaded = AutoModel.from_pretrained(tmp_path / "read").eval()
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(loaded(ids).last_hidden_state, plain.eval()(ids).last_hidden_state)
