"""What answers on top of an AWD-LSTM: the paper's pooling classifier (Howard & Ruder 2018, section 3.3). For spans and
pairs, which the paper has not, there is zoo.models.reading.

N rows, D width, B texts, T tokens of the longest, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch
from zoo.layers.pooling import average, largest, padded, real

DROPOUTS = (0.4, 0.1)  # before the first linear map of a classifier, and before the others: fastai's; training only


class NormedLinear(nn.Module):
    """Batch norm by the statistics of training, then a linear map."""

    def __init__(self, width: int, out: int, bias: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.norm.num_batches_tracked = None  # a counter of training steps, which no answer depends on
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, out, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] -> [B, width of the layer]."""
        return self.out(self.dropout(self.norm(x)))


class Layers(nn.Module):
    """Normed linear maps with ReLU between them: fastai's classifier on top of what was pooled."""

    def __init__(self, widths: Sequence[int], bias: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            NormedLinear(before, after, bias, DROPOUTS[min(index, 1)])
            for index, (before, after) in enumerate(pairwise(widths))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, first width] -> [B, last width]."""
        for index, layer in enumerate(self.layers):
            x = layer(F.relu(x) if index else x)
        return x


class PoolingClassifier(nn.Module):
    """Scores of a text from its last state, and the largest and the mean of each dimension (Howard & Ruder 2018,
    section 3.3, "Concat pooling").

    The paper pools over as many states as fit a GPU's memory. In fastai that became a rule of prediction, too: a text
    is read in chunks, and only chunks that begin near enough to its end are pooled, though all of it is read.
    """

    def __init__(self, widths: Sequence[int], bias: bool, pad: int, bptt: int, max_len: int | None) -> None:
        super().__init__()
        self.pad, self.bptt, self.max_len = pad, bptt, max_len
        self.layers = Layers(widths, bias).layers  # without a name of their own: so they are called in checkpoints

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [B, K]."""
        x = self.pooled(rows, batch)
        for index, layer in enumerate(self.layers):
            x = layer(F.relu(x) if index else x)
        return x

    def pooled(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [B, 3D]. A text may spell the padding token itself: that is then left out, as padding is."""
        x, ids = padded(rows, batch), padded(batch.ids, batch)  # [B, T, D], [B, T]
        place = torch.arange(ids.shape[1], device=ids.device)  # [T]
        first = torch.tensor([self.first_pooled(length) for length in batch.lengths], device=ids.device)  # [B]
        length = torch.tensor(batch.lengths, device=ids.device)  # [B]
        read = real(batch) & (place >= first[:, None])  # [B, T]
        words = read & (ids != self.pad)
        words = torch.where(words.any(1, keepdim=True), words, read)
        spelled = (read & ~words & (place >= length[:, None] - self.bptt)).sum(1)  # [B], in the last chunk
        last = x[torch.arange(len(x), device=ids.device), length - 1 - spelled]  # [B, D]
        return torch.cat([last, largest(x, words), average(x, words)], dim=-1)

    def first_pooled(self, length: int) -> int:
        """The first token of the first chunk that is pooled."""
        over = 0 if self.max_len is None else max(0, length - self.max_len)
        return -(-over // self.bptt) * self.bptt
