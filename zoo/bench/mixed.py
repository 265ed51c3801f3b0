"""`python -m zoo bench mixed`: many texts of mixed length, ours packed, the peers with their best batching.

Lengths are drawn as questions with passages (SQuAD) and pairs of sentences (SNLI) have them, half and half: logarithms
are about normal, medians and spreads as measured with BERT's tokenizer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from zoo.bench import peers, race
from zoo.bench.encoder import least
from zoo.bench.ours import stand_in
from zoo.contracts import Batch, Encoding
from zoo.engine.line import STEP_TOKENS
from zoo.family import Model

TEXTS = 256
KINDS = ((5.05, 0.35, 384), (3.2, 0.25, 80))  # mean and spread of the logarithm of the length, and the longest
BUDGET = 1024  # tokens of a padded batch of a peer: the best of 512 to 4,096 here


def lengths(count: int, seed: int = 0) -> list[int]:
    """Tokens of each text."""
    chance = random.Random(seed)
    kinds = [KINDS[number % len(KINDS)] for number in range(count)]
    return [max(8, min(longest, round(chance.lognormvariate(mean, spread)))) for mean, spread, longest in kinds]


def measure(rounds: int = 3, tiny: bool = False) -> tuple[list[race.Result], list[str]]:
    """One result, and what is not installed."""
    with stand_in("bert-base", tiny) as (folder, ours), peers.encoders(folder, not tiny) as (padded, missing):
        padded.pop(peers.EAGER, None)  # never the best, and slow
        sizes = [min(size, 16) for size in lengths(6)] if tiny else lengths(TEXTS)
        batches = [_filled(some) for some in _batches(sorted(sizes), BUDGET)]
        runners: dict[str, Callable[[], object]] = {f"{name}, sorted": made(batches) for name, made in padded.items()}
        runners |= {name: partial(_packed, model, sizes) for name, model in ours.items()}
        with torch.inference_mode():
            seconds = race.race(runners, rounds, first_counts=not tiny)  # a call of many batches needs no other before
        first = next(iter(runners))
        title = f"BERT-base, {len(sizes)} texts of {min(sizes)} to {max(sizes)} tokens, {sum(sizes):,} in all"
        floor = partial(least, next(iter(ours.values())), sizes)
        return [race.Result(title, first, seconds, {}, floor)], missing


def _batches(sizes: list[int], budget: int) -> list[list[int]]:
    """Neighbours together, as many as fit `budget` when filled up to the longest."""
    made: list[list[int]] = [[]]
    for size in sizes:
        if made[-1] and size * (len(made[-1]) + 1) > budget:
            made.append([])
        made[-1].append(size)
    return made


def _filled(sizes: list[int]) -> tuple[peers.Rows, peers.Rows]:
    """Ids and mask of texts of these sizes."""
    real = np.arange(max(sizes)) < np.array(sizes)[:, None]
    return np.where(real, 7, 0), real.astype(np.int64)


def _packed(model: Model, sizes: list[int]) -> Tensor:
    """In steps as the engine makes them, but in this thread: helpers of a second one would slow it."""
    steps: list[list[Encoding]] = [[]]
    for size in sorted(sizes):
        if sum(map(len, steps[-1])) + size > STEP_TOKENS:
            steps.append([])
        steps[-1].append(Encoding((7,) * size, (0,) * size, ((0, 0),) * size, (0,) * size))
    for step in steps:
        last: Tensor = model.network.body(Batch.of(step)).last
    return last
