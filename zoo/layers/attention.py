"""Multi-head self-attention over rows (Vaswani et al. 2017, section 3.2), in two parts: over all of a text, and over
its past with a state. Queries, keys and values come from one product, which is faster than three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

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

    prompt_part: ClassVar[int] = 0

    keys: tuple[Tensor, ...]  # B, each [layers, H, capacity, E]
    values: tuple[Tensor, ...]  # B, each [layers, H, capacity, E]
    lengths: tuple[int, ...]  # B

    @staticmethod
    def empty(layers: int, texts: int, heads: int, capacity: int, width: int, like: Tensor) -> KeyValues:
        """Room for `capacity` tokens in each of `texts`; dtype and device as `like`."""
        shape = (layers, heads, capacity, width)
        rooms = [tuple(like.new_empty(shape) for _ in range(texts)) for _ in range(2)]
        return KeyValues(rooms[0], rooms[1], (0,) * texts)

    def layer(self, index: int) -> LayerPast:
        """The part that one layer reads and writes."""
        return LayerPast([k[index] for k in self.keys], [v[index] for v in self.values], self.lengths)

    def grown(self, by: Sequence[int]) -> KeyValues:
        """The same buffers, counting the tokens just written."""
        return KeyValues(self.keys, self.values, tuple(a + b for a, b in zip(self.lengths, by, strict=True)))

    def parts(self) -> tuple[KeyValues, ...]:
        """Each text's own, in the same buffers."""
        texts = zip(self.keys, self.values, self.lengths, strict=True)
        return tuple(KeyValues((k,), (v,), (length,)) for k, v, length in texts)

    @staticmethod
    def joined(parts: Sequence[KeyValues]) -> KeyValues:
        """The texts of all, in the same buffers."""
        return KeyValues(
            tuple(k for part in parts for k in part.keys),
            tuple(v for part in parts for v in part.values),
            tuple(length for part in parts for length in part.lengths),
        )

    def cut(self, length: int) -> KeyValues:
        """Of one text the first `length` tokens, in the same buffers: what was written behind them is forgotten."""
        assert len(self.lengths) == 1 and length <= self.lengths[0]
        return KeyValues(self.keys, self.values, (length,))

    def resumed(self, length: int, capacity: int) -> KeyValues:
        """Of one text the first `length` tokens, in buffers of their own with room for `capacity`."""
        assert len(self.lengths) == 1 and length <= self.lengths[0]

        def moved(old: Tensor) -> Tensor:
            layers, heads, _, width = old.shape
            new = old.new_empty(layers, heads, capacity, width)
            new[:, :, :length] = old[:, :, :length]
            return new

        return KeyValues((moved(self.keys[0]),), (moved(self.values[0]),), (length,))


@dataclass(frozen=True)
class LayerPast:
    """One layer of a KeyValues."""

    keys: Sequence[Tensor]  # B, each [H, capacity, E]
    values: Sequence[Tensor]  # B, each [H, capacity, E]
    lengths: tuple[int, ...]

    def write(self, text: int, keys: Tensor, values: Tensor) -> int:
        """Put those of new tokens, [H, T, E] each, behind what is there; returns how many there are now."""
        before = self.lengths[text]
        end = before + keys.shape[1]
        self.keys[text][:, before:end] = keys
        self.values[text][:, before:end] = values
        return end


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
                    for text in range(count):
                        past.write(first + text, k[text], v[text])
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
    end = past.write(text, k, v)
    keys, values = past.keys[text][None, :, :end], past.values[text][None, :, :end]
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
