"""The words of a text, and what an explanation says of them; zoo/engine/explain.py explains."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Method = Literal["integrated gradients", "occlusion"]
METHODS: tuple[Method, ...] = ("integrated gradients", "occlusion")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+(?:['’][^\W\d_]+)*|[^\w\s]")


@dataclass(frozen=True)
class Word:
    """A word of an input text, text[start:end], and how much it speaks for what is explained (against it, below 0)."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Attribution:
    """The words of each text with their scores, and how well these add up.

    `value` is what is explained (log-odds of a label, logarithm of a probability) for the input, `blank` the same for
    the input without words. The axiom of completeness says that all scores add up to the difference; `error` is how
    far integrated gradients are from that, as a share of it. Occlusion makes no such promise: its error is None; it
    hides `together` neighbouring words at a time, which then share a score.
    """

    method: Method
    texts: tuple[tuple[Word, ...], ...]
    value: float
    blank: float
    steps: int = 0
    error: float | None = None
    together: int = 1


def words(text: str) -> list[tuple[int, int]]:
    """Places of the words and marks of a text; of Chinese and Japanese, of the characters."""
    return [match.span() for match in _WORD.finditer(text)]
