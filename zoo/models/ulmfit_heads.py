"""What answers on top of an AWD-LSTM: the paper's pooling classifier (Howard & Ruder 2018, section 3.3), and a head
that the paper has not, for checkpoints trained here, which points at an answer. For pairs there is reading.ReadingPair.

Both let every word of one text look at the words of the other (Parikh et al. 2016; Chen et al. 2017, "Reading Wikipedia
to Answer Open-Domain Questions", section 3.2), because a state that has one size for all that was read holds too little
of the first text when the second is read. The body stays the paper's.

N rows, D width, B texts, T tokens of the longest, S width of the head's own layers, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch
from zoo.layers.alignment import Alignment
from zoo.layers.pooling import average, largest, padded, real, swap

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


class Pointer(nn.Module):
    """Start and end of an answer at every token of a passage.

    The body has read the question first, but knows nothing of what follows a word. Here each word meets the words of
    the question that are like it, whether the question has it, and a small LSTM in each direction.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.align = Alignment(width, size)
        self.join = nn.Linear(3 * width + 1, size)
        self.forth = nn.LSTM(size, size, batch_first=True)
        self.back = nn.LSTM(size, size, batch_first=True)
        self.asked = nn.Linear(width, 1)
        self.question = nn.Linear(width, 4 * size)
        self.out = nn.Linear(2 * size, 2)
        self.none = nn.Linear(width, 2)
        self.dropout = nn.Dropout(0.2)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, 2], scores of start and end; minus infinity outside of the passage, but for the first token:
        that is where questions that have no answer point."""
        assert batch.sources is not None, "a span is looked for in a question and its passage"
        x, ids, sources = padded(rows, batch), padded(batch.ids, batch), padded(batch.sources + 1, batch) - 1
        asked, passage = sources == 0, sources == 1  # [B, T]
        allowed = passage[:, :, None] & asked[:, None]  # [B, T, T]
        other = self.align(x, allowed)  # [B, T, D]
        same = (allowed & (ids[:, :, None] == ids[:, None])).any(-1)  # [B, T]
        seen = torch.cat([x, other, x * other, same[..., None].to(x.dtype)], dim=-1)  # [B, T, 3D + 1]
        seen = self.dropout(F.relu(self.join(self.dropout(seen))))  # [B, T, S]
        turned = backwards(batch)  # [B, T]
        behind = swap(self.back(swap(seen, turned))[0], turned)
        read = self.dropout(torch.cat([self.forth(seen)[0], behind], dim=-1))  # [B, T, 2S]
        matters = self.asked(x)[..., 0].masked_fill(~asked, torch.finfo(x.dtype).min).softmax(-1) * asked  # [B, T]
        question = (matters[:, None] @ x)[:, 0]  # [B, D]
        wanted = self.question(question).unflatten(-1, (2 * self.forth.hidden_size, 2))  # [B, 2S, 2]
        scores = read @ wanted + self.out(read)  # [B, T, 2]
        scores = scores.masked_fill(~passage[..., None], -torch.inf)
        none = self.none(question)[:, None]  # [B, 1, 2]
        return torch.cat([none, scores[:, 1:]], dim=1)[real(batch)]


def backwards(batch: Batch) -> Tensor:
    """Where each place of [B, T] is when every text is turned round, padding left behind."""
    lengths = torch.tensor(batch.lengths, device=batch.ids.device)[:, None]
    return (lengths - 1 - torch.arange(max(batch.lengths), device=batch.ids.device)).clamp(min=0)


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
