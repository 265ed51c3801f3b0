"""`python -m zoo bench layouts`: one linear map in every layout of zoo/layers beside `F.linear`, for a few
rows and many: what the choices there rest on, on the machine at hand.

There are as many matrices as hold more than the caches of most processors, as a model has: a single one would stay in
them, and few rows would look faster than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.bench import race
from zoo.layers import packed
from zoo.layers.int8 import fbgemm_reads_rows, multiplies_int8
from zoo.layers.packed import Kind, laid_out
from zoo.processor import computes_bf16

ROWS = (1, 8, 32, 128, 384)
WIDTH, INNER, MATRICES = 768, 3072, 16
PLAIN = "F.linear"


def measure(rounds: int = 5, tiny: bool = False) -> tuple[list[race.Result], list[str]]:
    """One result for each number of rows; nothing is missing here."""
    inner, width = (64, 64) if tiny else (INNER, WIDTH)
    weights = [torch.randn(inner, width) for _ in range(2 if tiny else MATRICES)]
    layouts: dict[str, Sequence[Callable[[Tensor], Tensor]]] = {PLAIN: [_Plain(weight) for weight in weights]}
    for name, kind in _kinds().items():
        layouts[name] = [laid_out(weight, None, kind) for weight in weights]
    results = []
    for count in ROWS[:2] if tiny else ROWS:
        x = torch.randn(count, width)
        with torch.inference_mode():
            seconds = race.race({name: _all(maps, x) for name, maps in layouts.items()}, rounds)
        title = f"{len(weights)} matrices of {inner} x {width}, {count} rows"
        results.append(race.Result(title, PLAIN, seconds, {}))
    return results, []


class _Plain(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)


def _kinds() -> dict[str, Kind]:
    """What this processor and this torch have."""
    if not packed.available():
        return {}
    kinds = {"float32": Kind(torch.float32)}
    if computes_bf16(torch.device("cpu")):
        kinds["bf16"] = Kind(torch.bfloat16)
    if multiplies_int8():
        kinds["int8"] = Kind(torch.int8)
    if multiplies_int8() and fbgemm_reads_rows():
        kinds["int8, few rows"] = Kind(torch.int8, few_rows=True)
    return kinds


def _all(maps: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Callable[[], None]:
    def run() -> None:
        for one in maps:
            one(x)

    return run
