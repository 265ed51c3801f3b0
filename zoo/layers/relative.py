"""Attention by distance, with memories (Transformer-XL, Dai et al. 2019, section 3.3) and with a term that asks only
whether two tokens are of the same segment (XLNet, Yang et al. 2019, section 2.5; original code modeling.py).

M tokens of memory before a text, T tokens of the text, J = M + T of both, Q tokens that ask, S segments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.contracts import Batch, Trace


@dataclass(frozen=True)
class Memory:
    """The inputs of every layer at the tokens read before: a later text looks back at them. A value."""

    layers: tuple[Tensor, ...]  # each [sum of M, D], text after text
    lengths: tuple[int, ...]  # B, M of each text

    @staticmethod
    def empty(layers: int, width: int, texts: int, like: Tensor) -> Memory:
        """Nothing read yet."""
        return Memory((like.new_empty(0, width),) * layers, (0,) * texts)

    def grown(self, layer: int, x: Tensor, batch: Batch, most: int | None, reused: int | None) -> list[Tensor]:
        """One layer's memory, text by text [M, D], with the new rows [N, D]: of each new text the first `reused`, and
        of all that is remembered the last `most`; None or 0 keeps all."""
        texts = zip(self.layers[layer].split(list(self.lengths)), batch.split(x), strict=True)
        return [torch.cat([old, new[: reused or None]])[-most if most else None :].detach() for old, new in texts]


@dataclass(frozen=True)
class View:
    """What the tokens of neighbouring texts of equal length look at, in every layer the same."""

    texts: int
    start: int  # first row of these texts
    length: int  # T
    memory: int  # M before each
    mine: Tensor | None  # [texts, Q, S], whether a token that asks is of a segment; None if there is one only
    seen: Tensor  # [texts, J, S], whether a token seen is
    unseen: Tensor | None = None  # [texts or 1, 1, Q, J], what may not be looked at; None if everything may
    asking: Tensor | None = None  # [texts, Q], the tokens of the texts that ask; None if all do, in order

    @staticmethod
    def of(
        batch: Batch, first: int, texts: int, past: int = 0, unseen: Tensor | None = None, asking: Tensor | None = None
    ) -> View:
        """`texts` texts from `first` on after `past` tokens of memory, which all see; `unseen` [texts or 1, T, T]."""
        start, length = batch.starts[first], batch.lengths[first]
        segments = batch.segments[start : start + texts * length].view(texts, length)  # [texts, T]
        mine, seen = None, F.pad(segments, (past, 0))  # [texts, J]: memories are of segment 0
        kinds = seen.unique()  # [S]
        if len(kinds) > 1:  # a single segment adds the same to all scores, which changes no weight
            asked = segments if asking is None else segments.gather(1, asking)  # [texts, Q]
            mine = asked[..., None] == kinds  # [texts, Q, S]
        if unseen is not None:
            if asking is not None:
                rows = asking[..., None].expand(-1, -1, length)  # [texts, Q, T]
                unseen = unseen.expand(texts, -1, -1).gather(1, rows)
            unseen = F.pad(unseen, (past, 0))[:, None]  # [texts or 1, 1, Q, J]
        return View(texts, start, length, past, mine, seen[..., None] == kinds, unseen, asking)

    def back_only(self, same_length: bool) -> View:
        """The same without a look ahead; with `same_length` as many tokens back for all, as far as memory reaches."""
        looked_at = torch.arange(self.memory + self.length, device=self.seen.device)  # [J]
        token = (looked_at[None, : self.length] if self.asking is None else self.asking)[:, None, :, None]
        hidden = looked_at > token + self.memory  # [texts or 1, 1, Q, J]
        if same_length:
            hidden = hidden | (looked_at < token)
        return replace(self, unseen=hidden if self.unseen is None else hidden | self.unseen)

    @property
    def rows(self) -> int:
        """Rows that ask."""
        return self.texts * (self.length if self.asking is None else self.asking.shape[1])


@dataclass(frozen=True)
class Sight:
    """What one layer offers to the tokens that ask: for each view keys and values of the content, keys of places."""

    views: Sequence[View]
    keys: Sequence[Tensor]  # [texts, H, J, E], or [.., E + S] with the segments
    values: Sequence[Tensor]  # [texts, H, J, E]
    places: Sequence[Tensor]  # [H, J + T, E]

    def by(self, views: Sequence[View]) -> Sight:
        """The same content, looked at in another way."""
        return Sight(views, self.keys, self.values, self.places)


@dataclass(frozen=True)
class Asked:
    """Queries of neighbouring tokens of each text."""

    first: int  # the number of the first of them in its text
    content: Tensor  # [texts, H, Q, E], or [.., E + S] with the segments
    place: Tensor  # [H, texts, Q, E]
    unseen: Tensor | None  # [texts or 1, 1, Q, J]


# Tokens that ask at once. Two tokens of a text of T are one of 2 T distances apart, but each has T of them only: in
# blocks the products of the others are left out, and scores stay in the cache. 0.73 times the time for T = 384.
BLOCK = 96


def distances(before: int, after: int, width: int, clamp: int, like: Tensor) -> Tensor:
    """Sines and cosines of the distances before, before - 1, ..., 1 - after: [before + after, D].

    `clamp` above 0 is the largest distance told apart. As in the original, all sines stand before all cosines.
    """
    steps = torch.arange(before, -after, -1, dtype=torch.float32, device=like.device)
    if clamp > 0:
        steps = steps.clamp(-clamp, clamp)
    waves = 1 / 10000 ** (torch.arange(0, width, 2, dtype=torch.float32, device=like.device) / width)  # [D/2]
    angles = steps[:, None] * waves  # [P, D/2]
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)  # [P, D]


KEPT = 2048  # distances that are kept from one pass to the next, at most
STEP = 64  # how many at once come to them


@dataclass(frozen=True)
class Places:
    """Distances as vectors."""

    rows: Tensor  # [P, D], one less with each row
    first: int  # the distance of the first row
    kept: bool = False  # whether the same object comes again

    @staticmethod
    def of(before: int, after: int, width: int, clamp: int, like: Tensor, known: Places | None) -> Places:
        """The distances before, ..., 1 - after or more: `known` if they are in it, else those of it, too."""
        if known is not None:
            alike = known.rows.dtype == like.dtype and known.rows.device == like.device
            if alike and known.first >= before and len(known.rows) - known.first >= after:
                return known
            before, after = max(before, known.first), max(after, len(known.rows) - known.first)
        before, after = (-(-count // STEP) * STEP for count in (before, after))
        return Places(distances(before, after, width, clamp, like), before, before + after <= KEPT)


class RelativeAttention(nn.Module):
    """Multi-head attention in which places count as distances. No map has a bias; H * E need not be the width."""

    def __init__(self, width: int, heads: int, size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, heads * size, bias=False)
        self.key = nn.Linear(width, heads * size, bias=False)
        self.value = nn.Linear(width, heads * size, bias=False)
        self.place = nn.Linear(width, heads * size, bias=False)
        self.out = nn.Linear(heads * size, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(heads, size))  # r_w_bias in the original
        self.place_bias = nn.Parameter(torch.zeros(heads, size))  # r_r_bias
        self.segment_bias = nn.Parameter(torch.zeros(heads, size))  # r_s_bias
        self.segment = nn.Parameter(torch.zeros(2, heads, size))  # the same segment, another one
        self.dropout = nn.Dropout(dropout)
        self._known: tuple[Tensor, Tensor, int, Tensor] | None = None

    def sight(self, x: Tensor, memory: Tensor | None, places: Places, views: Sequence[View]) -> Sight:
        """What these rows [N, D], and the memory [sum of M, D] before them, offer to be looked at.

        `places` are at least the distances from the largest J down to 1 - the largest T.
        """
        rows = x if memory is None else _joined(memory, x, views)  # [sum of J, D]
        lengths = [view.texts * (view.memory + view.length) for view in views]
        pairs = zip(self.key(rows).split(lengths), self.value(rows).split(lengths), strict=True)
        both = [[self._split(one.unflatten(0, (view.texts, -1))) for one in pair]
                for view, pair in zip(views, pairs, strict=True)]  # fmt: skip
        return self.sight_of(both, places, views)

    def told(self, x: Tensor) -> Tensor:
        """Keys and values of rows [N, D], to be kept instead of them where nothing else is asked later: [2, H, N, E]"""
        return torch.stack([self._split(self.key(x)), self._split(self.value(x))])

    def sight_of(self, told: Iterable[Sequence[Tensor]], places: Places, views: Sequence[View]) -> Sight:
        """As `sight`, of keys and values for each view, [texts, H, J, E] each."""
        by_place = self._placed(places)  # [H, P, E]
        keys, values, near = [], [], []
        for view, (key, value) in zip(views, told, strict=True):
            if view.mine is not None:  # behind the key of a token stands of which segment it is
                segments = view.seen[:, None].expand(-1, self.heads, -1, -1).to(key.dtype)
                key = torch.cat([key, segments], dim=-1)  # [texts, H, J, E + S]
            keys.append(key)
            values.append(value)
            first = places.first - view.memory - view.length
            near.append(by_place[:, first : first + view.memory + 2 * view.length])  # [H, J + T, E]
        return Sight(views, keys, values, near)

    def forward(self, x: Tensor, batch: Batch, past: Sight, trace: Trace | None = None) -> Tensor:
        """Rows that ask [N or sum of Q, D] -> as many rows [.., D]."""
        queries = self.query(x).split([view.rows for view in past.views])
        parts: list[Tensor] = []
        maps: list[Tensor] = []
        for view, q, keys, values, places in zip(past.views, queries, past.keys, past.values, past.places, strict=True):
            made: list[Tensor] = []
            mixed: list[Tensor] = []
            for some in self._asked(q.view(view.texts, -1, q.shape[-1]), view):
                weights = self._weights(some, keys, places, view)  # [texts, H, Q, J]
                mixed.append((self.dropout(weights) @ values).transpose(1, 2))  # [texts, Q, H, E]
                if trace is not None:
                    made.append(weights)
            parts.append((mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1)).flatten(2).flatten(0, 1))
            if trace is not None:
                maps.extend(torch.cat(made, dim=2))
        if trace is not None:
            trace.attention.append(maps)
        return self.out(torch.cat(parts))

    def _placed(self, places: Places) -> Tensor:
        """Keys of places [H, P, E]. They are the same for all texts: a seventh of the products of a text of 384 tokens,
        and nearly all of those of a step, unless they are kept."""
        if not places.kept:
            return self._split(self.place(places.rows))
        weight, known = self.place.weight, self._known
        version = 0 if weight.is_inference() else weight._version  # counts changes in place
        if known is None or known[0] is not places.rows or known[1] is not weight or known[2] != version:
            known = self._known = places.rows, weight, version, self._split(self.place(places.rows))
        return known[3]

    def _split(self, x: Tensor) -> Tensor:
        """[..., T, H*E] -> [..., H, T, E]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def _asked(self, q: Tensor, view: View) -> Iterator[Asked]:
        """[texts, Q, H*E], up to BLOCK tokens at a time."""
        q = q.unflatten(-1, (self.heads, -1))  # [texts, Q, H, E]
        scale = q.shape[-1] ** -0.5
        content = (q + self.content_bias) * scale
        if view.mine is not None:
            same, other = torch.einsum("nqhe,she->snqh", (q + self.segment_bias) * scale, self.segment)[..., None]
            content = torch.cat([content, torch.where(view.mine[:, :, None], same, other)], dim=-1)
        whole = Asked(0, content.transpose(1, 2), ((q + self.place_bias) * scale).permute(2, 0, 1, 3), view.unseen)
        if q.shape[1] <= BLOCK or view.asking is not None:
            yield whole
            return
        for first in range(0, q.shape[1], BLOCK):
            some = slice(first, first + BLOCK)
            unseen = view.unseen[:, :, some] if view.unseen is not None else None
            yield Asked(first, whole.content[:, :, some], whole.place[:, :, some], unseen)

    def _weights(self, asked: Asked, keys: Tensor, places: Tensor, view: View) -> Tensor:
        """Keys [texts, H, J, E or E + S], of places [H, J + T, E] -> [texts, H, Q, J]."""
        scores = asked.content @ keys.transpose(-1, -2)  # [texts, H, Q, J]
        count, seen = scores.shape[-2:]
        if view.asking is None:  # no other distances than those between these tokens and what they see
            begin = view.length - asked.first - count
            places = places[:, begin : begin + seen + count]
        # one product a head for all texts
        by_place = asked.place.flatten(1, 2) @ places.transpose(-1, -2)
        by_place = by_place.unflatten(1, (view.texts, -1))  # [H, texts, Q, J + Q]
        if view.asking is None:
            place = _from_place_to_token(by_place)  # [H, texts, Q, J]
        else:
            token = torch.arange(seen, device=scores.device)
            index = view.length - view.asking[..., None] + token  # [texts, Q, J]
            place = by_place.gather(-1, index.expand(self.heads, -1, -1, -1))
        scores += place.transpose(0, 1)
        if asked.unseen is not None:  # a finite number: a token that sees nothing looks everywhere alike
            scores = scores.masked_fill_(asked.unseen, torch.finfo(scores.dtype).min)
        return scores.softmax(-1)


def _joined(memory: Tensor, x: Tensor, views: Sequence[View]) -> Tensor:
    """The memory [sum of M, D] of each text, and after it the text's own rows [N, D]: [sum of J, D]."""
    olds = memory.split([view.texts * view.memory for view in views])
    news = x.split([view.texts * view.length for view in views])
    texts = [
        torch.cat(
            [old.unflatten(0, (view.texts, view.memory)), new.unflatten(0, (view.texts, -1))], dim=1
        )  # [.., J, D]
        for view, old, new in zip(views, olds, news, strict=True)
    ]
    return torch.cat([rows.flatten(0, 1) for rows in texts])


def _from_place_to_token(scores: Tensor) -> Tensor:
    """Scores by distance [..., T, J + T] -> by token [..., T, J]: row t begins at the distance of the first token.

    Read as [..., J + T, T] without its first row, the numbers lie so that each row starts one place earlier.
    """
    *texts, length, places = scores.shape
    shifted = scores.reshape(*texts, places, length)[..., 1:, :].reshape(*texts, length, places - 1)
    return shifted[..., : places - length]
