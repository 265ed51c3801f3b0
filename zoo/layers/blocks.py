"""Feed-forward and the two transformer blocks: norm after the sum, norm before the part. What differs between families
(attention, activation, norm) is passed in as an object.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.contracts import Batch, Trace
from zoo.layers.activations import Activation


class FeedForward(nn.Module):
    """Two linear maps around an activation, row by row (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, width: int, inner: int, activation: Activation) -> None:
        super().__init__()
        self.up = nn.Linear(width, inner)
        self.activation = activation
        self.down = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        return self.down(self.activation(self.up(x)))


class PostNormBlock(nn.Module):
    """norm(x + part(x)), for attention and then feed-forward, as in the original transformer and BERT."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module, width: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, batch: Batch, past: Any = None, trace: Trace | None = None) -> Tensor:
        """[N, D] -> [N, D]."""
        x = self.attention_norm(x + self.dropout(self.attention(x, batch, past, trace)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class PreNormBlock(nn.Module):
    """x + part(norm(x)), for attention and then feed-forward, as in GPT-2."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module, width: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps)
        self.attention = attention
        self.feed_forward_norm = nn.LayerNorm(width, eps)
        self.feed_forward = feed_forward
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, batch: Batch, past: Any = None, trace: Trace | None = None) -> Tensor:
        """[N, D] -> [N, D]."""
        x = x + self.dropout(self.attention(self.attention_norm(x), batch, past, trace))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
