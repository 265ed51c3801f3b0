"""Zero-shot summarization: the text, then "TL;DR:", and a language model goes on (Radford et al. 2019, section 3.6)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tasks.checks import head_of, text_of, truncation, whole
from tasks.results import Piece, Result
from zoo.engine.answers import Timings
from zoo.errors import BadParameter
from zoo.sampling import Sampling

if TYPE_CHECKING:
    from zoo.engine import Engine

PROMPT = "TL;DR:"


def run(engine: Engine, model: str, text: str, head: str | None = None, **options: Any) -> Result:
    """Summarize one text; options as those of `stream`. Raises InputEmpty, InputTooLong, BadParameter, UnknownModel,
    Unsupported."""
    *_, last = stream(engine, model, text, head, **options)
    return last


def stream(
    engine: Engine,
    model: str,
    text: str,
    head: str | None = None,
    *,
    max_new_tokens: int = 60,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    no_repeat: int = 3,
    prompt: str = PROMPT,
) -> Iterator[Result]:
    """The summary as it grows, a Result a token; closing the iterator stops the work before the next token.

    Temperature 0 always takes the best token; `no_repeat` forbids n-grams of that size to occur twice.
    Input is checked at the first `next`, not before.
    """
    checked = text_of(text, "text").rstrip()
    prompt = prompt.strip()
    if not prompt or len(prompt) > 500:
        raise BadParameter(f"The prompt has {len(prompt)} characters; it must have 1 to 500, such as {PROMPT!r}.")
    sampling = Sampling(
        _number(temperature, "temperature"),
        whole(top_k, "top_k", 0, 1_000_000),
        _number(top_p, "top_p"),
        whole(seed, "seed", 0, 2**63 - 1),
        whole(no_repeat, "no_repeat", 0, 100),
    )
    most = whole(max_new_tokens, "max_new_tokens", 1, 512)
    chosen = head_of(model, "summarize", head)
    timings = Timings()
    started = time.perf_counter()
    loaded = engine.model(model, timings)
    name = loaded.head("lm", chosen)
    pieces: list[Piece] = []
    for made in engine.generate(model, chosen, checked, f"\n{prompt}", most, sampling, timings):
        answer, ended = first_paragraph(made.text)
        if len(made.ids) > len(pieces):
            pieces.append(Piece(made.ids[-1], made.piece, math.exp(made.log_probability), made.alternatives))
        cut = truncation(made.read, "text")
        timings.seconds["total"] = time.perf_counter() - started
        done = made.finished or ended
        yield Result(
            "summarize",
            model,
            loaded.revision,
            answer,
            _verdict(answer, checked) if done else "",
            name,
            timings=dict(timings.seconds),
            truncated=cut,
            warnings=(str(cut),) if cut else (),
            prompt=made.prompt,
            tokens=made.tokens,
            pieces=tuple(pieces),
            cached=timings.cached,
        )
        if done:
            return


def first_paragraph(text: str) -> tuple[str, bool]:
    """The first line that says something, and whether it is complete: what follows it is no summary any more."""
    stripped = text.lstrip()
    line, end, _ = stripped.partition("\n")
    return line.rstrip(), bool(end)


def _verdict(summary: str, text: str) -> str:
    words = len(re.findall(r"\w+", summary))
    if not words:
        return "The model had nothing to say after this text."
    of = len(re.findall(r"\w+", text))
    return f"{words} words out of {of}."


def _number(value: object, field: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BadParameter(f"{field} is {value!r}; it must be a number.")
    return float(value)
