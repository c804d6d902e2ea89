from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mtscale.model.dropout import Dropout, drop, swap_dropout

SIZE = 200_003  # not a multiple of the elements that share a draw


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_the_share_of_zeros_is_p_and_the_others_are_scaled(p: float) -> None:
    torch.manual_seed(1)
    dropped = drop(torch.ones(SIZE), p)
    zeros = int((dropped == 0).sum())
    # Four standard deviations of the binomial distribution.
    assert abs(zeros - SIZE * p) < 4 * math.sqrt(SIZE * p * (1 - p))
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - p)], rel=2e-4)


def test_neighbours_that_share_a_draw_fall_independently() -> None:
    torch.manual_seed(1)
    kept = drop(torch.ones(4 * 50_000), 0.5).view(-1, 4) != 0
    patterns = (kept.long() * torch.tensor([1, 2, 4, 8])).sum(dim=1).bincount(minlength=16)
    expected = len(kept) / 16
    chi_square = float(((patterns - expected) ** 2 / expected).sum())
    assert chi_square < 37.7  # 15 degrees of freedom, p = 0.001


def test_the_gradient_falls_where_the_value_fell() -> None:
    values = torch.full((70, 33), 2.0, requires_grad=True)
    torch.manual_seed(3)
    dropped = drop(values, 0.3)
    dropped.backward(torch.ones_like(dropped))
    assert values.grad is not None
    torch.testing.assert_close(values.grad, dropped.detach() / 2.0)


def test_masks_come_from_torchs_seed() -> None:
    masks = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        masks.append(drop(torch.ones(1000), 0.5))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_type_stays(dtype: torch.dtype) -> None:
    assert drop(torch.ones(9, dtype=dtype), 0.5).dtype == dtype


def test_p_of_0_and_1() -> None:
    values = torch.ones(8)
    assert drop(values, 0.0) is values
    assert not drop(values, 1.0).any()


def test_every_dropout_in_a_module_is_swapped_and_only_drops_in_training() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.25), nn.ReLU()), nn.Dropout(0.5))
    swap_dropout(module)
    swapped = [child for child in module.modules() if isinstance(child, nn.Dropout)]
    assert [(type(child), child.p) for child in swapped] == [(Dropout, 0.25), (Dropout, 0.5)]
    values = torch.ones(1000)
    assert swapped[1].eval()(values) is values
    assert not swapped[1].train()(values).all()
