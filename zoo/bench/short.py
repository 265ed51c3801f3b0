"""`python -m zoo bench short`: short texts of ever other lengths, one after another, as a visitor brings them, by torch
and by ONNX Runtime, whichever zoo/layers/short_texts.py would choose; BERT-base with random weights, and bert-mini.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from zoo.bench import race
from zoo.bench.ours import opened, stand_in
from zoo.catalog import EMBEDDED
from zoo.contracts import Batch, Encoding
from zoo.family import Model
from zoo.layers import short_texts
from zoo.layers.short_texts import NEEDS, ShortTexts

LENGTHS = ((6, 16), (17, 32), (33, 64))  # tokens, from and to
TEXTS = 12
BY, OR = " by ONNX Runtime", " or ONNX Runtime"  # how ours are called with it


def measure(rounds: int = 9, tiny: bool = False) -> tuple[list[race.Result], list[str]]:
    """A result for each model and range of lengths, and what is not installed."""
    missing = [] if short_texts.installed() else list(NEEDS)
    mini = EMBEDDED / "bert-mini"
    results = []
    for title, opening in (
        ("BERT-base", stand_in("bert-base", tiny)),
        ("bert-mini", nullcontext((mini, opened(mini)))),
    ):
        with opening as (_, models):
            results += _measured(title, models, LENGTHS[:1] if tiny else LENGTHS, rounds)
    return results, missing


def chosen(model: Model) -> Callable[[Batch], Tensor] | None:
    """What reads a short text with requirements-fast.txt, whichever is faster; None where there is no choice."""
    reader = _reader(model)
    if reader is None:
        return None
    reader.choose()

    def read(batch: Batch) -> Tensor:
        return by_onnx(model, reader, batch) if batch.lengths[0] <= reader.longest else by_torch(model, batch)

    return read


def _reader(model: Model) -> ShortTexts | None:
    return short_texts.reader(model.network.body.blocks)  # type: ignore[arg-type]


def by_torch(model: Model, batch: Batch) -> Tensor:
    """Rows of the last layer [N, D]."""
    rows: Tensor = model.network.body(batch).last
    return rows


def by_onnx(model: Model, reader: ShortTexts, batch: Batch) -> Tensor:
    """The same, of a text, by ONNX Runtime."""
    rows: Tensor = reader(model.network.body.embeddings(batch))  # type: ignore[operator]
    return rows


def _measured(
    title: str, models: dict[str, Model], ranges: tuple[tuple[int, int], ...], rounds: int
) -> list[race.Result]:
    ways: dict[str, Callable[[Batch], Tensor]] = {}
    for name, model in models.items():
        ways[name] = partial(by_torch, model)
        if (reader := _reader(model)) is not None:
            reader.make()
            ways[name + BY] = partial(by_onnx, model, reader)
    vocabulary = next(iter(models.values())).config.vocab_size
    results = []
    for shortest, longest in ranges:
        runners = {name: _Texts(way, shortest, longest, vocabulary) for name, way in ways.items()}
        with torch.inference_mode():
            seconds = race.race(runners, rounds)
        results.append(
            race.Result(f"{title}, {TEXTS} x 1 text of {shortest} to {longest} tokens", next(iter(ways)), seconds, {})
        )
    return results


class _Texts:
    """Reads new texts each time, the same as the other runners do."""

    def __init__(self, read: Callable[[Batch], Tensor], shortest: int, longest: int, vocabulary: int) -> None:
        self.read = read
        self.chance = random.Random(0)
        self.between = (shortest, longest)
        self.vocabulary = vocabulary

    def __call__(self) -> None:
        for _ in range(TEXTS):
            tokens = self.chance.randint(*self.between)
            ids = tuple(self.chance.choices(range(self.vocabulary // 2, self.vocabulary), k=tokens))
            self.read(Batch.of([Encoding(ids, (0,) * tokens, ((0, 0),) * tokens, (0,) * tokens)]))
