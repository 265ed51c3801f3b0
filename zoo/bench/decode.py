"""`python -m zoo bench decode`: GPT-2 with random weights goes on greedily, ours beside every installed peer.

Without prompt lookup, which would be fast beyond measure here: random weights go round in circles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from zoo.bench import peers_decode, race
from zoo.bench.limits import Limits
from zoo.bench.ours import stand_in
from zoo.engine import Engine
from zoo.family import Model
from zoo.generation import Stream, advance
from zoo.sampling import Sampling

SHAPES = ((1, 256, 64), (8, 32, 64))  # streams, tokens of a prompt, new tokens
SMALL = ((1, 8, 4), (2, 4, 4))
PASSAGE = "Ada Lovelace wrote the first program in 1843, for a machine that Charles Babbage never finished. " * 4
NEW = 40


def measure(rounds: int = 5, tiny: bool = False) -> tuple[list[race.Result], list[str]]:
    """One result for each shape, and what is not installed. `worst` is the share of tokens that differ."""
    with stand_in("gpt2", tiny) as (folder, ours), peers_decode.decoders(folder, not tiny) as (others, missing):
        results = []
        for streams, prompt, new in SMALL if tiny else SHAPES:
            chance = torch.Generator().manual_seed(0)
            most = 90 if tiny else 50_000
            prompts = torch.randint(5, most, (streams, prompt), generator=chance).tolist()
            runners: dict[str, Callable[[], list[list[int]]]]
            runners = {name: made(prompts, new) for name, made in others.items()}
            runners |= {name: partial(go_on, model, prompts, new) for name, model in ours.items()}
            said = {name: run() for name, run in runners.items()}
            first = next(iter(runners))
            worst = {name: _different(tokens, said[first]) for name, tokens in said.items()}
            title = f"GPT-2 124M, {streams} x ({prompt} + {new}) tokens, greedy"
            floor = partial(least, next(iter(ours.values())), streams * prompt, new)
            results.append(race.Result(title, first, race.race(runners, rounds), worst, floor))
        return results, missing


def least(model: Model, prompt: int, new: int, precision: str, most: Limits) -> float:
    """Seconds that this machine needs for so many tokens of prompts, and to read GPT-2's weights once for each of the
    passes that give the new ones; the scores' matrix, the embedding, is one of them."""
    config = model.config
    inner = config.n_inner or 4 * config.n_embd
    blocks = config.n_layer * config.n_embd * (4 * config.n_embd + 2 * inner)
    passes = most.reading(precision, blocks + config.vocab_size * config.n_embd) * (new - 1)
    return most.computing(precision, 2 * blocks * prompt) + passes


@dataclass(frozen=True)
class Own:
    """How a model that ships goes on after a passage: medians of a few texts."""

    model: str
    first: float  # seconds to the first token
    seconds: float  # a token, after that
    bytes: int  # of weights that a token reads

    def share(self, memory: float) -> float:
        """How much of what the memory can give, 10^9 bytes a second, is read."""
        return self.bytes / self.seconds / 1e9 / memory


def own(texts: int = 9, name: str = "gpt-mini") -> Own:
    """Through the engine, without anything known before. Every matrix is read once for each token."""
    engine = Engine()
    firsts, rests = [], []
    for number in range(texts + 1):
        marks = [time.perf_counter()]
        for _ in engine.generate(name, "lm", f"{PASSAGE} {number}", "\nTL;DR:", NEW, Sampling(no_repeat=3)):
            marks.append(time.perf_counter())
        if number:
            firsts.append(marks[1] - marks[0])
            rests.append((marks[-1] - marks[1]) / (len(marks) - 2))
    network = engine.model(name).network
    matrices = [p for p in network.body.parameters() if p.dim() == 2]  # the embedding among them: the scores' matrix
    read = sum(p.numel() * p.element_size() for p in matrices)
    return Own(name, statistics.median(firsts), statistics.median(rests), read)


def go_on(model: Model, prompts: Sequence[Sequence[int]], new: int) -> list[list[int]]:
    """All prompts side by side, as visitors that came together."""
    streams = [Stream(model, "lm", prompt, new, Sampling()) for prompt in prompts]
    while going := [stream for stream in streams if not stream.finished]:
        advance(going)
    return [stream.said for stream in streams]


def _different(some: list[list[int]], others: list[list[int]]) -> float:
    pairs = [a != b for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=False)]
    return sum(pairs) / max(1, len(pairs))
