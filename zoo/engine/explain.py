"""Why an answer: how much each word of an input speaks for it.

Integrated gradients (Sundararajan, Taly & Yan 2017) and occlusion (Zeiler & Fergus 2014), both by captum, over the
vectors that a model looks up for its tokens: so they serve every family, LSTMs and two-stream attention included. The
input is compared with the same text whose words are vectors of zeros; special tokens stay as they are. What a head
takes from the ids themselves, such as "this word is in the question, too", stays as it is as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contracts import Batch, Encoding
from zoo.engine.words import Attribution, Method, Word, words
from zoo.family import Model

ROWS = 4096  # tokens computed at once
FIRST_STEPS, MOST_STEPS = 32, 512  # of the integral; doubled until the error is small enough
ENOUGH = 0.02  # of completeness
MOST_HIDDEN = 100  # parts of a text that are hidden in turn, each a forward pass: of long texts several words at a time

Score = Callable[[Tensor], Tensor]  # scores of a head over k copies of an input, [k, ...] -> what is explained, [k]


def attribute(
    model: Model,
    head: str,
    run: Callable[[Batch], Tensor],
    encoding: Encoding,
    texts: Sequence[str],
    score: Score,
    method: Method,
) -> Attribution:
    """Explain `score(run(batch))` for one encoding of one or two texts.

    `run` gives the scores of `head` for a batch of copies of the encoding, laid out as Batch.of does; autograd must be
    able to go through it.
    """
    from captum.attr import FeatureAblation, IntegratedGradients

    device = next(model.network.parameters()).device
    embeddings = model.network.embeddings(head)
    one = Batch.of([encoding], device)
    with torch.no_grad(), ExitStack() as stack:
        seen = [stack.enter_context(watched(embedding)) for embedding in embeddings]
        run(one)
    looked_up = [of[0].reshape(1, -1, of[0].shape[-1]) for of in seen]  # [1, T, width] each
    x = torch.cat(looked_up, dim=-1)  # [1, T, D]
    owners = word_of_tokens(encoding, texts, x.shape[1])
    real = torch.tensor([owner >= 0 for owner in owners.flat], device=device)
    blank = x * ~real[:, None]  # special tokens stay
    at_once = max(1, ROWS // len(encoding))

    def explained(vectors: Tensor) -> Tensor:
        """[k, T, D] -> [k]."""
        parts = vectors.split([of.shape[-1] for of in looked_up], dim=-1)
        with ExitStack() as stack:
            for embedding, part in zip(embeddings, parts, strict=True):
                stack.enter_context(replaced(embedding, part))
            return score(run(Batch.of([encoding] * len(vectors), device)))

    with torch.no_grad():
        value, base = (float(explained(v)) for v in (x, blank))
    if method == "occlusion":
        together = -(-sum(map(len, owners.words)) // MOST_HIDDEN)
        parts = [owner // together + 1 if owner >= 0 else 0 for owner in owners.flat]  # 0: special tokens
        groups = torch.tensor(consecutive(parts), device=device)[None, :, None]
        with torch.no_grad():
            made = FeatureAblation(explained).attribute(
                x, baselines=blank, feature_mask=groups, perturbations_per_eval=at_once
            )
        # captum gives every number of a group the score of the whole group
        scores = made[0, :, 0].tolist()
        return Attribution(method, owners.collect(scores, together=False), value, base, together=together)
    steps, error, scores = FIRST_STEPS, float("inf"), []
    while True:
        with torch.enable_grad():
            made = IntegratedGradients(explained).attribute(
                x, baselines=blank, n_steps=steps, internal_batch_size=at_once
            )
        scores = made[0].sum(-1).tolist()
        error = abs(sum(scores) - (value - base)) / max(abs(value - base), 1e-6)
        if error <= ENOUGH or steps >= MOST_STEPS:
            break
        steps *= 2
    return Attribution(method, owners.collect(scores, together=True), value, base, steps, error)


def log_odds(label: int) -> Score:
    """Of one label against all others, from the scores [k, K] of a classifier; of its only one, the score itself."""

    def score(logits: Tensor) -> Tensor:
        others = [i for i in range(logits.shape[1]) if i != label]
        return logits[:, label] - logits[:, others].logsumexp(1) if others else logits[:, label]

    return score


def log_span(length: int, first: int, last: int) -> Score:
    """Logarithm of the probability that a span begins and ends at these tokens, from rows [k * length, 2 or more].

    Of heads with beams, which score an end for some starts only, that of the start alone.
    """

    def score(rows: Tensor) -> Tensor:
        scores = rows.view(-1, length, rows.shape[1])  # [k, T, columns]
        begin = scores[..., 0].log_softmax(1)[:, first]
        return begin if scores.shape[2] > 2 else begin + scores[..., 1].log_softmax(1)[:, last]

    return score


def log_next(token: int) -> Score:
    """Logarithm of the probability of a token, from scores [k, V] of the next one."""
    return lambda logits: logits.log_softmax(1)[:, token]


@contextmanager
def watched(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module gives while the block lasts."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda module, args, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def replaced(module: nn.Module, vectors: Tensor) -> Iterator[None]:
    """Let a module give `vectors` [k, T, D] instead of its own, in whatever shape it is asked for the k * T of them."""

    def instead(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return vectors.reshape(output.shape)

    handle = module.register_forward_hook(instead)
    try:
        yield
    finally:
        handle.remove()


def consecutive(numbers: Sequence[int]) -> list[int]:
    """The same groups, numbered from 0 without gaps: captum hides every number up to the largest."""
    index = {number: i for i, number in enumerate(sorted(set(numbers)))}
    return [index[number] for number in numbers]


@dataclass(frozen=True)
class Owners:
    """Which word each token is a part of."""

    words: tuple[tuple[tuple[int, int], ...], ...]  # places, for each text
    flat: tuple[int, ...]  # for each token a word, counted through all texts; -1 of special tokens

    def collect(self, scores: Sequence[float], together: bool) -> tuple[tuple[Word, ...], ...]:
        """Scores of tokens -> words of each text; the sum of its tokens, or what they have in common."""
        found: dict[int, float] = {}
        for owner, score in zip(self.flat, scores, strict=True):
            found[owner] = found.get(owner, 0.0) + score if together else score
        made, number = [], 0
        for places in self.words:
            made.append(tuple(Word(*place, found.get(number + i, 0.0)) for i, place in enumerate(places)))
            number += len(places)
        return tuple(made)


def word_of_tokens(encoding: Encoding, texts: Sequence[str], length: int | None = None) -> Owners:
    """Give each token the word that it shares the most characters with; those up to `length` that a family adds (the
    place that XLNet guesses at) are no part of any.

    A token that shares none with any word is a marker that a tokenizer put before one (fastai's xxmaj): it goes to the
    next word of its text, or the last.
    """
    places = [tuple(words(text)) for text in texts]
    first = [sum(map(len, places[:i])) for i in range(len(places))]
    flat = []
    for source, (start, end) in zip(encoding.sources, encoding.offsets, strict=True):
        if source < 0 or not places[source]:
            flat.append(-1)
            continue
        shared = [min(end, b) - max(start, a) for a, b in places[source]]
        best = max(range(len(shared)), key=shared.__getitem__)
        if shared[best] <= 0:
            later = [i for i, (a, _) in enumerate(places[source]) if a >= start]
            best = later[0] if later else len(shared) - 1
        flat.append(first[source] + best)
    flat += [-1] * ((length or len(flat)) - len(flat))
    return Owners(tuple(places), tuple(flat))
