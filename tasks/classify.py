"""Classification of a text by topic, sentiment, or whatever labels a checkpoint has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.checks import head_of, text_of, timed, truncation, whole
from tasks.results import Result, Score, certainty

if TYPE_CHECKING:
    from zoo.engine import Engine


def run(engine: Engine, model: str, text: str, head: str | None = None, top_k: int | None = None) -> Result:
    """Label one text; `top_k` keeps only the best labels.

    Raises InputEmpty, InputTooLong, UnknownModel, Unsupported, BadParameter.
    """
    return run_many(engine, model, [text], head, top_k)[0]


def run_many(
    engine: Engine, model: str, texts: Sequence[str], head: str | None = None, top_k: int | None = None
) -> list[Result]:
    """Label many texts at once; `timings` are those of the whole call."""
    checked = [(text_of(text, "text"), None) for text in texts]
    most = whole(top_k, "top_k", 1, 10_000) if top_k is not None else None
    chosen = head_of(model, "classify", head)
    with timed() as timings:
        found = engine.classify(model, chosen, checked, timings)
    loaded = engine.model(model)
    name = loaded.head("classifier", chosen)
    results = []
    for one in found:
        pairs = sorted(zip(one.labels, one.probabilities, strict=True), key=lambda pair: -pair[1])
        scores = tuple(Score(label, p) for label, p in pairs)
        cut = truncation(one.read[0], "text")
        results.append(
            Result(
                "classify",
                model,
                loaded.revision,
                scores[0].label,
                f"{certainty(scores[0].score)}: {scores[0].label}.",
                name,
                scores[:most],
                timings=timings.seconds,
                truncated=cut,
                warnings=(str(cut),) if cut else (),
                cached=timings.cached,
            )
        )
    return results
