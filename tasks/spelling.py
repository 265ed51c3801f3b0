"""A model of spelling that starts from nothing: what a word costs in bits, byte by byte, learnt while it is used.

A language model of words gives all words outside of its vocabulary one probability together. To say which word it was,
its bytes are coded as well, each after the last few of the same word, and every word coded teaches the next.
"""

from __future__ import annotations

import math
from collections import Counter

BEGIN = b"\xff"  # stands before a word in its contexts; no UTF-8 has this byte
END = 256  # comes after its last byte
SYMBOLS = 257


class Speller:
    """Adaptive byte model: counts of bytes after contexts of up to `order` bytes, all lengths interpolated (Witten &
    Bell 1991, "The zero-frequency problem", method C); under the shortest one all symbols are alike."""

    def __init__(self, order: int = 4) -> None:
        self._order = order
        self._counts: dict[bytes, Counter[int]] = {}
        self._totals: Counter[bytes] = Counter()

    def probability(self, symbol: int, before: bytes) -> float:
        """Of a byte or END after `before`, the word from its BEGIN on; over all symbols these add up to 1."""
        chance = 1 / SYMBOLS
        for context in self._contexts(before):
            counts = self._counts.get(context)
            if counts is None:  # then no longer context was seen either
                break
            kinds = len(counts)
            chance = (counts[symbol] + kinds * chance) / (self._totals[context] + kinds)
        return chance

    def learn(self, symbol: int, before: bytes) -> None:
        """Count a byte or END in every context that it stands in."""
        for context in self._contexts(before):
            self._counts.setdefault(context, Counter())[symbol] += 1
            self._totals[context] += 1

    def bits(self, word: str) -> float:
        """What it costs to spell the word and to say that it ends; then the word is learnt."""
        spelled = word.encode("utf-8", "replace")
        text, total = BEGIN + spelled, 0.0
        for place, symbol in enumerate((*spelled, END)):
            before = text[max(0, place + 1 - self._order) : place + 1]
            total -= math.log2(self.probability(symbol, before))
            self.learn(symbol, before)
        return total

    def _contexts(self, before: bytes) -> list[bytes]:
        """The last 0, 1, 2, ... bytes."""
        return [before[len(before) - length :] for length in range(min(self._order, len(before)) + 1)]
