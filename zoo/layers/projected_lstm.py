"""The LSTM of ELMo's language model: a large cell, projected down to the width of its input, both of them clipped.

Sak et al. 2014, "Long Short-Term Memory Based Recurrent Neural Network Architectures"; as the original runs it:
bilm-tf bilm/model.py, AllenNLP lstm_cell_with_projection.py. N rows, B texts, D width, C cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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


class Scan(torch.autograd.Function):
    """The steps of one layer over texts of equal length, forwards and back, with the derivatives written out.

    Autograd would keep some twenty tensors a step and multiply for the gradient of the weights at every step; here that
    is one product for all steps. Products are taken in the type of `inputs`, bf16 under autocast, all that is added up
    from step to step in that of the states. T steps, B rows, D width, C cells.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        projection: Tensor,
        keep: Tensor,
        hidden: Tensor,
        memory: Tensor,
        clips: tuple[float, float],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """inputs [T, B, 4C], weight [4C, D], projection [D, C], keep [T, B, 1] (0 where a text begins), hidden [B, D],
        memory [B, C] -> hidden of every step [T, B, D], hidden and memory at the end."""
        steps, rows, wide = inputs.shape
        cells = wide // 4
        weight, projection = weight.to(inputs.dtype), projection.to(inputs.dtype)
        gates = torch.empty_like(inputs, dtype=hidden.dtype)  # [T, B, 4C]
        before = gates.new_empty(2, steps, rows, cells)  # memory before and after each step [T, B, C]
        heard = gates.new_empty(steps, rows, cells)  # tanh of the memory after it
        said = inputs.new_empty(steps, rows, cells)  # what is projected
        entered = inputs.new_empty(steps, rows, weight.shape[1])  # hidden state before each step
        outputs = torch.empty_like(entered)
        across, down = weight.t(), projection.t()
        hidden = hidden.to(inputs.dtype)
        for t in range(steps):
            torch.mul(hidden, keep[t], out=entered[t])
            torch.mul(memory, keep[t], out=before[0, t])
            gates[t].copy_(torch.addmm(inputs[t], entered[t], across))
            let_in, kept, new, let_out = gates[t].chunk(4, dim=-1)  # [B, C] each
            new.mul_(2)  # tanh(x) = 2 sigmoid(2x) - 1, three times as fast as tanh here
            gates[t].sigmoid_()
            new.mul_(2).sub_(1)
            memory = torch.mul(kept, before[0, t], out=before[1, t]).addcmul_(let_in, new).clamp_(-clips[0], clips[0])
            torch.mul(memory, 2, out=heard[t]).sigmoid_().mul_(2).sub_(1)
            said[t].copy_(let_out * heard[t])
            hidden = torch.mm(said[t], down, out=outputs[t]).clamp_(-clips[1], clips[1])
        ctx.save_for_backward(gates, before, heard, said, entered, outputs, weight, projection, keep)
        ctx.clips = clips
        hidden, memory = hidden.to(gates.dtype, copy=True), memory.clone()
        ctx.mark_non_differentiable(hidden, memory)
        return outputs, hidden, memory

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of inputs, weight and projection; the states at both ends are given, not learnt."""
        gates, before, heard, said, entered, outputs, weight, projection, keep = ctx.saved_tensors
        steps, rows, cells = heard.shape
        dtype = weight.dtype
        through = (outputs.abs() < ctx.clips[1]).to(heard.dtype)  # [T, B, D]; what was clipped has no slope
        upwards = grads[0] * through  # gradients of what the projection gives; completed step by step
        free = (before[1].abs() < ctx.clips[0]).to(heard.dtype)  # [T, B, C]
        inputs = torch.empty_like(gates)
        back = torch.zeros_like(upwards[0])  # [B, D], from the next step's hidden state
        memory = torch.zeros_like(heard[0])  # [B, C]
        for t in reversed(range(steps)):
            upwards[t].addcmul_(back, through[t])
            let_in, kept, new, let_out = gates[t].chunk(4, dim=-1)
            of_in, of_kept, of_new, of_out = inputs[t].chunk(4, dim=-1)
            of_said = (upwards[t].to(dtype) @ projection).to(heard.dtype)  # [B, C]
            torch.mul(of_said, heard[t], out=of_out)
            of_said.mul_(let_out)
            memory.add_(of_said).addcmul_(of_said, heard[t].square_(), value=-1).mul_(free[t])
            torch.mul(memory, new, out=of_in)
            torch.mul(memory, before[0, t], out=of_kept)
            torch.mul(memory, let_in, out=of_new)
            slope = gates[t].square().neg_().add_(gates[t])  # [B, 4C], s(1 - s) of the three sigmoids
            torch.mul(new, new, out=slope[:, 2 * cells : 3 * cells]).neg_().add_(1)
            inputs[t].mul_(slope)
            memory.mul_(kept).mul_(keep[t])
            back = torch.mm(inputs[t].to(dtype), weight).to(heard.dtype).mul_(keep[t])
        inputs = inputs.to(dtype)
        flat = inputs.view(steps * rows, -1)
        of_weight = flat.t() @ entered.view(steps * rows, -1)
        of_projection = upwards.to(dtype).view(steps * rows, -1).t() @ said.view(steps * rows, -1)
        return inputs, of_weight, of_projection, None, None, None, None


def read(
    inputs: Tensor,
    around: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    clips: tuple[float | None, float | None],
    sizes: Sequence[int],
    hidden: Tensor,
    memory: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Step by step: inputs [N, 4C] in the order of Steps, hidden [B, D], memory [B, C] -> hidden at every row [N, D],
    both at the end. `around` maps the hidden state to gates [n, 4C], `project` what a cell says to a hidden state.
    """
    outputs, ended = [], []
    begin = 0
    for size in sizes:
        ended.append((hidden[size:], memory[size:]))  # of texts that have no further row
        gates = inputs[begin : begin + size] + around(hidden[:size])  # [n, 4C]
        let_in, keep, new, let_out = gates.chunk(4, dim=-1)  # [n, C] each
        memory = let_in.sigmoid() * new.tanh() + keep.sigmoid() * memory[:size]
        if clips[0] is not None:
            memory = memory.clamp(-clips[0], clips[0])
        hidden = project(let_out.sigmoid() * memory.tanh())  # [n, D]
        if clips[1] is not None:
            hidden = hidden.clamp(-clips[1], clips[1])
        outputs.append(hidden)
        begin += size
    hidden = torch.cat([hidden, *(h for h, _ in reversed(ended))])  # [B, D]
    memory = torch.cat([memory, *(c for _, c in reversed(ended))])  # [B, C]
    return torch.cat(outputs) if outputs else inputs[:, : hidden.shape[1]], hidden, memory


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

    def forward(self, x: Tensor, sizes: Sequence[int], hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, D] in the order of Steps, hidden [B, D], memory [B, C] -> hidden at every row [N, D], both at the end.

        The clipped hidden state is what goes round; whatever is added to the output afterwards does not.
        """
        into, round_ = self.weight.chunk(2)  # [4C, D] each
        inputs = F.linear(x, into, self.bias)  # [N, 4C]
        clips = (self.cell_clip, self.proj_clip)
        return read(inputs, lambda h: F.linear(h, round_), self.projection, clips, sizes, hidden, memory)

    def together(self, x: Tensor, keep: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same over rows of equal length, as training reads: x [T, B, D], hidden [B, D], memory [B, C] -> hidden of
        every step [T, B, D], both at the end. State is forgotten where keep [T, B, 1] is 0, before that step is read.
        """
        into, round_ = self.weight.chunk(2)  # [4C, D] each
        clips = (self.cell_clip or math.inf, self.proj_clip or math.inf)
        inputs = F.linear(x, into, self.bias)  # [T, B, 4C]
        return Scan.apply(inputs, round_, self.projection.weight, keep, hidden, memory, clips)
