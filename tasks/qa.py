"""Extractive question answering: the span of the passage that answers the question, or that none does."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.checks import head_of, text_of, timed, truncation, whole
from tasks.results import Result, Score, Span, certainty
from zoo import catalog
from zoo.engine import Spanned, SpanWindow

if TYPE_CHECKING:
    from zoo.engine import Engine

BEST = 20  # candidates kept, as in the original SQuAD code of BERT; probabilities are over these


@dataclass(frozen=True)
class Options:
    """How spans are chosen. `allow_no_answer` None means: if the checkpoint was trained to say so."""

    top_k: int = 3
    max_answer_tokens: int = 30
    allow_no_answer: bool | None = None
    stride: int | None = None  # tokens that neighbouring windows share; the engine's own when None

    def checked(self, model: str) -> Options:
        """With ranges checked and the checkpoint's own default filled in. Raises BadParameter."""
        allow = self.allow_no_answer
        if allow is None:
            row = catalog.find(model.partition("@")[0])
            allow = row.unanswerable if row else True
        return Options(
            whole(self.top_k, "top_k", 1, BEST),
            whole(self.max_answer_tokens, "max_answer_tokens", 1, 384),
            allow,
            None if self.stride is None else whole(self.stride, "stride", 0, 384),
        )


def run(
    engine: Engine,
    model: str,
    question: str,
    context: str,
    head: str | None = None,
    top_k: int = 3,
    max_answer_tokens: int = 30,
    allow_no_answer: bool | None = None,
    stride: int | None = None,
) -> Result:
    """Answer one question. `answer` is empty when the passage holds none.

    Raises InputEmpty, InputTooLong, BadParameter, UnknownModel, Unsupported.
    """
    options = Options(top_k, max_answer_tokens, allow_no_answer, stride)
    return run_many(engine, model, [(question, context)], head, options)[0]


def run_many(
    engine: Engine,
    model: str,
    pairs: Sequence[tuple[str, str]],
    head: str | None = None,
    options: Options | None = None,
) -> list[Result]:
    """Answer many (question, passage) pairs at once; `timings` are those of the whole call."""
    checked = [(text_of(q, "question"), text_of(c, "passage")) for q, c in pairs]
    chosen = head_of(model, "qa", head)
    options = (options or Options()).checked(model)
    with timed() as timings:
        found = engine.spans(model, chosen, checked, options.stride, timings=timings)
        loaded = engine.model(model)
        name = loaded.head("span", chosen)
        with timings.stage("decode"):
            ranked = [best_spans(one, passage, options) for one, (_, passage) in zip(found, checked, strict=True)]
    results = []
    for (spans, none), one in zip(ranked, found, strict=True):
        best = spans[0] if spans else None
        answered = best is not None and (none is None or best.score >= none)
        cut = truncation(one.question, "question")
        if answered and best is not None:
            verdict = f"{certainty(best.score)}: {best.text}"
        else:
            verdict = f"{certainty(none or 1.0)}: the passage does not answer this question."
        results.append(
            Result(
                "qa",
                model,
                loaded.revision,
                best.text if answered and best is not None else "",
                verdict,
                name,
                (Score("no answer", none),) if none is not None else (),
                tuple(spans[: options.top_k]),
                timings.seconds,
                cut,
                (str(cut),) if cut else (),
                len(one.windows),
                cached=timings.cached,
            )
        )
    return results


def best_spans(found: Spanned, passage: str, options: Options) -> tuple[list[Span], float | None]:
    """The best spans over all windows, and the probability of no answer when that is allowed.

    As in the original SQuAD code: a span scores start + end, "no answer" scores what the first token does, the lowest
    of all windows; probabilities are a softmax over the best candidates.
    """
    best: dict[tuple[int, int], float] = {}
    for window in found.windows:
        for score, start, end in _candidates(window, options.max_answer_tokens):
            place = _trim(passage, window.offsets[start][0], window.offsets[end][1])
            if place[0] < place[1]:
                best[place] = max(score, best.get(place, -math.inf))
    ranked = heapq.nlargest(BEST, best.items(), key=lambda item: item[1])
    none = min(window.none for window in found.windows)
    logits = [score for _, score in ranked] + ([none] if options.allow_no_answer else [])
    if not logits:
        return [], 1.0
    top = max(logits)
    total = sum(math.exp(logit - top) for logit in logits)
    spans = [Span(passage[a:b], a, b, math.exp(score - top) / total) for (a, b), score in ranked]
    return spans, math.exp(none - top) / total if options.allow_no_answer else None


def _candidates(window: SpanWindow, longest: int) -> list[tuple[float, int, int]]:
    """(score, first, last) of the best pairs of a likely start and a likely end."""
    if window.beams is not None:
        return [(score, i, j) for score, i, j in window.beams if i <= j < i + longest]
    many = min(BEST, len(window.offsets))
    starts = window.start.topk(many)
    ends = window.end.topk(many)
    return [
        (a + b, i, j)
        for a, i in zip(starts.values.tolist(), starts.indices.tolist(), strict=True)
        for b, j in zip(ends.values.tolist(), ends.indices.tolist(), strict=True)
        if i <= j < i + longest
    ]


def _trim(passage: str, start: int, end: int) -> tuple[int, int]:
    """Offsets without white space at the ends, which some tokenizers count to the piece."""
    while start < end and passage[start].isspace():
        start += 1
    while end > start and passage[end - 1].isspace():
        end -= 1
    return start, end
