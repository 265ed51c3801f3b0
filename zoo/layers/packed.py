"""Linear maps with their weights laid out once in the order in which the processor reads them.

`F.linear` reads the weights in the file's order. How much that costs depends on the processor: `python -m zoo bench
encoder` shows it (docs/speed.md). torch keeps the layout of oneDNN in a tensor of its own kind, and its products can
end in the activation, which saves a trip of the result through memory. These operators are torch's own but not
documented: `available` asks for each of them once, and where one is missing linear maps stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.activations import Activation, gelu_erf, gelu_tanh, relu
from zoo.layers.attention import CausalAttention, SelfAttention
from zoo.layers.blocks import FeedForward
from zoo.layers.projected_lstm import ProjectedLstm, read

# What oneDNN calls an activation at the end of a product: its name, and which way it is computed.
ENDS: dict[Activation, tuple[str, str]] = {gelu_erf: ("gelu", "none"), gelu_tanh: ("gelu", "tanh"), relu: ("relu", "")}
NO_END = ("none", "")
SMALLEST = 64  # rows and columns of weights that are worth it
# In float32 the call itself costs more than it saves for weights of fewer numbers (BERT's are 0.6 M and more), and for
# the recurrent ones of an LSTM, which are multiplied with a single row, of fewer than ELMo's 8.4 M.
WORTH_IT, WORTH_IT_RECURRENT = 2**19, 2**22


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

    @staticmethod
    def of(linear: nn.Linear, dtype: torch.dtype, after: Activation | None = None, stays: bool = False) -> PackedLinear:
        """The same map."""
        return PackedLinear(linear.weight, linear.bias, dtype, after, stays)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., E]."""
        if torch.is_grad_enabled():
            bias = None if self.bias is None else self.bias.to(x.dtype)
            y = F.linear(x, self.weight.to_dense().to(x.dtype), bias)
            return y if self.after is None else self.after(y)
        y = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.weight, self.bias, self.end[0], [], self.end[1])
        return y if self.stays else y.to(x.dtype)


class PackedProjectedLstm(nn.Module):
    """A ProjectedLstm that reads texts and does not learn."""

    def __init__(self, lstm: ProjectedLstm, dtype: torch.dtype) -> None:
        super().__init__()
        into, around = lstm.weight.detach().chunk(2)  # [4C, D] each
        self.into = PackedLinear(into, lstm.bias, dtype)
        self.around = PackedLinear(around, None, dtype)
        self.projection = PackedLinear.of(lstm.projection, dtype)
        self.clips = (lstm.cell_clip, lstm.proj_clip)

    def forward(self, x: Tensor, sizes: Sequence[int], hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As in ProjectedLstm."""
        return read(self.into(x), self.around, self.projection, self.clips, sizes, hidden, memory)


def available() -> bool:
    """Whether this torch, on this processor, has what is needed here."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


def pack(module: nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """Replace the linear maps inside `module`, those of feed-forward parts together with their activation.

    Parts that read `weight` of a linear map themselves do not belong inside.
    """
    for part in list(module.modules()):
        if isinstance(part, FeedForward) and part.activation in ENDS and _large(part.up, dtype):
            part.up = PackedLinear.of(part.up, dtype, part.activation, stays=True)  # type: ignore[assignment]
            part.activation = _nothing_more
        if isinstance(part, (SelfAttention, CausalAttention)) and _large(part.qkv, dtype):
            part.qkv = PackedLinear.of(part.qkv, dtype, stays=True)  # type: ignore[assignment]
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, ProjectedLstm) and (dtype != torch.float32 or _many(child) >= WORTH_IT_RECURRENT):
                setattr(part, name, PackedProjectedLstm(child, dtype))
            elif isinstance(child, nn.Linear) and _large(child, dtype) and not isinstance(part, ProjectedLstm):
                setattr(part, name, PackedLinear.of(child, dtype))


def _large(linear: nn.Linear, dtype: torch.dtype) -> bool:
    worth_it = WORTH_IT if dtype == torch.float32 else 0
    return min(linear.weight.shape) >= SMALLEST and linear.weight.numel() >= worth_it


def _many(lstm: ProjectedLstm) -> int:
    return lstm.weight.numel() // 2


def _nothing_more(x: Tensor) -> Tensor:
    """The activation is in the product already."""
    return x
