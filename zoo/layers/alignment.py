"""Words of two texts beside each other (Parikh et al. 2016, "A Decomposable Attention Model for Natural Language
Inference", section 3.1). B texts, T tokens of the longest, D width, S width of the keys."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def across(sources: Tensor) -> Tensor:
    """Who may look at whom: the tokens of text 0 at those of text 1, and back. [B, T] -> [B, T, T]."""
    first, second = sources == 0, sources == 1
    return (first[:, :, None] & second[:, None]) | (second[:, :, None] & first[:, None])


class Alignment(nn.Module):
    """For every token the mean of those tokens of the other text that are like it, by attention."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, size)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """[B, T, D], who may look at whom [B, T, T] -> [B, T, D], zeros for tokens that may look at none."""
        keys = F.relu(self.key(x))  # [B, T, S]
        alike = keys @ keys.mT / keys.shape[-1] ** 0.5  # [B, T, T]
        weights = alike.masked_fill(~allowed, torch.finfo(alike.dtype).min).softmax(-1)
        return (weights * allowed) @ x  # [B, T, D]
