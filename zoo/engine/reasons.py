"""What is explained of each kind of head: a label, a span, the next token; and what attention looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from zoo.contracts import Batch, Encoding, Finishes, HoldsBack, Trace
from zoo.engine import reading
from zoo.engine.answers import Timings
from zoo.engine.engine import Engine
from zoo.engine.explain import Score, attribute, log_next, log_odds, log_span
from zoo.engine.words import Attribution, Method
from zoo.errors import BadParameter, InputEmpty, Unsupported
from zoo.family import Model

MOST_ATTENTION = 128  # tokens of which maps are given: 16,384 pairs for each head


def of_label(
    engine: Engine,
    name: str,
    head: str | None,
    texts: tuple[str, str | None],
    label: str,
    method: Method,
    timings: Timings | None = None,
) -> Attribution:
    """How much each word of a text or pair speaks for a label, in log-odds against all other labels.

    Raises BadParameter for a label that the head does not have.
    """
    model = engine.model(name, timings)
    chosen = model.head("classifier", head)
    labels = model.heads[chosen].labels
    if label not in labels:
        raise BadParameter(f"{name} has no label {label!r}; its labels are {', '.join(labels)}.")
    encoding, _ = reading.fit(model, *texts)
    given = [text for text in texts if text is not None]
    return _attribute(engine, model, chosen, encoding, given, log_odds(labels.index(label)), method)


def of_span(
    engine: Engine,
    name: str,
    head: str | None,
    question: str,
    passage: str,
    span: tuple[int, int],
    method: Method,
    timings: Timings | None = None,
) -> Attribution:
    """How much each word of a question and its passage speaks for an answer, passage[span[0]:span[1]].

    Explained is the logarithm of the probability of its first and last token in the window that has most words around
    it. Raises BadParameter where the span is no part of the passage.
    """
    model = engine.model(name, timings)
    chosen = model.head("span", head)
    start, end = span
    if not 0 <= start < end <= len(passage):
        raise BadParameter(f"{start} to {end} is no part of a passage of {len(passage)} characters.")
    size = min(reading.WINDOW, model.longest)
    encodings, _ = reading.windows_over(model, question, model.tokenizer.pieces(passage), None, size)
    encoding, first, last = _window_with(encodings, start, end)
    score = log_span(len(encoding), first, last)
    return _attribute(engine, model, chosen, encoding, [question, passage], score, method)


def of_next(
    engine: Engine,
    name: str,
    head: str | None,
    document: str,
    suffix: str,
    said: Sequence[int],
    token: int,
    method: Method,
    most: int = 60,
    timings: Timings | None = None,
) -> Attribution:
    """How much each word of a document and of the suffix behind it speaks for `token` after the tokens `said`.

    `most` is the number of new tokens that room was left for. Explained is the logarithm of the token's probability.
    """
    model = engine.model(name, timings)
    chosen = model.head("lm", head)
    kept, tail, _ = reading.prompt(model, document, suffix, most)
    begun = model.tokenizer.prompt(kept + tail)
    special = len(begun) - len(kept) - len(tail)
    assert begun.ids[special:] == (kept + tail).ids, "special tokens of a prompt come first"
    more = tuple(model.tokenizer.reread(one) for one in said)
    encoding = Encoding(
        begun.ids + more,
        (0,) * (len(begun) + len(more)),
        ((0, 0),) * special + kept.offsets + tail.offsets + ((0, 0),) * len(more),
        (-1,) * special + (0,) * len(kept) + (1,) * len(tail) + (-1,) * len(more),
    )
    new_state = model.family.new_state
    if new_state is None:
        raise Unsupported(f"{name} is a {model.family.title} and does not continue text. Choose another model.")
    like = next(model.network.parameters())

    def run(batch: Batch) -> Tensor:
        """-> [k, V]."""
        state = new_state(model.config, len(batch.lengths), batch.lengths[0] + 1, like)
        rows = model.network.body(batch, state).last
        last = rows if len(rows) == len(batch.lengths) else rows[batch.last_rows]
        logits = model.network.heads[chosen](last, batch)
        if isinstance(model.tokenizer, HoldsBack):  # as in zoo/generation.py
            logits = logits.index_fill(1, batch.ids.new_tensor(model.tokenizer.unsaid), float("-inf"))
        return logits

    return engine.alone(lambda: attribute(model, chosen, run, encoding, [document, suffix], log_next(token), method))


@dataclass(frozen=True)
class Attention:
    """Who looked at whom: `maps` is [layers, H, T, T] with rows that add up to 1, `tokens` are spelled by the
    vocabulary, `special` says which are special tokens, `sources` which text each is of."""

    maps: Tensor
    tokens: tuple[str, ...]
    sources: tuple[int, ...]


def attention(engine: Engine, name: str, texts: tuple[str, str | None]) -> Attention:
    """Attention of every layer and head over a text or pair.

    Raises Unsupported for families that have none (LSTMs) and BadParameter for more than MOST_ATTENTION tokens.
    """
    model = engine.model(name)
    encoding, _ = reading.fit(model, *texts)
    if len(encoding) > MOST_ATTENTION:
        raise BadParameter(
            f"The text has {len(encoding)} tokens; attention is shown for at most {MOST_ATTENTION}. Shorten it."
        )
    trace = Trace()

    @torch.inference_mode()
    def read() -> None:
        model.network.body(Batch.of([encoding], next(model.network.parameters()).device), None, trace)

    engine.alone(read)
    if not trace.attention:
        raise Unsupported(f"{name} is a {model.family.title}: it has no attention to show.")
    maps = torch.stack([layer[0] for layer in trace.attention]).float().cpu()  # [layers, H, T, T]
    return Attention(maps, tuple(map(model.tokenizer.token, encoding.ids)), encoding.sources)


@dataclass(frozen=True)
class Layers:
    """What a head says of each layer, as if the network ended there: `probabilities` is [layers, K], the embeddings
    first; `absent` are the numbers of layers whose width the head cannot read."""

    head: str
    labels: tuple[str, ...]
    numbers: tuple[int, ...]
    probabilities: Tensor
    absent: tuple[int, ...] = ()


def layers(engine: Engine, name: str, head: str | None, texts: tuple[str, str | None]) -> Layers:
    """A classifier head put on every layer of its body instead of the last one (nostalgebraist 2020, "logit lens").

    A head that reads a mix of all layers (ELMo) is shown each of them in the place of all.
    """
    model = engine.model(name)
    chosen = model.head("classifier", head)
    encoding, _ = reading.fit(model, *texts)
    if not len(encoding):
        raise InputEmpty(f"A text has no character that {name} reads. Write a word or two.")
    batch = Batch.of([encoding], next(model.network.parameters()).device)
    body, trace = model.network.body, Trace()

    @torch.inference_mode()
    def read() -> tuple[int, list[int], Tensor]:
        last = body(batch, None, trace).last
        if last.dim() == 3:  # [N, layers, D]
            shown = [last[:, i : i + 1].expand_as(last) for i in range(last.shape[1])]
        else:
            finish = body.finish if isinstance(body, Finishes) else lambda rows: rows
            shown = [*(finish(rows) for rows in trace.layers[:-1]), last]
        numbers = [i for i, rows in enumerate(shown) if rows.shape == last.shape]
        scores = torch.stack([model.network.heads[chosen](shown[i], batch)[0] for i in numbers])  # [layers, K]
        return len(shown), numbers, scores.float().softmax(-1).cpu()

    count, numbers, probabilities = engine.alone(read)
    absent = tuple(i for i in range(count) if i not in numbers)
    return Layers(chosen, model.heads[chosen].labels, tuple(numbers), probabilities, absent)


def _attribute(
    engine: Engine, model: Model, head: str, encoding: Encoding, texts: Sequence[str], score: Score, method: Method
) -> Attribution:
    """Explain a number that comes from a head over one encoding."""
    if not len(encoding):
        raise InputEmpty(f"A text has no character that {model.name} reads. Write a word or two.")
    run = partial(model.network, head=head)
    return engine.alone(lambda: attribute(model, head, run, encoding, texts, score, method))


def _window_with(encodings: Sequence[Encoding], start: int, end: int) -> tuple[Encoding, int, int]:
    """The window in which the tokens of a span are farthest from its borders, and the first and last of them."""
    best: tuple[int, Encoding, int, int] | None = None
    for encoding in encodings:
        inside = [i for i, source in enumerate(encoding.sources) if source == 1]
        over = [i for i in inside if encoding.offsets[i][0] < end and encoding.offsets[i][1] > start]
        if over and encoding.offsets[over[0]][0] <= start and encoding.offsets[over[-1]][1] >= end:
            margin = min(over[0] - inside[0], inside[-1] - over[-1])
            if best is None or margin > best[0]:
                best = margin, encoding, over[0], over[-1]
    if best is None:
        raise BadParameter(f"No window of the passage holds the characters {start} to {end}.")
    return best[1:]
