"""Multi-head self-attention over rows (Vaswani et al. 2017, section 3.2), in two parts: over all of a text, and over
its past with a state. Queries, keys and values come from one product, which is faster than three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch, Trace


class SelfAttention(nn.Module):
    """Every token sees every token of its own text."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, batch: Batch, past: None = None, trace: Trace | None = None) -> Tensor:
        """[N, D] -> [N, D]."""
        assert past is None, "attention over a whole text carries no state"
        qkv = self.qkv(x).view(len(x), 3, self.heads, -1)  # [N, 3, H, E]
        drop = self.dropout if self.training else 0.0
        parts, maps = [], []
        for _, count, start, length in batch.groups:
            rows = qkv[start : start + count * length].view(count, length, 3, self.heads, -1)
            q, k, v = rows.permute(2, 0, 3, 1, 4)  # each [count, H, T, E]
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop)
            parts.append(mixed.transpose(1, 2).reshape(count * length, -1))  # [count*T, D]
            if trace is not None:
                maps.extend(_weights(q, k))
        if trace is not None:
            trace.attention.append(maps)
        return self.out(torch.cat(parts) if len(parts) > 1 else parts[0])


@dataclass(frozen=True)
class KeyValues:
    """Keys and values of the tokens read so far, for every layer and text; room for `capacity` tokens is made once.

    A value: a forward pass writes behind `lengths` and returns a state that counts the new tokens, so the older
    value goes on meaning what it meant as long as only one line of generation continues from it.
    """

    keys: Tensor  # [layers, B, H, capacity, E]
    values: Tensor  # [layers, B, H, capacity, E]
    lengths: tuple[int, ...]  # B

    @staticmethod
    def empty(layers: int, texts: int, heads: int, capacity: int, width: int, like: Tensor) -> KeyValues:
        """Room for `capacity` tokens in each of `texts`; dtype and device as `like`."""
        shape = (layers, texts, heads, capacity, width)
        return KeyValues(like.new_empty(shape), like.new_empty(shape), (0,) * texts)

    def layer(self, index: int) -> LayerPast:
        """The part that one layer reads and writes."""
        return LayerPast(self.keys[index], self.values[index], self.lengths)

    def grown(self, by: Sequence[int]) -> KeyValues:
        """The same buffers, counting the tokens just written."""
        return KeyValues(self.keys, self.values, tuple(a + b for a, b in zip(self.lengths, by, strict=True)))


@dataclass(frozen=True)
class LayerPast:
    """One layer of a KeyValues."""

    keys: Tensor  # [B, H, capacity, E]
    values: Tensor  # [B, H, capacity, E]
    lengths: tuple[int, ...]


class CausalAttention(nn.Module):
    """Every token sees itself and the tokens before it, those of the state included."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, batch: Batch, past: LayerPast | None = None, trace: Trace | None = None) -> Tensor:
        """[N, D] -> [N, D]; writes the new keys and values into `past` when there is one."""
        qkv = self.qkv(x).view(len(x), 3, self.heads, -1)  # [N, 3, H, E]
        drop = self.dropout if self.training else 0.0
        parts, maps = [], []
        for first, count, start, length in batch.groups:
            rows = qkv[start : start + count * length].view(count, length, 3, self.heads, -1)
            q, k, v = rows.permute(2, 0, 3, 1, 4)  # each [count, H, T, E]
            if past is None or not any(past.lengths[first : first + count]):
                if past is not None:
                    past.keys[first : first + count, :, :length] = k
                    past.values[first : first + count, :, :length] = v
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1, dropout_p=drop)
                if trace is not None:
                    maps.extend(_weights(q, k, causal_from=0))
            else:
                mixed = torch.cat([_go_on(q[i], k[i], v[i], past, first + i) for i in range(count)])
                assert trace is None, "a trace is taken of a whole text, without a state"
            parts.append(mixed.transpose(1, 2).reshape(count * length, -1))  # [count*T, D]
        if trace is not None:
            trace.attention.append(maps)
        return self.out(torch.cat(parts) if len(parts) > 1 else parts[0])


def _go_on(q: Tensor, k: Tensor, v: Tensor, past: LayerPast, text: int) -> Tensor:
    """Attention of the new tokens of one text over its past and themselves: [H, T, E] each -> [1, H, T, E]."""
    before, new = past.lengths[text], q.shape[1]
    past.keys[text, :, before : before + new] = k
    past.values[text, :, before : before + new] = v
    keys, values = past.keys[text : text + 1, :, : before + new], past.values[text : text + 1, :, : before + new]
    mask = None
    if new > 1:  # new token t sees the past and the new ones up to itself
        mask = torch.ones(new, before + new, dtype=torch.bool, device=q.device).tril(before)
    return F.scaled_dot_product_attention(q[None].to(keys.dtype), keys, values, attn_mask=mask).to(q.dtype)


def _weights(q: Tensor, k: Tensor, causal_from: int | None = None) -> list[Tensor]:
    """Attention maps of a group, one [H, T, T] a text; written out, since the fused kernel does not give them."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # [count, H, T, T]
    if causal_from is not None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril(causal_from)
        scores = scores.masked_fill(~seen, float("-inf"))
    return list(scores.softmax(-1))
