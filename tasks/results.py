"""What a task gives back: an answer, its alternatives with probabilities, what was left unread, timings, the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Score:
    """A label and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Span:
    """A part of the passage: `text` is passage[start:end]."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Piece:
    """A token of a generated answer: its probability, and the most likely tokens in its place, best first."""

    id: int
    text: str
    probability: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Truncation:
    """Only the first `read` of `of` tokens were read, which are the first `characters` characters of `field`."""

    field: str
    read: int
    of: int
    characters: int
    unit: str = "tokens"

    def __str__(self) -> str:
        return f"Only the first {self.read:,} of {self.of:,} {self.unit} of the {self.field} were read."


@dataclass(frozen=True)
class Result:
    """An answer. `verdict` says it in words; `scores` are sorted, best first."""

    task: str
    model: str
    revision: str
    answer: str
    verdict: str
    head: str = ""
    scores: tuple[Score, ...] = ()
    spans: tuple[Span, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)  # seconds: load, tokenize, forward, decode, total
    truncated: Truncation | None = None
    warnings: tuple[str, ...] = ()
    windows: int = 1
    prompt: str = ""  # of a generated answer: the end of what the model was given
    tokens: int = 0  # of a generated answer
    pieces: tuple[Piece, ...] = ()  # of a generated answer
    cached: bool = False  # the same was asked before, and nothing was computed

    def as_json(self) -> dict[str, Any]:
        """The stable form that `python -m tasks run --json` prints; what does not apply is left out."""
        made: dict[str, Any] = {
            "task": self.task,
            "model": self.model,
            "revision": self.revision,
            "answer": self.answer,
        }
        if self.scores:
            made["scores"] = [asdict(score) for score in self.scores]
        if self.task == "qa":
            made["spans"] = [asdict(span) for span in self.spans]
        made["timings"] = {stage: round(seconds, 6) for stage, seconds in self.timings.items()}
        made["cached"] = self.cached
        made["truncated"] = asdict(self.truncated) if self.truncated else None
        made["warnings"] = list(self.warnings)
        return made

    def as_hub(self) -> Any:
        """The answer in the shape that the Hub's inference API gives for the task (huggingface.js, packages/tasks)."""
        if self.task == "summarize":
            return {"summary_text": self.answer}
        if self.task == "qa":
            empty = {"answer": "", "score": self.scores[0].score if self.scores else 0.0, "start": 0, "end": 0}
            spans = [{"answer": s.text, "score": s.score, "start": s.start, "end": s.end} for s in self.spans]
            return spans if self.answer else [empty, *spans]
        return [{"label": one.label, "score": one.score} for one in self.scores]


def certainty(probability: float) -> str:
    """How sure a probability sounds in words."""
    if probability >= 0.75:
        return "Very likely"
    return "Somewhat likely" if probability >= 0.5 else "Not sure"
