"""Natural-language inference: does the premise entail the hypothesis, contradict it, or neither?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.checks import head_of, text_of, timed, truncation
from tasks.results import Result, Score, certainty
from zoo.engine import Classified
from zoo.engine.answers import Timings
from zoo.errors import Unsupported

if TYPE_CHECKING:
    from zoo.engine import Engine

WORDS = {
    "entailment": "the premise entails the hypothesis",
    "neutral": "the premise neither entails nor contradicts the hypothesis",
    "contradiction": "the premise contradicts the hypothesis",
    "not_entailment": "the premise does not entail the hypothesis",
}


def run(engine: Engine, model: str, premise: str, hypothesis: str, head: str | None = None) -> Result:
    """Judge one pair. Raises InputEmpty, InputTooLong, UnknownModel, Unsupported."""
    return run_many(engine, model, [(premise, hypothesis)], head)[0]


def run_many(engine: Engine, model: str, pairs: Sequence[tuple[str, str]], head: str | None = None) -> list[Result]:
    """Judge many pairs at once; `timings` are those of the whole call."""
    checked = [(text_of(p, "premise"), text_of(h, "hypothesis")) for p, h in pairs]
    chosen = head_of(model, "nli", head)
    with timed() as timings:
        found = engine.classify(model, chosen, checked, timings)
    loaded = engine.model(model)
    name = loaded.head("classifier", chosen)
    return [_result(model, loaded.revision, name, one, timings) for one in found]


def _result(model: str, revision: str, head: str, found: Classified, timings: Timings) -> Result:
    scores = sorted(
        (Score(label.lower(), p) for label, p in zip(found.labels, found.probabilities, strict=True)),
        key=lambda score: -score.score,
    )
    unknown = [score.label for score in scores if score.label not in WORDS]
    if unknown:
        raise Unsupported(
            f"{model} is no NLI model: its labels are {', '.join(found.labels)}.", labels=list(found.labels)
        )
    best = scores[0]
    cut = [t for t in (truncation(r, f) for r, f in zip(found.read, ("premise", "hypothesis"), strict=True)) if t]
    return Result(
        "nli",
        model,
        revision,
        best.label,
        f"{certainty(best.score)}: {WORDS[best.label]}.",
        head,
        tuple(scores),
        timings=timings.seconds,
        truncated=cut[0] if cut else None,
        warnings=tuple(map(str, cut)),
        cached=timings.cached,
    )
