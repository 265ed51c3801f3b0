"""What the processor and the memory of this machine can do at most, through the best that torch has."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from zoo.engine import precision
from zoo.engine.precision import kind_of
from zoo.layers.packed import laid_out, rows_alone

ROWS, WIDE = 512, 2048  # of the products
MEGABYTES = 512
BYTES = {"exact": 4, "fast": 2, "small": 1}  # of a weight


@dataclass(frozen=True)
class Limits:
    """Of products 10^9 operations a second by precision; of memory 10^9 bytes a second read."""

    products: dict[str, float]
    memory: float

    def computing(self, precision: str, operations: float) -> float:
        """Seconds that so many operations of products take at least."""
        return operations / self.products[precision] / 1e9

    def reading(self, precision: str, weights: float) -> float:
        """Seconds that it takes at least to read so many weights."""
        return weights * BYTES[precision] / self.memory / 1e9

    def __str__(self) -> str:
        products = ", ".join(f"{kind} {value:,.0f}" for kind, value in self.products.items())
        alone = "laid out" if rows_alone() else "as they lie"
        return (
            f"products, 10^9 operations a second: {products}; memory read: {self.memory:.0f} GB a second; "
            f"a single row in float32 is fastest with weights {alone}"
        )


def measure(tiny: bool = False) -> Limits:
    """The best of some tries."""
    rows, wide = (8, 64) if tiny else (ROWS, WIDE)
    x, weight = torch.randn(rows, wide), torch.randn(wide, wide)
    products = {}
    with torch.inference_mode():
        for kind in precision.supported():
            made = laid_out(weight, None, kind_of(kind), stays=True)
            given = x.bfloat16() if kind == "fast" else x
            products[kind] = 2 * rows * wide * wide / _best(lambda made=made, given=given: made(given)) / 1e9
        numbers = torch.ones((1 if tiny else MEGABYTES) * 2**18)
        memory = 4 * len(numbers) / _best(numbers.sum) / 1e9
    return Limits(products, memory)


def _best(run: object, tries: int = 9) -> float:
    seconds = []
    for _ in range(tries):
        began = time.perf_counter()
        run()  # type: ignore[operator]
        seconds.append(time.perf_counter() - began)
    return min(seconds)
