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
from zoo.processor import multiplies_tiles


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
            mixed = attend(q, k, v, drop)
            parts.append(mixed.transpose(1, 2).reshape(count * length, -1))  # [count*T, D]
            if trace is not None:
                maps.extend(_weights(q, k))
        if trace is not None:
            trace.attention.append(maps)
        return self.out(torch.cat(parts) if len(parts) > 1 else parts[0])


PARTED = 64  # tokens from which it is worth it


def attend(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0) -> Tensor:
    """Attention of every token over all of its text: [B, H, T, E] each -> the same.

    In bf16 the fused kernel is slower than its parts on processors without AMX: on an AMD EPYC a text of 384 tokens
    with twelve heads takes 4.7 ms in it and 2.2 in three steps, one of 128 0.46 and 0.29 (two cores).
    """
    parted = q.dtype == torch.bfloat16 and q.shape[-2] >= PARTED and not dropout and not torch.is_grad_enabled()
    if parted and not multiplies_tiles():
        scores = torch.matmul(q.contiguous() * q.shape[-1] ** -0.5, k.contiguous().transpose(-1, -2))  # [B, H, T, T]
        return torch.matmul(scores.softmax(-1), v.contiguous())
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)


@dataclass(frozen=True)
class KeyValues:
    """Keys and values of the tokens read so far, for every layer and text; room for `capacity` tokens is made once.

    A value: a forward pass writes behind `lengths` and returns a state that counts the new tokens, so the older
    value goes on meaning what it meant as long as only one line of generation continues from it.
    """

    prompt_part: ClassVar[int] = 0

    buffers: tuple[Tensor, ...]  # B, each [layers, 2, H, capacity, E], the keys before the values
    lengths: tuple[int, ...]  # B

    @staticmethod
    def empty(layers: int, texts: int, heads: int, capacity: int, width: int, like: Tensor) -> KeyValues:
        """Room for `capacity` tokens in each of `texts`; dtype and device as `like`."""
        shape = (layers, 2, heads, capacity, width)
        return KeyValues(tuple(like.new_empty(shape) for _ in range(texts)), (0,) * texts)

    def layer(self, index: int) -> LayerPast:
        """The part that one layer reads and writes."""
        return LayerPast([buffer[index] for buffer in self.buffers], self.lengths)

    def grown(self, by: Sequence[int]) -> KeyValues:
        """The same buffers, counting the tokens just written."""
        return KeyValues(self.buffers, tuple(a + b for a, b in zip(self.lengths, by, strict=True)))

    def parts(self) -> tuple[KeyValues, ...]:
        """Each text's own, in the same buffers."""
        return tuple(KeyValues((one,), (length,)) for one, length in zip(self.buffers, self.lengths, strict=True))

    @staticmethod
    def joined(parts: Sequence[KeyValues]) -> KeyValues:
        """The texts of all, in the same buffers."""
        return KeyValues(
            tuple(buffer for part in parts for buffer in part.buffers),
            tuple(length for part in parts for length in part.lengths),
        )

    def cut(self, length: int) -> KeyValues:
        """Of one text the first `length` tokens, in the same buffers: what was written behind them is forgotten."""
        assert len(self.lengths) == 1 and length <= self.lengths[0]
        return KeyValues(self.buffers, (length,))

    def resumed(self, length: int, capacity: int) -> KeyValues:
        """Of one text the first `length` tokens, in a buffer of its own with room for `capacity`."""
        assert len(self.lengths) == 1 and length <= self.lengths[0]
        (old,) = self.buffers
        new = old.new_empty(*old.shape[:3], capacity, old.shape[-1])
        new[..., :length, :] = old[..., :length, :]
        return KeyValues((new,), (length,))


@dataclass(frozen=True)
class LayerPast:
    """One layer of a KeyValues."""

    buffers: Sequence[Tensor]  # B, each [2, H, capacity, E]
    lengths: tuple[int, ...]

    def write(self, text: int, new: Tensor) -> Tensor:
        """Put keys and values of new tokens, [2, H, T, E], behind what is there; returns all of them so far.

        These are `new` itself where nothing is: derivatives cannot be taken through a buffer that is written to again.
        """
        before = self.lengths[text]
        buffer, end = self.buffers[text], before + new.shape[2]
        buffer[:, :, before:end] = new
        return buffer[:, :, :end] if before else new


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
            rows = rows.permute(2, 0, 3, 1, 4)  # [3, count, H, T, E]
            if past is None or not any(past.lengths[first : first + count]):
                if past is not None:
                    for text in range(count):
                        past.write(first + text, rows[1:, text])
                q, k, v = rows  # each [count, H, T, E]
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1, dropout_p=drop)
                if trace is not None:
                    maps.extend(_weights(q, k, causal_from=0))
            else:
                kept = rows.to(past.buffers[first].dtype)  # all at once: for each text by itself it takes longer
                texts = [kept[:, i] if past.lengths[first + i] else rows[:, i] for i in range(count)]
                mixed = torch.cat([_go_on(new, past, first + i) for i, new in enumerate(texts)]).to(rows.dtype)
                assert trace is None, "a trace is taken of a whole text, without a state"
            parts.append(mixed.transpose(1, 2).reshape(count * length, -1))  # [count*T, D]
        if trace is not None:
            trace.attention.append(maps)
        return self.out(torch.cat(parts) if len(parts) > 1 else parts[0])


def _go_on(rows: Tensor, past: LayerPast, text: int) -> Tensor:
    """Attention of the new tokens of one text over its past and themselves: q, k, v [3, H, T, E] -> [1, H, T, E]; where
    there is a past, in the type in which it is kept."""
    before, new = past.lengths[text], rows.shape[2]
    keys, values = past.write(text, rows[1:])[:, None]  # each [1, H, before + T, E]
    q = rows[:1]  # [1, H, T, E]
    mask = None
    if new > 1:  # new token t sees the past and the new ones up to itself
        mask = torch.ones(new, before + new, dtype=torch.bool, device=q.device).tril(before)
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)


def _weights(q: Tensor, k: Tensor, causal_from: int | None = None) -> list[Tensor]:
    """Attention maps of a group, one [H, T, T] a text; written out, since the fused kernel does not give them."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # [count, H, T, T]
    if causal_from is not None:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril(causal_from)
        scores = scores.masked_fill(~seen, float("-inf"))
    return list(scores.softmax(-1))
