"""What was computed before: scores of texts, generated tokens, and states of prompts, for each model in memory.

All of it is determined by the weights, the precision and the key, so an answer from here is the one that would be
computed again. What belongs to a model goes with it when it leaves the memory. Least recently used goes first.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from zoo.contracts import Continues

MOST_STATES = 4  # prompts of a model of which the state is kept
MOST_STATE_BYTES = 64 * 2**20  # of all of them; of GPT-2 (124M) a state of 870 tokens
LEAST_SHARED = 8  # tokens at the beginning of a prompt that are worth taking from another


class Cache:
    """Answers by key. Thread-safe."""

    def __init__(self, entries: int, megabytes: float = 16) -> None:
        """`entries` answers of at most `megabytes` in all for each model; 0 keeps nothing."""
        self.entries = entries
        self.bytes = int(megabytes * 2**20)
        self._lock = threading.Lock()
        self._models: WeakKeyDictionary[nn.Module, _Kept] = WeakKeyDictionary()

    def get(self, model: nn.Module, key: Hashable) -> Any:
        """What was kept, or None."""
        with self._lock:
            kept = self._models.get(model)
            if kept is None or key not in kept.answers:
                return None
            kept.answers.move_to_end(key)
            return kept.answers[key][0]

    def put(self, model: nn.Module, key: Hashable, answer: Any) -> None:
        """Keep an answer: a tensor of scores, or steps of a generated text."""
        if not self.entries:
            return
        size = _size(key) + _size(answer)
        with self._lock:
            kept = self._models.setdefault(model, _Kept(OrderedDict()))
            _, before = kept.answers.pop(key, (None, 0))
            kept.answers[key] = (answer, size)
            kept.used += size - before
            while len(kept.answers) > self.entries or kept.used > self.bytes:
                _, (_, gone) = kept.answers.popitem(last=False)
                kept.used -= gone


@dataclass
class _Kept:
    answers: OrderedDict[Hashable, tuple[Any, int]]
    used: int = 0


class Prompts:
    """States of texts that were continued, by the tokens read, so that a prompt is read once."""

    def __init__(self, most: int = MOST_STATES) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._models: WeakKeyDictionary[nn.Module, OrderedDict[tuple[Any, ...], Continues]] = WeakKeyDictionary()

    def begin(self, model: nn.Module, prompt: Sequence[Any], capacity: int) -> Callable[[], Continues | None]:
        """A function that gives a state of the longest beginning of `prompt` that has been read by now, without its
        last token: that one is scored. With room for `capacity` tokens; None if there is nothing worth it.

        It may copy, so it is for the thread that computes.
        """
        prompt = tuple(prompt)
        with self._lock:
            known = list(self._models.get(model, OrderedDict()).items())
        shared = [(_shared(read, prompt), read, state) for read, state in known]
        worth = sorted((one for one in shared if one[0] >= LEAST_SHARED), key=lambda one: -one[0])

        def resumed() -> Continues | None:
            for count, read, kept in worth:
                state = kept.resumed(min(count, len(prompt) - 1), capacity)
                if state is not None:
                    with self._lock:
                        if read in (states := self._models[model]):
                            states.move_to_end(read)
                    return state
            return None

        return resumed

    def keep(self, model: nn.Module, read: Sequence[Any], state: Continues) -> None:
        """The state after these tokens."""
        if not self.most or state.lengths != (len(read),):  # a memory that has forgotten its beginning
            return
        read = tuple(read)
        with self._lock:
            known = self._models.setdefault(model, OrderedDict())
            for old in [old for old in known if state.prompt_part == 0 and read[: len(old)] == old]:
                del known[old]  # it is the beginning of this one
            known[read] = state
            known.move_to_end(read)
            most = self.most * (8 if state.prompt_part else 1)
            while known and (len(known) > most or sum(map(_size, known.values())) > MOST_STATE_BYTES):
                known.popitem(last=False)


def _shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many tokens are the same at the beginning."""
    if one == other[: len(one)]:
        return len(one)
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def _size(value: Any) -> int:
    """Bytes, about."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size() + 200
    if is_dataclass(value):
        return sum(_size(getattr(value, one.name)) for one in fields(value))
    if isinstance(value, list | tuple):
        return 64 + 8 * len(value) + sum(_size(one) for one in value if not isinstance(one, int | float))
    return sys.getsizeof(value)
