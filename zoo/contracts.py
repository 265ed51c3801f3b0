"""What travels between the stages: text -> Pieces -> Encoding -> Batch -> Hidden -> logits.

Shape letters used in the whole project: B texts, N rows (all tokens of all texts of a batch, one after the other,
without padding), T tokens of one text, D width, H heads, E width of one head, V vocabulary, K labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pieces:
    """One text cut into tokens, before any special token: ids and character offsets into the original text.

    An id is a number; for families that read characters (ELMo) it is a row of numbers, one word a row.
    """

    ids: tuple[Any, ...]
    offsets: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> Pieces:
        return Pieces(self.ids[part], self.offsets[part])

    def __add__(self, other: Pieces) -> Pieces:
        return Pieces(self.ids + other.ids, self.offsets + other.offsets)


@dataclass(frozen=True)
class Encoding:
    """What a model reads: one text or pair with its special tokens.

    `sources` says for each token which text it comes from: 0 the first, 1 the second, -1 a special token.
    `offsets` are characters of that text; (0, 0) for special tokens. `summary` is the token that stands for the whole
    text, such as BERT's [CLS] at the beginning or XLNet's <cls> at the end.
    """

    ids: tuple[Any, ...]
    segments: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    sources: tuple[int, ...]
    summary: int = 0

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer(Protocol):
    """What every tokenizer of the zoo can do, whatever its ids look like."""

    vocabulary: int  # rows of the embedding it needs
    end: int | None  # the token that ends a text, for families that generate

    def pieces(self, text: str) -> Pieces:
        """Cut `text` without special tokens."""

    def assemble(self, first: Pieces, second: Pieces | None = None) -> Encoding:
        """Put one text or a pair into the family's template, special tokens included."""

    def question(self, question: Pieces, passage: Pieces) -> Encoding:
        """Put a question and the passage that may answer it into the template; the passage is the second text."""

    def prompt(self, text: Pieces) -> Encoding:
        """A text that is to be continued: with the special tokens that begin a text, without those that end it."""

    def reread(self, index: int) -> Any:
        """What a generated token is as input: the id itself, or a row of character ids."""

    def extras(self, pair: bool) -> int:
        """How many special tokens the template adds."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out."""

    def token(self, index: int) -> str:
        """The vocabulary's own spelling of one id."""

    def save(self, folder: Path) -> None:
        """Write the files it can be read from again."""


class Group(NamedTuple):
    """Neighbouring texts of equal length: rows [start, start + texts * length) hold them, one after the other."""

    first: int  # index of its first text
    texts: int
    start: int  # first row
    length: int  # tokens of each


@dataclass(frozen=True)
class Batch:
    """Many encodings as tensors, laid out without padding: text after text in one row dimension.

    Families compute on rows and never see the layout; attention and pooling ask `groups`, `first_rows` and
    `last_rows`. `positions` count from the start of each text, or go on from a state.
    """

    ids: Tensor  # [N], or [N, C] where a token is a row of C numbers
    segments: Tensor  # [N]
    positions: Tensor  # [N]
    lengths: tuple[int, ...]  # B
    sources: Tensor | None = None  # [N], as in Encoding; None when texts are continued

    @staticmethod
    def of(encodings: Sequence[Encoding], device: torch.device | str = "cpu") -> Batch:
        """Lay out `encodings`; neighbours of equal length are computed together, so sort by length first."""
        return Batch(
            _ids([i for e in encodings for i in e.ids], device),
            torch.tensor([s for e in encodings for s in e.segments], dtype=torch.long, device=device),
            torch.tensor([p for e in encodings for p in range(len(e))], dtype=torch.long, device=device),
            tuple(len(e) for e in encodings),
            torch.tensor([s for e in encodings for s in e.sources], dtype=torch.long, device=device),
        )

    @staticmethod
    def continuing(ids: Sequence[Sequence[Any]], past: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """New tokens of texts of which `past` tokens are in a state already."""
        flat = _ids([i for text in ids for i in text], device)
        positions = [p + t for text, p in zip(ids, past, strict=True) for t in range(len(text))]
        return Batch(
            flat,
            torch.zeros(len(flat), dtype=torch.long, device=device),
            torch.tensor(positions, dtype=torch.long, device=device),
            tuple(len(text) for text in ids),
        )

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First row of each text."""
        starts, row = [], 0
        for length in self.lengths:
            starts.append(row)
            row += length
        return tuple(starts)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Runs of neighbouring texts of equal length."""
        groups: list[Group] = []
        for index, (start, length) in enumerate(zip(self.starts, self.lengths, strict=True)):
            if groups and groups[-1].length == length:
                groups[-1] = groups[-1]._replace(texts=groups[-1].texts + 1)
            else:
                groups.append(Group(index, 1, start, length))
        return tuple(groups)

    @cached_property
    def first_rows(self) -> Tensor:
        """Row of the first token of each text, [B]."""
        return torch.tensor(self.starts, dtype=torch.long, device=self.ids.device)

    @cached_property
    def last_rows(self) -> Tensor:
        """Row of the last token of each text, [B]."""
        ends = [start + length - 1 for start, length in zip(self.starts, self.lengths, strict=True)]
        return torch.tensor(ends, dtype=torch.long, device=self.ids.device)

    def only(self, texts: Sequence[int], rows: Tensor) -> tuple[Tensor, Batch]:
        """Of rows [N, ...] those of some texts, and a batch of these texts alone."""
        spans = [torch.arange(self.starts[i], self.starts[i] + self.lengths[i]) for i in texts]
        chosen = torch.cat(spans).to(self.ids.device)
        sources = None if self.sources is None else self.sources[chosen]
        part = Batch(
            self.ids[chosen],
            self.segments[chosen],
            self.positions[chosen],
            tuple(self.lengths[i] for i in texts),
            sources,
        )
        return rows[chosen], part

    def split(self, rows: Tensor) -> Iterator[Tensor]:
        """Rows [N, ...] cut into texts, each [T, ...]."""
        return iter(rows.split(list(self.lengths)))


def _ids(ids: Sequence[Any], device: torch.device | str) -> Tensor:
    """Ids [N]; rows of numbers [N, C], shorter ones filled up with zeros."""
    if ids and isinstance(ids[0], tuple):
        width = max(map(len, ids))
        ids = [row + (0,) * (width - len(row)) for row in ids]
    return torch.tensor(ids, dtype=torch.long, device=device)


@dataclass
class Trace:
    """Collects, on request, what a forward pass went through: every layer's output and attention maps."""

    layers: list[Tensor] = field(default_factory=list)  # each [N, D]; the embeddings first
    attention: list[list[Tensor]] = field(default_factory=list)  # layer -> text -> [H, T, T]


class State(Protocol):
    """What a family carries from one call to the next while it generates. Travels as a value."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each text that are in it."""


@runtime_checkable
class Continues(State, Protocol):
    """A state over which texts are continued: texts come together for one pass and part again."""

    prompt_part: ClassVar[int]  # tokens of a prompt to read at once, so that a shorter prompt's state is known; 0: all

    def parts(self) -> tuple[Continues, ...]:
        """Each text's own."""

    @staticmethod
    def joined(parts: Sequence[Any]) -> Continues:
        """One state of all these texts, of the same class."""

    def resumed(self, length: int, capacity: int) -> Continues | None:
        """Of one text what was read of its first `length` tokens, as a state that shares nothing that is written to;
        None where only the end is known. Room is made for `capacity` tokens."""


@runtime_checkable
class Rewinds(Continues, Protocol):
    """One that can forget its last tokens, so that some may be read that perhaps do not stay."""

    def cut(self, length: int) -> Rewinds:
        """Of one text the first `length` tokens."""


@dataclass(frozen=True)
class Hidden:
    """What a body gives: the last layer, and the state to go on from if one was passed in."""

    last: Tensor  # [N, D]; of families whose heads mix the layers (ELMo) [N, layers, D]
    state: State | None = None


class LayerMix(NamedTuple):
    """How much of each layer a head reads: weights that add up to 1, the lowest layer first, and a factor for all."""

    weights: tuple[float, ...]
    gamma: float


@runtime_checkable
class Finishes(Protocol):
    """A body that does something to the rows of its last layer before heads read them."""

    def finish(self, rows: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""


@runtime_checkable
class CutsWords(Protocol):
    """A tokenizer that cuts words by spaCy where it is installed, else by an expression."""

    def splitter(self) -> str:
        """Which of the two is in use."""


@runtime_checkable
class HoldsBack(Protocol):
    """A tokenizer with tokens that a generated text must not have, such as the one for unknown words."""

    unsaid: tuple[int, ...]


@runtime_checkable
class MixesLayers(Protocol):
    """A module that reads a learned mix of a body's layers (ELMo); the page shows it."""

    @property
    def layer_mix(self) -> LayerMix:
        """The mix as it was learned."""


@dataclass(frozen=True)
class HeadSpec:
    """A head that a checkpoint has: its kind (see zoo/heads.py) and the names of its labels, in the file's order.

    `none_bias` is added to a span head's score of "no answer": the threshold of SQuAD 2.0, chosen after training.
    `beams` of a span head is the number of starts for each of which it scores the ends anew (XLNet); 0 of others.
    """

    kind: str
    labels: tuple[str, ...] = ()
    none_bias: float = 0.0
    beams: int = 0
