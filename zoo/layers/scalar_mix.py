"""A learned mix of all layers of a body, ELMo's own idea (Peters et al. 2018, section 3.2, equation 1)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo.contracts import Batch, LayerMix

EPS = 1e-13  # AllenNLP's; bilm-tf has 1e-12


class ScalarMix(nn.Module):
    """gamma * (the sum of all layers, weighted by a softmax over one number a layer)."""

    def __init__(self, layers: int, norm: bool) -> None:
        """`norm` brings each layer of a sentence to mean 0 and variance 1 first, over all its numbers together."""
        super().__init__()
        self.norm = norm
        self.weights = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, D] -> [N, D]."""
        if self.norm:
            rows = torch.cat([_normed(rows[begin:end]) for text in sentences(batch) for begin, end in text])
        return self.gamma * torch.einsum("l,nld->nd", self.weights.softmax(0), rows)

    @property
    def layer_mix(self) -> LayerMix:
        """The mix as it was learned, for whoever wants to see it."""
        weights = self.weights.detach().float().softmax(0)
        return LayerMix(tuple(weights.tolist()), float(self.gamma.detach()))


def sentences(batch: Batch) -> list[list[tuple[int, int]]]:
    """(begin, end) of the rows of each sentence of each text: a run of equal segments, its marks included."""
    segments = batch.segments.tolist()
    found = []
    for start, length in zip(batch.starts, batch.lengths, strict=True):
        turns = [t for t in range(start + 1, start + length) if segments[t] != segments[t - 1]]
        edges = [start, *turns, start + length] if length else []
        found.append(list(pairwise(edges)))
    return found


def _normed(rows: Tensor) -> Tensor:
    """[T, layers, D] -> the same, every layer normed over the whole sentence."""
    mean = rows.mean((0, 2), keepdim=True)  # [1, layers, 1]
    variance = (rows - mean).square().mean((0, 2), keepdim=True)
    return (rows - mean) / (variance + EPS).sqrt()
