"""Dropout as training uses it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.training.dropout import ByteDropout, hasten


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("shape", [(1001,), (7, 11, 13), (0, 3)])
def test_drops_that_part_and_keeps_the_mean(probability: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape, requires_grad=True)
    y = ByteDropout(probability)(x)
    assert y.shape == x.shape
    factor = 1 / (1 - round(probability * 256) / 256)
    assert all(value == 0 or value == pytest.approx(factor) for value in y.unique().tolist())
    if x.numel():
        assert (y == 0).float().mean().item() == pytest.approx(probability, abs=0.06)
        assert y.mean().item() == pytest.approx(1, abs=0.15)
        y.sum().backward()
        assert torch.equal(x.grad, y.detach())  # ones in: what came through is the factor itself


def test_every_place_is_drawn_for_itself() -> None:
    """The eight masks of one random number are as independent as those of eight."""
    torch.manual_seed(0)
    kept = (ByteDropout(0.5)(torch.ones(4096, 8)) != 0).float()  # a row is one number's places
    together = kept.T.corrcoef().fill_diagonal_(0).abs()
    assert together.max() < 0.08
    assert (kept.mean(0) - 0.5).abs().max() < 0.04


def test_without_training_nothing_is_dropped() -> None:
    x = torch.randn(5, 5)
    assert torch.equal(ByteDropout(0.5).eval()(x), x)


def test_hasten_changes_plain_dropouts_alone() -> None:
    class Own(nn.Dropout):
        """A dropout of somebody's own, which stays."""

    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.25), nn.Sequential(Own(0.5), nn.Dropout(0.0))).eval()
    names = set(network.state_dict())
    hasten(network)
    inner = network[2]
    assert isinstance(inner, nn.Sequential)
    assert [type(m) for m in (network[1], *inner)] == [ByteDropout, Own, ByteDropout]
    assert not any(module.training for module in network.modules())
    assert set(network.state_dict()) == names
