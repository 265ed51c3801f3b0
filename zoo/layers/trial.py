"""Which of two ways to compute the same is faster on the machine at hand: what differs by processor is tried there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Maps = Sequence[Callable[[Tensor], Tensor]]
TRIES = 12
SECONDS = 0.5  # no new try after these: a busy machine takes a hundred times as long, and a user waits


def trial(maps: Maps, others: Maps, x: Tensor, tries: int = TRIES) -> float:
    """Time of `maps`, one after another on the same rows, divided by that of `others`: of each map the best of some
    tries, in turn, so that one that other work interrupts does not count. Two tries at least, no new one after half a
    second. They should have more weights than caches hold, as a model has."""
    best = [[math.inf] * len(ways) for ways in (maps, others)]
    started = time.perf_counter()
    with torch.inference_mode():
        for number in range(tries):
            if number > 1 and time.perf_counter() - started > SECONDS:
                break
            for times, ways in zip(best, (maps, others), strict=True):
                for place, way in enumerate(ways):
                    began = time.perf_counter()
                    way(x)
                    times[place] = min(times[place], time.perf_counter() - began)
    return sum(best[0]) / sum(best[1])
