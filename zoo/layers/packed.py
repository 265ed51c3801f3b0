"""Linear maps with their weights laid out once in the order in which the processor reads them: float32, bf16 or int8.

`F.linear` reads the weights in the file's order. How much that costs depends on the processor: `python -m zoo bench
layouts` shows it. torch keeps the layout of oneDNN in a tensor of its own kind, and its products can end in the
activation, which saves a trip of the result through memory. On an AMD EPYC (2026-11-29, two cores), 16 matrices of
3072 x 768, times as fast as `F.linear` in float32, bf16 and int8: a single row 1.5, 2.7, 3.0; 8 rows 1.7, 3.0, 4.1; 128
rows 1.3, 2.5, 4.1. What else was tried is in docs/speed.md.

What an operator is given is put together once: to look up its parts for each product takes 4 microseconds, a
single row of 256 times 256 weights 20.

These operators are torch's own but not documented: `available` asks for each of them once, and where one is missing
linear maps stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.activations import Activation, gelu_erf, gelu_tanh, relu
from zoo.layers.attention import CausalAttention, SelfAttention
from zoo.layers.blocks import FeedForward
from zoo.layers.int8 import Int8Linear, Int8RowLinear, fbgemm_reads_rows
from zoo.layers.projected_lstm import ProjectedLstm, read
from zoo.layers.trial import trial
from zoo.processor import keep_few_kernels

keep_few_kernels()

# What oneDNN calls an activation at the end of a product: its name, and which way it is computed.
ENDS: dict[Activation, tuple[str, str]] = {gelu_erf: ("gelu", "none"), gelu_tanh: ("gelu", "tanh"), relu: ("relu", "")}
NO_END = ("none", "")
SMALLEST = 64  # rows and columns of weights that are worth it
# In float32 the call itself costs more than it saves for weights of fewer numbers (BERT's are 0.6 M and more; where
# `few_weights` says so a quarter of that), and for the recurrent ones of an LSTM, which are multiplied with a single
# row, of fewer than ELMo's 8.4 M; and for these only where `rows_alone` says so: an AMD EPYC reads laid out weights
# almost twice as fast, an Intel Xeon 0.85 times.
WORTH_IT, WORTH_IT_RECURRENT = 2**19, 2**22
# Numbers of the weights that a machine is tried with, 16 MB: so many come from memory, as those of a model do.
TRIED = 2**22


class Kind(NamedTuple):
    """In which type weights are kept and multiplied; what goes on in it after a product that `stays`; and whether most
    of what they are multiplied with comes in few rows, as in a model that writes."""

    weights: torch.dtype
    goes_on: torch.dtype = torch.float32
    few_rows: bool = False

    @property
    def int8(self) -> bool:
        """Whether it is the one of int8.py."""
        return self.weights == torch.int8


class PackedLinear(nn.Module):
    """`after(x W' + b)`, with `W` in oneDNN's own layout, multiplied in the type of the weights.

    The result is of the type of `x`, or with `stays` of that of the weights, for a part that goes on in it. Where
    derivatives are asked for, the weights are brought back for that one product, which is then of the type of `x`.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, after: Activation | None = None,
        stays: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.after = after
        self.end = NO_END if after is None else ENDS[after]
        self.dtype = dtype
        self.stays = stays
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous())
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), requires_grad=False)
        self.given: tuple[Any, ...] = (self.weight, self.bias, self.end[0], [], self.end[1])

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., E]."""
        if torch.is_grad_enabled():
            bias = None if self.bias is None else self.bias.to(x.dtype)
            y = F.linear(x, self.weight.to_dense().to(x.dtype), bias)
            return y if self.after is None else self.after(y)
        if x.dtype == self.dtype:
            return torch.ops.mkldnn._linear_pointwise(x, *self.given)
        y = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), *self.given)
        return y if self.stays else y.to(x.dtype)


class HalfLstm(nn.Module):
    """torch's own LSTM in bf16, between inputs and outputs in float32."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.lstm = lstm.to(torch.bfloat16)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As nn.LSTM."""
        half = None if past is None else (past[0].bfloat16(), past[1].bfloat16())
        out, (hidden, cell) = self.lstm(x.bfloat16(), half)
        return out.to(x.dtype), (hidden.to(x.dtype), cell.to(x.dtype))


def laid_out(
    weight: Tensor, bias: Tensor | None, kind: Kind, after: Activation | None = None, stays: bool = False
) -> nn.Module:
    """The map in that kind; `stays` leaves its result in the type in which the part around goes on."""
    if kind.int8:
        made = Int8RowLinear if kind.few_rows and fbgemm_reads_rows() else Int8Linear
        return made(weight, bias, kind.goes_on if stays else None, after)
    return PackedLinear(weight, bias, kind.weights, after, stays)


class PackedProjectedLstm(nn.Module):
    """A ProjectedLstm that reads texts and does not learn."""

    def __init__(self, lstm: ProjectedLstm, kind: Kind) -> None:
        super().__init__()
        into, around = lstm.weight.detach().chunk(2)  # [4C, D] each
        self.into = laid_out(into, lstm.bias, kind)
        self.around = laid_out(around, None, kind)
        self.projection = laid_out(lstm.projection.weight, None, kind)
        self.clips = (lstm.cell_clip, lstm.proj_clip)

    def forward(self, x: Tensor, sizes: Sequence[int], hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As in ProjectedLstm."""
        return read(self.into(x), self.around, self.projection, self.clips, sizes, hidden, memory)


def available() -> bool:
    """Whether this torch, on this processor, has what is needed here."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


@cache
def rows_alone() -> bool:
    """Whether this processor multiplies a single row clearly faster with weights that are laid out, in float32; tried
    once a process, in about 50 ms."""
    return _tried(1, 1024, 4096) < 0.9


@cache
def few_weights() -> bool:
    """Whether it multiplies weights of 2**18 numbers clearly faster when they are laid out: torch's other library, MKL,
    is made for processors of Intel. 8 rows took 0.4 to 0.7 times as long on an AMD EPYC, and with half of these weights
    0.5 to 0.9; tried once a process, in 60 ms."""
    return _tried(8, 256, 1024) < 0.8


def worth_it() -> int:
    """How many numbers weights have at least that are laid out in float32."""
    return WORTH_IT // 4 if few_weights() else WORTH_IT


def _tried(rows: int, wide: int, out: int) -> float:
    """Time of a product with weights laid out, divided by that of the plain one."""
    weights = torch.ones(TRIED // (out * wide), out, wide).unbind()
    packed = [PackedLinear(weight, None, torch.float32) for weight in weights]
    plain = [partial(F.linear, weight=weight) for weight in weights]
    return trial(packed, plain, torch.ones(rows, wide))


def writes(module: nn.Module) -> bool:
    """Whether it reads most of its rows one after another, as it writes."""
    return any(isinstance(part, CausalAttention) for part in module.modules())


def pack(module: nn.Module, kind: Kind) -> None:
    """Replace the linear maps inside `module`, those of feed-forward parts together with their activation.

    Parts that read `weight` of a linear map themselves do not belong inside.
    """

    def new(linear: nn.Linear, after: Activation | None = None, stays: bool = False) -> nn.Module:
        return laid_out(linear.weight, linear.bias, kind, after, stays)

    for part in list(module.modules()):
        if isinstance(part, FeedForward) and part.activation in ENDS and _large(part.up, kind):
            part.up = new(part.up, part.activation, stays=not kind.int8)  # type: ignore[assignment]
            part.activation = _nothing_more
        if isinstance(part, (SelfAttention, CausalAttention)) and _large(part.qkv, kind):
            part.qkv = new(part.qkv, stays=True)  # type: ignore[assignment]
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, ProjectedLstm):
                if kind.weights != torch.float32 or (child.weight.numel() // 2 >= WORTH_IT_RECURRENT and rows_alone()):
                    setattr(part, name, PackedProjectedLstm(child, kind))
            elif isinstance(child, nn.LSTM) and kind.goes_on == torch.bfloat16 and not isinstance(part, HalfLstm):
                setattr(part, name, HalfLstm(child))
            elif isinstance(child, nn.Linear) and _large(child, kind) and not isinstance(part, ProjectedLstm):
                setattr(part, name, new(child))


def _large(linear: nn.Linear, kind: Kind) -> bool:
    least = worth_it() if kind.weights == torch.float32 else 0
    return min(linear.weight.shape) >= SMALLEST and linear.weight.numel() >= least


def _nothing_more(x: Tensor) -> Tensor:
    """The activation is in the product already."""
    return x
