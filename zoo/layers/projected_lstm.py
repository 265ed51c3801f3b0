"""The LSTM of ELMo's language model: a large cell, projected down to the width of its input, both of them clipped.

Sak et al. 2014, "Long Short-Term Memory Based Recurrent Neural Network Architectures"; as the original runs it:
bilm-tf bilm/model.py, AllenNLP lstm_cell_with_projection.py. N rows, B texts, D width, C cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Steps:
    """Rows in the order in which they are read: all texts' first rows, then their second ones, and so on.

    Within a step the longest text comes first, so that those still being read are always the first `sizes[t]`.
    """

    rows: Tensor  # [N] of the batch, in that order
    sizes: tuple[int, ...]  # texts that have a row at each step
    texts: Tensor  # [B] indices of the texts, longest first

    @staticmethod
    def of(readings: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> Steps:
        """`readings` holds for each text its rows in the order of reading."""
        texts = sorted(range(len(readings)), key=lambda i: -len(readings[i]))
        columns = [
            [readings[i][t] for i in texts if t < len(readings[i])] for t in range(max(map(len, readings), default=0))
        ]
        flat = [row for column in columns for row in column]
        return Steps(
            torch.tensor(flat, dtype=torch.long, device=device),
            tuple(map(len, columns)),
            torch.tensor(texts, dtype=torch.long, device=device),
        )

    def undo(self, x: Tensor) -> Tensor:
        """Rows in the order of reading [N, ...] -> in the order of the batch."""
        return torch.empty_like(x).index_copy_(0, self.rows, x)

    def undo_texts(self, x: Tensor) -> Tensor:
        """Texts longest first [B, ...] -> in the order of the batch."""
        return torch.empty_like(x).index_copy_(0, self.texts, x)


class ProjectedLstm(nn.Module):
    """One layer in one direction. Gates stand in the order input, forget, cell, output; a forget bias is only a bias.

    `weight` holds what acts on the input above what acts on the hidden state, [8C, D].
    """

    def __init__(self, width: int, cells: int, cell_clip: float | None, proj_clip: float | None) -> None:
        super().__init__()
        self.cell_clip = cell_clip
        self.proj_clip = proj_clip
        self.weight = nn.Parameter(torch.zeros(8 * cells, width))
        self.bias = nn.Parameter(torch.zeros(4 * cells))
        self.projection = nn.Linear(cells, width, bias=False)

    def forward(
        self, x: Tensor, sizes: Sequence[int], hidden: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, D] in the order of Steps, hidden [B, D], memory [B, C] -> hidden at every row [N, D], both at the end.

        The clipped hidden state is what goes round; whatever is added to the output afterwards does not.
        """
        into, round_ = self.weight.chunk(2)  # [4C, D] each
        inputs = F.linear(x, into, self.bias)  # [N, 4C]
        outputs, ended = [], []
        begin = 0
        for size in sizes:
            ended.append((hidden[size:], memory[size:]))  # of texts that have no further row
            gates = inputs[begin : begin + size] + F.linear(hidden[:size], round_)  # [n, 4C]
            let_in, keep, new, let_out = gates.chunk(4, dim=-1)  # [n, C] each
            memory = let_in.sigmoid() * new.tanh() + keep.sigmoid() * memory[:size]
            if self.cell_clip is not None:
                memory = memory.clamp(-self.cell_clip, self.cell_clip)
            hidden = self.projection(let_out.sigmoid() * memory.tanh())  # [n, D]
            if self.proj_clip is not None:
                hidden = hidden.clamp(-self.proj_clip, self.proj_clip)
            outputs.append(hidden)
            begin += size
        hidden = torch.cat([hidden, *(h for h, _ in reversed(ended))])  # [B, D]
        memory = torch.cat([memory, *(c for _, c in reversed(ended))])  # [B, C]
        return torch.cat(outputs) if outputs else x, hidden, memory
