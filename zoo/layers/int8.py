"""Linear maps with weights in int8, multiplied by one of two libraries inside torch.

oneDNN has the faster product for many rows, and on recent processors of Intel units of its own for it (AMX); but torch
rounds what is multiplied in steps of its own before. FBGEMM rounds inside its product. `python -m zoo bench layouts` on
an Intel Xeon (2026-11-30, two cores): FBGEMM had 2.0 times the speed of oneDNN for a single row of GPT-2's matrices,
1.2 for 8 rows, 0.7 for 128; GPT-2 wrote 1.3 times as fast in one stream, 0.9 times in eight, and read a prompt of 256
tokens 0.8 times as fast. So models that write, in few rows for each step, take it where the processor at hand is faster
with it: `fbgemm_reads_rows` tries.

What is multiplied is rounded in steps of its own for each row, as large as its largest number asks for (symmetric), so
that what comes out of a row does not depend on those beside it; with one step size for all rows, as in torch's own
dynamic quantization, answers of bert-mini were 2.7 times as far from `exact`. Sums are exact, in 32 bits.

All operators are torch's own but not documented: each is asked for once.
"""

from __future__ import annotations

import threading
import warnings
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.activations import Activation
from zoo.layers.trial import trial

STEPS = 127  # of int8, on either side of zero
SMALLEST_NUMBER = 1e-30  # the largest one of a row that is all zeros
TRIED = (8, 1024, 1024)  # matrices to try with, and their shape: 8 MB, more than caches of a core hold
FASTER = 0.9  # of the time, to be taken
ONE_AT_A_TIME = threading.Lock()  # which library lays out, and which warnings are told, is the same for all threads


class Int8Linear(nn.Module):
    """`after(x W' + b)`, with each row of W rounded to 255 steps, and in each call each row of x, too; by oneDNN.

    Where derivatives are asked for, the product is computed in float32 with the rounded weights.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, goes_on: torch.dtype | None = None, after: Activation | None = None
    ) -> None:
        """`goes_on` is the type of the result, that of x by default."""
        super().__init__()
        self.after = after
        self.goes_on = goes_on
        full = weight.detach().float()
        scales = full.abs().amax(1).clamp(min=SMALLEST_NUMBER) / STEPS
        self.scales: Tensor
        self.register_buffer("scales", scales)
        self.lay_out((full / scales[:, None]).round().clamp(-STEPS, STEPS).to(torch.int8))
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)
        # what it counts as: a number of a byte for each weight, without a second copy of them
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.int8).expand(weight.shape), requires_grad=False)

    def lay_out(self, rounded: Tensor) -> None:
        """Keep the weights [E, D] as the library wants them, and what is given with them."""
        self.packed = torch.ops.onednn.qlinear_prepack(rounded, None)
        zeros = torch.zeros(len(rounded), dtype=torch.int64)
        self.given: tuple[Any, ...] = (
            self.packed, self.scales, zeros, None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip

    def rounded(self) -> Tensor:
        """The weights in int8, [E, D]; those of float32 are these times `scales`."""
        weights: Tensor = self.packed.to_dense().t()
        return weights

    def product(self, rows: Tensor, most: Tensor) -> Tensor:
        """Rows of float32 [..., D], the largest number of each [..., 1] -> [..., E], to be multiplied with the latter.
        Where that is 0, whatever finite comes out."""
        steps = torch.mul(rows, STEPS / most).round_().to(torch.int8)
        steps = steps.view(torch.uint8).bitwise_xor_(128)  # 128 more: what the processor multiplies is unsigned
        y: Tensor = torch.ops.onednn.qlinear_pointwise(steps, 1 / STEPS, 128, *self.given)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., E]."""
        if torch.is_grad_enabled():
            y = F.linear(x, (self.rounded() * self.scales[:, None]).to(x.dtype), self.bias)
        else:
            rows = x.float()
            most = rows.abs().amax(-1, keepdim=True)
            y = self.product(rows, most)
            y = y.mul_(most) if self.bias is None else torch.addcmul(self.bias, y, most, out=y)
        if self.after is not None:
            y = self.after(y)
        return y.to(self.goes_on or x.dtype)


class Int8RowLinear(Int8Linear):
    """The same by FBGEMM, for few rows."""

    def lay_out(self, rounded: Tensor) -> None:
        """As in Int8Linear."""
        scales, zeros = self.scales.double(), torch.zeros(len(rounded), dtype=torch.int64)
        with ONE_AT_A_TIME, warnings.catch_warnings():
            # tensors of this kind are deprecated, so far with nothing in their place
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor.* are deprecated", UserWarning)
            chosen = torch.backends.quantized.engine
            torch.backends.quantized.engine = "fbgemm"
            try:
                weights = torch._make_per_channel_quantized_tensor(rounded, scales, zeros, 0)
                self.packed = torch.ops.quantized.linear_prepack(weights, None)
            finally:
                torch.backends.quantized.engine = chosen

    def rounded(self) -> Tensor:
        """As in Int8Linear."""
        weights: Tensor = torch.ops.quantized.linear_unpack(self.packed)[0].int_repr()
        return weights

    def product(self, rows: Tensor, most: Tensor) -> Tensor:
        """As in Int8Linear."""
        y: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            rows / most, 1 / STEPS, 128, self.packed
        )
        return y


def multiplies_int8() -> bool:
    """Whether this torch has what is needed for it here, and this processor instructions: without them sums of two
    products are cut off at 16 bits."""
    names = ("qlinear_prepack", "qlinear_pointwise")
    return torch.cpu._is_vnni_supported() and all(hasattr(torch.ops.onednn, name) for name in names)


def has_fbgemm() -> bool:
    """Whether this torch has what Int8RowLinear needs."""
    names = ("linear_prepack", "linear_unpack", "linear_with_input_q_dq_qweight_dq_output_fp32")
    there = "fbgemm" in torch.backends.quantized.supported_engines
    there = there and hasattr(torch, "_make_per_channel_quantized_tensor")
    return there and all(hasattr(torch.ops.quantized, name) for name in names)


@cache
def fbgemm_reads_rows() -> bool:
    """Whether a single row is clearly faster with FBGEMM here; tried once a process, in a fifth of a second."""
    if not has_fbgemm():
        return False
    count, out, wide = TRIED
    weight = torch.ones(out, wide)
    by_rows, other = ([kind(weight, None) for _ in range(count)] for kind in (Int8RowLinear, Int8Linear))
    return trial(by_rows, other, torch.ones(1, wide)) < FASTER
