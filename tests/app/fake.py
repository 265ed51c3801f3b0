"""A deterministic engine without torch models, with the methods of the real one that tasks call.

What it says is easy to foretell: a text with "not" in it is negative or a contradiction; the answer to a question is
the last word of the passage, or nothing when the passage says "nothing"; a summary repeats the text word by word.
A text with the word CRASH raises what no visitor may see.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from zoo.contracts import LayerMix
from zoo.engine.answers import Classified, Generated, Read, Spanned, SpanWindow, Timings
from zoo.errors import ModelUnavailable

SECRET = "a path that no visitor may see"
LABELS = {
    "nli": ("entailment", "neutral", "contradiction"),
    "topic": ("World", "Sports", "Business", "Sci/Tech"),
    "sentiment": ("negative", "positive"),
    "classifier": ("negative", "positive"),
}


class FakeEngine:
    """Counts what it did, so that tests can see what happened behind the page."""

    memory_bytes = 2**30

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay  # seconds for each token of a summary, and for each text that is labelled
        self.rows = 0  # texts labelled so far
        self.words = 0  # tokens made so far, over all summaries
        self.closed = 0  # summaries that were given up
        self.most_at_once = 0
        self.gone: set[str] = set()  # models that cannot be had, in spite of their names
        self.stubborn: set[str] = set()  # models that are there as well, and give every pair the first label
        self._running = 0
        self.fetching: dict[str, list[int]] = {}  # bytes that `opening` tells of, of models that are fetched
        self.pace: threading.Semaphore | None = None  # where set, released for each of these
        self.mixes: list[tuple[str, LayerMix]] = []  # of every model
        self._loaded: dict[str, int] = {}

    @property
    def used_bytes(self) -> int:
        return sum(self._loaded.values())

    def loaded(self) -> list[tuple[str, int]]:
        return list(self._loaded.items())

    def unload(self, name: str) -> bool:
        return self._loaded.pop(name, None) is not None

    def model(self, name: str, timings: Timings | None = None) -> Any:
        if ("mini" not in name and name not in self.stubborn) or name in self.gone:
            raise ModelUnavailable(f"{name} is not on this machine and there is no connection. Choose another model.")
        self._loaded[name] = 50 * 2**20
        return SimpleNamespace(
            name=name, revision="fake", head=lambda kind, head=None: head or kind, heads={}, mixes=self.mixes
        )

    def opening(self, name: str) -> Iterator[int]:
        if name not in self._loaded:
            for here in self.fetching.get(name, [0]):
                yield here
                if self.pace is not None:
                    assert self.pace.acquire(timeout=60), "nobody let the download go on"
                elif name in self.fetching:
                    time.sleep(0.3)
            self.model(name)

    def classify(
        self, name: str, head: str | None, texts: Sequence[tuple[str, str | None]], timings: Timings | None = None
    ) -> list[Classified]:
        self.model(name)
        return [self._label(name, head, *pair) for pair in texts]

    def _label(self, name: str, head: str | None, first: str, second: str | None) -> Classified:
        _crash(first + (second or ""))
        time.sleep(self.delay)
        self.rows += 1
        labels = LABELS["nli" if second is not None else head or "classifier"]
        if "HOSTILE" in first and second is None:
            labels = ("<img src=x onerror=window.__x=1>${window.__x=1}", "{{constructor}}`\\")
        best = len(labels) - 1 if second is not None and "not" in second and name not in self.stubborn else 0
        rest = 0.1 / (len(labels) - 1)
        read = tuple(Read(min(512, len(t)), len(t), min(512, len(t))) for t in (first, second) if t is not None)
        return Classified(labels, tuple(0.9 if i == best else rest for i in range(len(labels))), read)

    def spans(
        self,
        name: str,
        head: str | None,
        pairs: Sequence[tuple[str, str]],
        stride: int = 128,
        window: int | None = None,
        timings: Timings | None = None,
    ) -> list[Spanned]:
        self.model(name)
        return [self._span(*pair) for pair in pairs]

    def _span(self, question: str, passage: str) -> Spanned:
        _crash(question + passage)
        offsets, at = [], 0
        for word in passage.split():
            at = passage.index(word, at)
            offsets.append((at, at + len(word)))
            at += len(word)
        scores = torch.zeros(len(offsets))
        scores[-1] = 5.0
        none = 20.0 if "nothing" in passage else 0.0
        one = SpanWindow(scores, scores, tuple(offsets), none)
        return Spanned((one,), Read(3, 3, len(question)))

    def generate(
        self,
        name: str,
        head: str | None,
        document: str,
        suffix: str,
        most: int,
        sampling: Any,
        timings: Timings | None = None,
    ) -> Iterator[Generated]:
        self.model(name)
        _crash(document)
        words = document.split()[:most]
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            for count in range(1, len(words) + 1):
                time.sleep(self.delay)
                self.words += 1
                read = Read(min(512, len(words)), len(words), len(document))
                text = " ".join(words[:count])
                yield Generated(text, count, count == len(words), read, document + suffix, -1.0)
        except GeneratorExit:
            self.closed += 1
            raise
        finally:
            self._running -= 1


def _crash(text: str) -> None:
    if "CRASH" in text:
        raise RuntimeError(SECRET)
