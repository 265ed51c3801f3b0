"""Which of two ways to compute the same is faster on the machine at hand: what differs by processor is tried there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Maps = Sequence[Callable[[Tensor], Tensor]]
TRIES = 12


def trial(maps: Maps, others: Maps, x: Tensor, tries: int = TRIES) -> float:
    """Time of `maps`, one after another on the same rows, divided by that of `others`: the best of some tries of each,
    in turn. They should have more weights than caches hold, as a model has."""
    best = [math.inf, math.inf]
    with torch.inference_mode():
        for _ in range(tries):
            for number, ways in enumerate((maps, others)):
                began = time.perf_counter()
                for way in ways:
                    way(x)
                best[number] = min(best[number], time.perf_counter() - began)
    return best[0] / best[1]
