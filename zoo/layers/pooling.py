"""From the rows of a text to one vector a text: [N, D] -> [B, D]; and on the way there, texts side by side: [B, T, D],
T tokens of the longest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.contracts import Batch

Pool = Callable[[Tensor, Batch], Tensor]


def first_token(rows: Tensor, batch: Batch) -> Tensor:
    """The first token of each text, as BERT's [CLS]."""
    return rows[batch.first_rows]


def last_token(rows: Tensor, batch: Batch) -> Tensor:
    """The last token of each text, as in GPT and XLNet."""
    return rows[batch.last_rows]


def mean_token(rows: Tensor, batch: Batch) -> Tensor:
    """The mean of all tokens of each text."""
    return average(padded(rows, batch), real(batch))


def padded(rows: Tensor, batch: Batch) -> Tensor:
    """[N, ...] -> [B, T, ...], zeros behind texts that are shorter than the longest."""
    if len(batch.groups) == 1:
        return rows.view(len(batch.lengths), -1, *rows.shape[1:])
    filled = rows.new_zeros(len(batch.lengths), max(batch.lengths), *rows.shape[1:])
    filled[real(batch)] = rows
    return filled


def real(batch: Batch) -> Tensor:
    """Which places of [B, T] are tokens, and no padding."""
    lengths = torch.tensor(batch.lengths, device=batch.ids.device)
    return torch.arange(max(batch.lengths), device=batch.ids.device) < lengths[:, None]


def largest(x: Tensor, among: Tensor) -> Tensor:
    """The largest value of each dimension among some tokens, or zeros: [B, T, D], [B, T] -> [B, D]."""
    found = x.masked_fill(~among[..., None], -torch.inf).amax(1)
    return torch.where(among.any(1)[:, None], found, 0.0)


def average(x: Tensor, among: Tensor) -> Tensor:
    """The mean of some tokens, or zeros: [B, T, D], [B, T] -> [B, D]."""
    return (x * among[..., None]).sum(1) / among.sum(1).clamp(min=1)[:, None]


def swap(x: Tensor, places: Tensor) -> Tensor:
    """Tokens in another order: [B, T, D], [B, T] -> [B, T, D]."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))
