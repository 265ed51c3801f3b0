"""What XLNet carries from token to token while it continues texts: all that was read, or what was computed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from zoo.layers.attention import KeyValues


@dataclass(frozen=True)
class Prefix:
    """The ids read so far, while a text is continued. A value.

    Each new token changes what all tokens before it see, so that nothing computed can be kept without computing
    something else than the paper: the whole text is read anew for each token.
    """

    prompt_part: ClassVar[int] = 0

    ids: tuple[tuple[int, ...], ...]  # B

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each text."""
        return tuple(map(len, self.ids))

    def parts(self) -> tuple[Prefix, ...]:
        """Each text's own."""
        return tuple(Prefix((text,)) for text in self.ids)

    @staticmethod
    def joined(parts: Sequence[Prefix]) -> Prefix:
        """The texts of all."""
        return Prefix(tuple(text for part in parts for text in part.ids))

    def resumed(self, length: int, capacity: int) -> Prefix:
        """Of one text the first `length` tokens."""
        return Prefix((self.ids[0][:length],))


@dataclass(frozen=True)
class Onward:
    """Keys and values of the text read so far, in every layer, while it is continued from left to right, one of the
    orders it may be predicted in: what was computed for a token stays. A value.

    Each pass gives one row for the token that comes next, so that nothing can be tried ahead: it is no KeyValues.
    """

    prompt_part: ClassVar[int] = 0

    kept: KeyValues

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each text."""
        return self.kept.lengths

    def parts(self) -> tuple[Onward, ...]:
        """Each text's own."""
        return tuple(map(Onward, self.kept.parts()))

    @staticmethod
    def joined(parts: Sequence[Onward]) -> Onward:
        """The texts of all."""
        return Onward(KeyValues.joined([part.kept for part in parts]))

    def resumed(self, length: int, capacity: int) -> Onward:
        """Of one text the first `length` tokens: nothing that was computed for them depends on a later one."""
        return Onward(self.kept.resumed(length, capacity))
