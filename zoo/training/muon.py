"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): momentum made orthogonal before each step.

torch.optim.Muon computes in bf16 whatever the processor; where that is emulated it takes longer than the rest of the
step. This one computes in float32 there, and all matrices of one shape at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from zoo.processor import computes_bf16

A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic iteration, as published
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """For matrices only. Decay is decoupled, as in AdamW; steps of tall matrices grow with their shape."""

    def __init__(self, parameters: Iterable[Any], lr: float, weight_decay: float = 0.0, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Go one step by the gradients."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in by_shape.items():
                made = orthogonal(torch.stack([self._ahead(m, group["momentum"]) for m in matrices]))
                rate = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for matrix, update in zip(matrices, made, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)

    def _ahead(self, matrix: Tensor, momentum: float) -> Tensor:
        """The gradient, with Nesterov's momentum."""
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        kept = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(kept, momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """[n, R, C] -> the same with singular values near 1, by Newton-Schulz."""
    dtype = torch.bfloat16 if computes_bf16(matrices.device) else torch.float32
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT  # [n, R, R]
        x = A * x + (B * gram + C * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)
