"""What the engine gives back: scores and spans by text, a text as it grows, and the time that each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Read:
    """How much of an input was read: tokens of it, of how many, and up to which character."""

    tokens: int
    of: int
    characters: int

    @property
    def cut(self) -> bool:
        """Whether something was left out."""
        return self.tokens < self.of


@dataclass
class Timings:
    """Seconds by stage: load, tokenize, forward (with the time in line), decode; and where the answers came from."""

    seconds: dict[str, float] = field(default_factory=dict)
    computed: int = 0  # texts, windows or tokens
    remembered: int = 0  # of which the answer was known

    @property
    def cached(self) -> bool:
        """Whether nothing had to be computed."""
        return self.remembered > 0 == self.computed

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


@dataclass(frozen=True)
class Classified:
    """Probabilities of one text or pair, by label name in the checkpoint's order."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    read: tuple[Read, ...]  # one for each text


@dataclass(frozen=True)
class Compared:
    """Scores of a pair read both ways round and added up, by label name; one label where similarity is a number."""

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    read: tuple[Read, ...]  # one for each text


@dataclass(frozen=True)
class Chosen:
    """Probabilities of the answers that were given to choose from, in their order."""

    probabilities: tuple[float, ...]
    read: tuple[tuple[Read, ...], ...]  # for each answer, of the context and of the answer


@dataclass(frozen=True)
class SpanWindow:
    """Start and end scores over one window of a passage; `offsets` are characters of the whole passage.

    A head that scores ends anew for each of its best starts gives `beams`, (score, first, last), instead.
    """

    start: Tensor  # [T]
    end: Tensor  # [T]
    offsets: tuple[tuple[int, int], ...]  # T
    none: float  # score of "not in this window": start and end at the token that stands for the whole text
    beams: tuple[tuple[float, int, int], ...] | None = None


@dataclass(frozen=True)
class Spanned:
    """All windows of one passage."""

    windows: tuple[SpanWindow, ...]
    question: Read


@dataclass(frozen=True)
class Generated:
    """The text so far."""

    text: str
    tokens: int
    finished: bool
    read: Read
    prompt: str  # what the model was given
    log_probability: float  # of the newest token
    piece: str = ""  # the newest token as text
    ids: tuple[int, ...] = ()  # of the text so far
    alternatives: tuple[tuple[str, float], ...] = ()  # the tokens most likely to stand where the newest one does
