"""The parts, each against its formula written out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo.contracts import Batch, Encoding, Trace
from zoo.heads import Classifier, LanguageModel, MaskedLanguageModel, PlainPool, Pooler, RowScores
from zoo.layers.activations import gelu_erf, gelu_tanh, relu
from zoo.layers.attention import CausalAttention, KeyValues, SelfAttention
from zoo.layers.blocks import FeedForward, PostNormBlock, PreNormBlock
from zoo.layers.pooling import first_token, last_token

WIDTH, HEADS = 12, 3
LENGTHS = (4, 4, 1, 6, 2, 2)


@pytest.fixture(autouse=True)
def in_double_precision() -> Iterator[None]:
    """Formulas are compared in float64, so that only mistakes differ."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        yield
    torch.set_default_dtype(torch.float32)


def layout(lengths: Sequence[int] = LENGTHS) -> Batch:
    """A batch of texts of these lengths; the ids do not matter here."""
    return Batch.of([Encoding((0,) * n, (0,) * n, ((0, 0),) * n, (0,) * n) for n in lengths])


def rows(lengths: Sequence[int] = LENGTHS) -> Tensor:
    """Random rows [N, D]."""
    return torch.randn(sum(lengths), WIDTH)


def close(a: Tensor, b: Tensor) -> None:
    """Equal up to the rounding of float64."""
    assert a.shape == b.shape
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("x", [-5.0, -1.0, -0.1, 0.0, 0.3, 1.0, 2.5, 8.0])
def test_activations(x: float) -> None:
    value = torch.tensor(x)
    assert float(gelu_erf(value)) == pytest.approx(x * 0.5 * (1 + math.erf(x / math.sqrt(2))), abs=1e-12)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    assert float(gelu_tanh(value)) == pytest.approx(0.5 * x * (1 + math.tanh(inner)), abs=1e-12)
    assert float(relu(value)) == max(x, 0.0)


def attend(layer: SelfAttention | CausalAttention, x: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """One text by the formula, head by head and token by token: rows [T, D] and maps [H, T, T]."""
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    size = WIDTH // HEADS
    outs, maps = [], torch.zeros(HEADS, len(x), len(x))
    for h in range(HEADS):
        part = slice(h * size, (h + 1) * size)
        out = []
        for t in range(len(x)):
            seen = t + 1 if causal else len(x)
            weights = torch.softmax(k[:seen, part] @ q[t, part] / math.sqrt(size), dim=0)
            maps[h, t, :seen] = weights
            out.append(weights @ v[:seen, part])
        outs.append(torch.stack(out))
    return layer.out(torch.cat(outs, dim=1)), maps


@pytest.mark.parametrize("kind", [SelfAttention, CausalAttention])
def test_attention(kind: type[SelfAttention] | type[CausalAttention]) -> None:
    """Text by text over packed rows, and the maps; the texts do not see each other."""
    layer, batch, x = kind(WIDTH, HEADS).eval(), layout(), rows() * 3
    trace = Trace()
    out = layer(x, batch, trace=trace)
    close(layer(x, batch), out)
    assert len(trace.attention) == 1
    for text, got, seen in zip(batch.split(x), batch.split(out), trace.attention[0], strict=True):
        wanted, maps = attend(layer, text, causal=kind is CausalAttention)
        close(got, wanted)
        close(seen, maps)


@pytest.mark.parametrize("kind", [SelfAttention, CausalAttention])
def test_dropout_is_for_training(kind: type[SelfAttention] | type[CausalAttention]) -> None:
    layer, batch, x = kind(WIDTH, HEADS, dropout=0.5), layout(), rows()
    assert not torch.equal(layer.train()(x, batch), layer(x, batch))
    assert torch.equal(layer.eval()(x, batch), layer(x, batch))


def room(lengths: Sequence[int], capacity: int = 9) -> KeyValues:
    """Room that holds NaN wherever nothing was written."""
    state = KeyValues.empty(1, len(lengths), HEADS, capacity, WIDTH // HEADS, torch.empty(0))
    for buffer in state.buffers:
        buffer.fill_(math.nan)
    return state


@pytest.mark.parametrize(
    "steps", [[LENGTHS, (1,) * 6], [(2,) * 6, (3, 3, 3, 1, 1, 2), (1, 2, 2, 2, 1, 1)], [(1,) * 6] * 5]
)
def test_attention_over_a_state(steps: list[Sequence[int]]) -> None:
    """In steps of any sizes it is the attention over the whole text."""
    layer = CausalAttention(WIDTH, HEADS).eval()
    totals = [sum(sizes) for sizes in zip(*steps, strict=True)]
    texts = [torch.randn(total, WIDTH) for total in totals]
    state, done = room(totals), [0] * len(texts)
    parts: list[list[Tensor]] = [[] for _ in texts]
    for sizes in steps:
        x = torch.cat([text[at : at + n] for text, at, n in zip(texts, done, sizes, strict=True)])
        batch = layout(sizes)
        for part, new in zip(parts, batch.split(layer(x, batch, state.layer(0))), strict=True):
            part.append(new)
        done = [at + n for at, n in zip(done, sizes, strict=True)]
        state = state.grown(sizes)
        assert state.lengths == tuple(done)
    for text, part in zip(texts, parts, strict=True):
        close(torch.cat(part), attend(layer, text, causal=True)[0])


def test_state_is_made_like_the_parameters() -> None:
    state = KeyValues.empty(2, 3, HEADS, 5, 4, torch.empty(0, dtype=torch.float32))
    assert state.lengths == (0, 0, 0)
    assert len({buffer.data_ptr() for buffer in state.buffers}) == 3
    for buffer in state.buffers:
        assert buffer.shape == (2, 2, HEADS, 5, 4)
        assert buffer.dtype == torch.float32


def test_layers_of_a_state_are_apart() -> None:
    """Each layer writes its own part."""
    state = KeyValues.empty(2, 1, HEADS, 2, WIDTH // HEADS, torch.empty(0))
    state.buffers[0].zero_()
    CausalAttention(WIDTH, HEADS).eval()(rows((2,)), layout((2,)), state.layer(1))
    assert not state.buffers[0][0].any()
    assert state.buffers[0][1].all()


def test_feed_forward() -> None:
    layer, x = FeedForward(WIDTH, 7, gelu_tanh), rows()
    close(layer(x), gelu_tanh(x @ layer.up.weight.T + layer.up.bias) @ layer.down.weight.T + layer.down.bias)


class Double(nn.Module):
    """Stands for attention: the rows times two."""

    def forward(self, x: Tensor, batch: Batch, past: None = None, trace: Trace | None = None) -> Tensor:
        return 2 * x


def shaken(norm: nn.LayerNorm) -> nn.LayerNorm:
    """A norm that shows when it is left out or taken for another."""
    norm.weight.copy_(torch.randn(WIDTH))
    norm.bias.copy_(torch.randn(WIDTH))
    return norm


def normed(norm: nn.LayerNorm, x: Tensor, eps: float) -> Tensor:
    """The norm by its formula."""
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.pow(2).mean(1, keepdim=True) + eps).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_post_norm_block(eps: float) -> None:
    feed_forward, x = FeedForward(WIDTH, 7, relu), rows()
    block = PostNormBlock(Double(), feed_forward, WIDTH, eps, dropout=0.5).eval()
    first, second = shaken(block.attention_norm), shaken(block.feed_forward_norm)
    middle = normed(first, x + 2 * x, eps)
    close(block(x, layout()), normed(second, middle + feed_forward(middle), eps))


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_pre_norm_block(eps: float) -> None:
    feed_forward, x = FeedForward(WIDTH, 7, relu), rows()
    block = PreNormBlock(Double(), feed_forward, WIDTH, eps, dropout=0.5).eval()
    first, second = shaken(block.attention_norm), shaken(block.feed_forward_norm)
    middle = x + 2 * normed(first, x, eps)
    close(block(x, layout()), middle + feed_forward(normed(second, middle, eps)))


def test_pools() -> None:
    x, batch = rows(), layout()
    texts = list(batch.split(x))
    close(first_token(x, batch), torch.stack([text[0] for text in texts]))
    close(last_token(x, batch), torch.stack([text[-1] for text in texts]))


def test_pooled_heads() -> None:
    x, batch = rows(), layout()
    first = torch.stack([text[0] for text in batch.split(x)])
    last = torch.stack([text[-1] for text in batch.split(x)])
    pooler = Pooler(first_token, WIDTH)
    pooled = torch.tanh(first @ pooler.dense.weight.T + pooler.dense.bias)
    close(pooler(x, batch), pooled)
    classifier = Classifier(pooler, WIDTH, 5, dropout=0.5).eval()
    close(classifier(x, batch), pooled @ classifier.out.weight.T + classifier.out.bias)
    plain = Classifier(PlainPool(last_token), WIDTH, 5, bias=False).eval()
    assert plain.out.bias is None
    close(plain(x, batch), last @ plain.out.weight.T)


def test_row_heads() -> None:
    x, batch = rows(), layout()
    head = RowScores(WIDTH, 2)
    close(head(x, batch), x @ head.out.weight.T + head.out.bias)


def test_language_heads() -> None:
    x, batch, words = rows(), layout(), nn.Embedding(17, WIDTH)
    tied = LanguageModel(words)
    assert tied.embedding is words
    close(tied(x, batch), x @ words.weight.T)
    masked = MaskedLanguageModel(words, gelu_erf, eps=0.1)
    masked.bias.copy_(torch.randn(17))
    norm = shaken(masked.norm)
    inner = gelu_erf(x @ masked.dense.weight.T + masked.dense.bias)
    close(masked(x, batch), normed(norm, inner, 0.1) @ words.weight.T + masked.bias)


def test_in_half_precision_a_text_attends_in_company_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes on in the type of its past, one that begins in its own, though both have as many new tokens."""
    layer, types = CausalAttention(WIDTH, HEADS).bfloat16(), []
    real = torch.nn.functional.scaled_dot_product_attention

    def seen(q: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        types.append(q.dtype)
        return real(q, *args, **kwargs)

    monkeypatch.setattr("zoo.layers.attention.F.scaled_dot_product_attention", seen)
    x, past = rows((2, 2)).bfloat16(), torch.randn(2, HEADS, 3, WIDTH // HEADS)

    def read(*texts: int) -> Tensor:
        before = [(3, 0)[text] for text in texts]
        state = KeyValues.empty(1, len(texts), HEADS, 8, WIDTH // HEADS, torch.zeros(1, dtype=torch.float32))
        for buffer, length in zip(state.buffers, before, strict=True):
            buffer[0, :, :, :length] = past[:, :, :length]
        batch = Batch.continuing([(0, 0)] * len(texts), before)
        new = torch.cat([x[2 * text : 2 * text + 2] for text in texts])
        return layer(new, batch, KeyValues(state.buffers, tuple(before)).layer(0))

    both, alone = read(0, 1), torch.cat([read(0), read(1)])
    assert types == [torch.float32, torch.bfloat16] * 2
    torch.testing.assert_close(both, alone, rtol=0.01, atol=0.01)
