"""The head of XLNet that no elder has: a span whose ends are scored anew for each likely start (Yang et al. 2019;
original code run_squad.py, function_builder.py).

T tokens of one text, C starts that are followed up.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch


class BeamSpan(nn.Module):
    """Starts, the ends that follow from each of the best, and whether there is an answer at all.

    Only tokens of the passage may start or end an answer; a start at the last token, <cls>, means that there is none.
    """

    def __init__(self, width: int, beams: int, eps: float) -> None:
        super().__init__()
        self.beams = beams
        self.start = nn.Linear(width, 1)
        self.end_in = nn.Linear(2 * width, width)  # the token, then the start
        self.end_norm = nn.LayerNorm(width, eps)
        self.end_out = nn.Linear(width, 1)
        self.answer_in = nn.Linear(2 * width, width)  # the expected start, then <cls>
        self.answer_out = nn.Linear(width, 1, bias=False)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, D] -> [N, 2 + C]: logarithm of the start's probability, score of "no answer" (the same in all rows of a
        text), logarithm of the end's probability after each of the best starts, best first.

        A text of fewer tokens than C has as many starts; the columns that are left over are minus infinity.
        """
        assert batch.sources is not None, "a span is looked for in a question and its passage"
        allowed = (batch.sources == 1).index_fill(0, batch.last_rows, True)  # [N]
        texts = zip(batch.split(rows), batch.split(allowed), strict=True)
        return torch.cat([self._text(*text) for text in texts])

    def _text(self, x: Tensor, allowed: Tensor) -> Tensor:
        """[T, D], [T] -> [T, 2 + C]."""
        least = torch.finfo(x.dtype).min
        starts = self.start(x)[:, 0].masked_fill(~allowed, least).log_softmax(0)  # [T]
        best = starts.topk(min(self.beams, len(x))).indices  # [C]
        token, start = self.end_in.weight.chunk(2, dim=1)  # the two halves of a product with both, side by side
        joined = F.linear(x, token)[:, None] + F.linear(x[best], start, self.end_in.bias)  # [T, C, D]
        ends = self.end_out(self.end_norm(torch.tanh(joined)))[..., 0]  # [T, C]
        ends = ends.masked_fill(~allowed[:, None], least).log_softmax(0)
        ends = F.pad(ends, (0, self.beams - len(best)), value=float("-inf"))
        expected = starts.exp() @ x  # [D]
        answer = self.answer_out(torch.tanh(self.answer_in(torch.cat([expected, x[-1]]))))  # [1]
        return torch.cat([starts[:, None], answer.expand(len(x), 1), ends], dim=1)
