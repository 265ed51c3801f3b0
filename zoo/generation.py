"""Scores -> tokens: greedy choice and sampling, token by token, over an explicit state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.contracts import Batch, HoldsBack
from zoo.errors import BadParameter, Unsupported
from zoo.family import Model

LIKELY = 5  # tokens that are named beside the chosen one


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the best one; `no_repeat` forbids n-grams said before."""

    temperature: float = 0.0
    top_k: int = 0  # 0 keeps all
    top_p: float = 1.0  # nucleus (Holtzman et al. 2020)
    seed: int = 0
    no_repeat: int = 0  # 0 allows repetition (Paulus et al. 2018, section 2.5)

    def __post_init__(self) -> None:
        """Check the ranges. Raises BadParameter."""
        for name, value, low, high in (
            ("temperature", self.temperature, 0.0, 10.0),
            ("top_k", self.top_k, 0, 1_000_000),
            ("top_p", self.top_p, 0.0, 1.0),
            ("seed", self.seed, 0, 2**63 - 1),
            ("no_repeat", self.no_repeat, 0, 100),
        ):
            if not low <= value <= high:
                raise BadParameter(f"{name} is {value}; it must be from {low} to {high}.")
        if self.top_p == 0:
            raise BadParameter("top_p is 0, which keeps no token; it must be above 0.")


@dataclass(frozen=True)
class Step:
    """One generated token and the logarithm of its probability under the model, before any filter.

    `likely` are the most likely tokens in its place with their probabilities, best first, out of what
    may be said at all (see `repeated`).
    """

    token: int
    log_probability: float
    likely: tuple[tuple[int, float], ...] = ()


def choose(logits: Tensor, sampling: Sampling, chance: torch.Generator) -> Step:
    """Choose from logits [V]."""
    log_probabilities = logits.float().log_softmax(-1)  # [V]
    best = log_probabilities.topk(min(LIKELY, len(logits)))
    likely = tuple(zip(best.indices.tolist(), best.values.exp().tolist(), strict=True))
    if sampling.temperature == 0:
        token = int(logits.argmax())
        return Step(token, float(log_probabilities[token]), likely)
    scores = logits.float() / sampling.temperature
    if 0 < sampling.top_k < len(scores):
        scores = scores.masked_fill(scores < scores.topk(sampling.top_k).values[-1], float("-inf"))
    if sampling.top_p < 1:
        ordered, order = scores.softmax(-1).sort(descending=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p  # the token that crosses top_p stays
        scores[order[outside]] = float("-inf")
    token = int(torch.multinomial(scores.softmax(-1), 1, generator=chance))
    return Step(token, float(log_probabilities[token]), likely)


def repeated(history: Sequence[int], size: int) -> set[int]:
    """Tokens that would complete an n-gram of `size` already in `history`."""
    if size < 1 or len(history) < size:
        return set()
    tail = tuple(history[len(history) - size + 1 :])
    return {history[i + size - 1] for i in range(len(history) - size + 1) if tuple(history[i : i + size - 1]) == tail}


def generate(model: Model, head: str, prompt: Sequence[Any], most: int, sampling: Sampling) -> Iterator[Step]:
    """Continue `prompt` by at most `most` tokens; ends after the end token, which is yielded too.

    Nothing is computed for a token before it is asked for, so closing the iterator stops the work.
    Raises Unsupported when the family cannot go on from a state, BadParameter when prompt and `most` do not fit.
    """
    new_state = model.family.new_state
    if new_state is None:
        raise Unsupported(f"{model.name} is a {model.family.title} and does not continue text. Choose another model.")
    if not prompt or most < 1 or len(prompt) + most > model.longest:
        raise BadParameter(
            f"{len(prompt)} tokens and {most} new ones were asked for; {model.name} reads 1 to {model.longest} in all."
        )
    like = next(model.network.parameters())
    chance = torch.Generator().manual_seed(sampling.seed)
    state = new_state(model.config, 1, len(prompt) + most, like)
    said: list[int] = []
    fresh: list[Any] = list(prompt)
    for _ in range(most):
        with torch.inference_mode():  # not over the yield: the caller's code, maybe on another thread, runs there
            batch = Batch.continuing([fresh], state.lengths, like.device)
            hidden = model.network.body(batch, state)
            state = hidden.state
            last = hidden.last[-1:]  # [1, D]
            logits = model.network.heads[head](last, batch)[0]  # [V]
            banned = repeated(said, sampling.no_repeat)
            if isinstance(model.tokenizer, HoldsBack):
                banned |= set(model.tokenizer.unsaid)
            if banned:
                logits[list(banned)] = float("-inf")
            step = choose(logits, sampling, chance)
        said.append(step.token)
        fresh = [model.tokenizer.reread(step.token)]
        yield step
        if step.token == model.tokenizer.end:
            return
