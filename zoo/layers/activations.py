"""Activations, named by what they compute: each family maps the words of its config files to these."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


def gelu_erf(x: Tensor) -> Tensor:
    """Exact GELU: x * Phi(x) (Hendrycks and Gimpel 2016)."""
    return F.gelu(x)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh approximation, as in the original GPT code."""
    return F.gelu(x, approximate="tanh")


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return torch.relu(x)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x) (Elfwing et al. 2017; "swish" in the original GPT code)."""
    return F.silu(x)
