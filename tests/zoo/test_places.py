"""What XLNet keeps of distances between passes is what it would compute, and is forgotten when weights change."""

from __future__ import annotations

import pytest
import torch

from tests import nets
from zoo.contracts import Batch, Encoding, Trace
from zoo.layers import relative
from zoo.models.xlnet import Xlnet


def batch(*lengths: int) -> Batch:
    ids = [tuple(4 + (7 * i * i + n) % 5 for i in range(n)) for n in lengths]
    return Batch.of([Encoding(own, (0,) * len(own), ((0, 0),) * len(own), (0,) * len(own)) for own in ids])


def rows(body: Xlnet, *lengths: int) -> torch.Tensor:
    with torch.inference_mode():
        return body(batch(*lengths)).last


@pytest.fixture
def body() -> Xlnet:
    made = nets.xlnet_model().network.body
    assert isinstance(made, Xlnet)
    return made


def test_kept_distances_change_nothing(body: Xlnet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of texts that come together, become longer and shorter again, and of one that is too long to be kept."""
    asked = [(3,), (9, 4), (70,), (2, 2, 80), (5,), (3,)]
    kept = [rows(body, *lengths) for lengths in asked]
    assert body._known is not None
    monkeypatch.setattr(relative, "KEPT", 0)
    for lengths, mine in zip(asked, kept, strict=True):
        body._known = None
        torch.testing.assert_close(mine, rows(body, *lengths), rtol=1e-5, atol=1e-6)
        assert body._known is None


def test_distances_are_computed_once(body: Xlnet, monkeypatch: pytest.MonkeyPatch) -> None:
    rows(body, 9)
    monkeypatch.setattr(relative, "distances", lambda *given: pytest.fail("again"))
    place = body.blocks[0].get_submodule("attention.place")
    place.register_forward_hook(lambda *given: pytest.fail("again"))
    rows(body, 9)
    rows(body, 4, 7)


def test_what_is_computed_in_bf16_is_not_kept(body: Xlnet) -> None:
    before = rows(body, 9)
    with torch.autocast("cpu", torch.bfloat16):
        half = rows(body, 12)
    assert (half[:9] - rows(body, 12)[:9]).abs().max() > 1e-4
    assert torch.equal(rows(body, 9), before)


def test_new_weights_have_new_distances(body: Xlnet) -> None:
    before = rows(body, 9)
    weight = body.blocks[0].get_parameter("attention.place.weight")
    with torch.no_grad():
        weight.mul_(-1000)
    after = rows(body, 9)
    assert (before - after).abs().max() > 1e-4
    with torch.no_grad():
        weight.div_(-1000)
    torch.testing.assert_close(rows(body, 9), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 9])
def test_blocks_change_nothing(size: int, body: Xlnet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of texts of equal length together, of two segments, whose tokens do not see all, and what attention looked at."""
    read = Batch.of([Encoding(tuple(range(3, 12)), (0,) * 4 + (1,) * 5, ((0, 0),) * 9, (0,) * 9)] * 2)
    unseen = [torch.ones(9, 9, dtype=torch.bool).triu(), torch.ones(9, 9, dtype=torch.bool).tril(-2)]

    def told(block: int) -> list[torch.Tensor]:
        monkeypatch.setattr(relative, "BLOCK", block)
        trace = Trace()
        with torch.inference_mode():
            streams = body.permuted(read, unseen, [[1, 8, 3], [0, 5, 7]])
            last = body(read, trace=trace).last
        maps = [one for layer in trace.attention for one in layer]
        return [rows(body, 9, 9, 20), last, streams.content, streams.query, *maps]

    for mine, whole in zip(told(size), told(100), strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-5, atol=1e-5)
