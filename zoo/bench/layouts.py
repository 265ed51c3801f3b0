"""`python -m zoo bench layouts`: linear maps in every layout of zoo/layers beside `F.linear`: what the choices there
rest on, on the machine at hand. First maps by themselves, for a few rows and many, then GPT-2 that writes.

There are as many matrices as hold more than the caches of most processors, as a model has: a single one would stay in
them, and few rows would look faster than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.bench import race
from zoo.bench.decode import go_on
from zoo.bench.ours import made
from zoo.engine.precision import kind_of, lay_out, supported
from zoo.layers import packed
from zoo.layers.int8 import fbgemm_reads_rows
from zoo.layers.packed import Kind, laid_out
from zoo.models.shelf import FAMILIES
from zoo.weights.load import load_folder

ROWS = (1, 8, 32, 128, 384)
WIDTH, INNER, MATRICES = 768, 3072, 16
WRITTEN = ((1, 8, 32), (8, 8, 32), (1, 256, 1))  # streams, tokens of a prompt, new tokens
WRITTEN_SMALL = ((1, 8, 4), (2, 4, 2))
PLAIN = "F.linear"


def measure(rounds: int = 5, tiny: bool = False) -> tuple[list[race.Result], list[str]]:
    """One result for each number of rows, one for each way of writing; nothing is missing here."""
    return _alone(rounds, tiny) + _writing(rounds, tiny), []


def _alone(rounds: int, tiny: bool) -> list[race.Result]:
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
    return results


def _writing(rounds: int, tiny: bool) -> list[race.Result]:
    """The numbers of int8 differ from the others; only their time counts here."""
    most = 90 if tiny else 50_000
    results = []
    with made("gpt2", tiny) as folder:
        models = {PLAIN: load_folder(folder, FAMILIES)}
        for name, kind in _kinds().items():
            models[name] = load_folder(folder, FAMILIES)
            lay_out(models[name], kind)
        for streams, prompt, new in WRITTEN_SMALL if tiny else WRITTEN:
            prompts = torch.randint(5, most, (streams, prompt)).tolist()
            runners = {name: partial(go_on, model, prompts, new) for name, model in models.items()}
            title = f"writing, GPT-2 124M, {streams} x ({prompt} + {new}) tokens"
            results.append(race.Result(title, PLAIN, race.race(runners, rounds), {}))
    return results


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
    names = {"exact": "float32", "fast": "bf16", "small": "int8"}
    kinds = {names[precision]: kind_of(precision) for precision in supported()}
    if "int8" in kinds and fbgemm_reads_rows():
        kinds["int8, few rows"] = kinds["int8"]._replace(few_rows=True)
    return kinds


def _all(maps: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Callable[[], None]:
    def run() -> None:
        for one in maps:
            one(x)

    return run
