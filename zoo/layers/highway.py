"""Highway layers (Srivastava et al. 2015): a gate mixes a layer's input with what the layer makes of it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Highway(nn.Module):
    """y = g * relu(A x) + (1 - g) * x with the gate g = sigmoid(B x), as in bilm-tf.

    AllenNLP writes the gate the other way round and keeps -B. `weight` holds A above B, [2D, D].
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.both = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        made, gate = self.both(x).chunk(2, dim=-1)  # [N, D] each
        gate = gate.sigmoid()
        return gate * F.relu(made) + (1 - gate) * x
