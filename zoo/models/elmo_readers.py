"""Small task networks over a frozen ELMo, trained here: one text, a pair, a question and its passage.

The published ones (zoo/models/elmo_tasks.py) bring word vectors of their own; these read nothing but a learned mix of
ELMo's layers, so that one checkpoint with one vocabulary holds them all. Texts of different lengths are computed
together, padded behind their ends; what is computed of a text does not depend on its company.
N rows, B texts, T, P and Q words of a sentence with its marks, D width, H units of an LSTM, K labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.contracts import Batch, HeadSpec
from zoo.errors import BadCheckpoint
from zoo.family import read_fields
from zoo.layers.scalar_mix import ScalarMix, sentences
from zoo.weights.keymap import LoadReport

NEVER = -1e30  # a score before a softmax; finite, so that a row of nothing but padding gives no NaN
CAPITALS = (66, 91)  # ids of A and Z in a row of characters
SAME, ALIKE = 50, 6  # places of a row that are compared: all of them, and "begin of word" with the first five bytes
MATCHES = 3  # features of `matches`
MOST_BUCKETS = 1_000_000


@dataclass(frozen=True)
class ReaderConfig:
    """A reader of a checkpoint. The head that it belongs to says how many labels it has."""

    kind: str  # of KINDS
    size: int  # H
    dropout: float
    own: int = 0  # width of a word's own vector, beside ELMo's; 0 for none
    buckets: int = 0  # how many such vectors there are


@dataclass(frozen=True)
class Sentences:
    """One sentence of each text, marks included, padded behind its end. An absent one has length 0."""

    places: Tensor  # [B, T] rows of the batch; any row where there is no word
    lengths: Tensor  # [B]
    real: Tensor  # [B, T] whether there is a word

    @staticmethod
    def of(batch: Batch, which: int) -> Sentences:
        """The first (0) or second (1) sentence of each text."""
        found = [text[which] if len(text) > which else (0, 0) for text in sentences(batch)]
        edges = torch.tensor(found, dtype=torch.long, device=batch.ids.device).view(-1, 2)  # [B, 2]
        lengths = edges[:, 1] - edges[:, 0]
        steps = torch.arange(max(1, int(lengths.max())), device=edges.device)  # [T]
        real = steps < lengths[:, None]
        return Sentences((edges[:, :1] + steps).where(real, 0), lengths, real)

    def take(self, rows: Tensor) -> Tensor:
        """[N, ...] -> [B, T, ...], zeros behind the end."""
        return rows[self.places] * self.real.view(*self.real.shape, *[1] * (rows.dim() - 1))


class Words(nn.Module):
    """What a reader sees of each word: its mix of ELMo's layers, every number brought to mean 0 and variance 1, and
    beside it a vector that the task has learnt for the word itself ([x; ELMo] in the paper, section 3.3).

    Most of what an ELMo's layers say is the same of all words, and drowns the rest. The statistics are those of
    training (Ioffe & Szegedy 2015); the paper's own remedy, a norm of each layer, leaves that part as it is.
    A word's own vector is found by a hash of its letters in lower case, so that no word is unknown; two may share one
    (Weinberger et al. 2009, "Feature Hashing").
    """

    def __init__(self, mix: ScalarMix, width: int, config: ReaderConfig) -> None:
        super().__init__()
        self.mix = mix
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.norm.num_batches_tracked = None  # a counter of training steps, which no answer depends on
        self.dropout = nn.Dropout(config.dropout)
        self.own = nn.Embedding(config.buckets, config.own) if config.own else None
        if self.own is not None:
            nn.init.normal_(self.own.weight, std=0.1)
        self.width = width + config.own

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, D] -> [N, width]."""
        seen = self.norm(self.mix(rows, batch))
        if self.own is not None:
            places = numbered(lower(batch.ids)[:, :SAME]) % self.own.num_embeddings  # [N]
            seen = torch.cat([seen, self.own(places)], dim=-1)
        return self.dropout(seen)


class Reader(nn.Module):
    """What the readers share."""

    words: Words

    @property
    def own_words(self) -> nn.Module | None:
        """The task's own vectors of words."""
        return self.words.own


class Bilstm(nn.Module):
    """A bidirectional LSTM over padded sentences.

    torch has a fast kernel for one direction without packing; turning each sentence round within its own length is
    all that the other one needs.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.ahead = nn.LSTM(width, size, batch_first=True)
        self.back = nn.LSTM(width, size, batch_first=True)

    def forward(self, x: Tensor, of: Sentences) -> Tensor:
        """[B, T, D] -> [B, T, 2H], zeros behind the end."""
        steps = torch.arange(x.shape[1], device=x.device)
        turned = (of.lengths[:, None] - 1 - steps).where(of.real, steps)[..., None]  # [B, T, 1]
        ahead = self.ahead(x)[0]  # [B, T, H]
        back = self.back(x.gather(1, turned.expand_as(x)))[0]
        back = back.gather(1, turned.expand_as(back))
        return torch.cat([ahead, back], dim=-1) * of.real[..., None]


def attend(scores: Tensor, of: Sentences, values: Tensor) -> Tensor:
    """Scores [B, S, T] of the words of a sentence, values [B, T, D] -> their mean by a softmax of scores [B, S, D]."""
    return scores.masked_fill(~of.real[:, None], NEVER).softmax(-1) @ values


def largest(x: Tensor, of: Sentences) -> Tensor:
    """[B, T, D] -> the maximum over the words of each sentence [B, D], 0 of an absent one."""
    most = x.masked_fill(~of.real[..., None], NEVER).amax(1)
    return most * (of.lengths > 0)[:, None]


def verdict(width: int, size: int, labels: int, dropout: float) -> nn.Sequential:
    """What turns a vector of a text into scores of labels."""
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout), nn.Linear(size, labels)
    )


class Pooled(Reader):
    """Labels of one text: a biLSTM, attention to the words that matter (Lin et al. 2017), their maximum beside it."""

    def __init__(self, config: ReaderConfig, mix: ScalarMix, width: int, labels: int) -> None:
        super().__init__()
        self.words = Words(mix, width, config)
        self.read = Bilstm(self.words.width, config.size)
        self.look = nn.Linear(2 * config.size, config.size)
        self.matter = nn.Linear(config.size, 1, bias=False)
        self.out = verdict(4 * config.size, config.size, labels, config.dropout)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, D] -> [B, K]."""
        text = Sentences.of(batch, 0)
        x = self.read(text.take(self.words(rows, batch)), text)  # [B, T, 2H]
        scores = self.matter(torch.tanh(self.look(x))).transpose(1, 2)  # [B, 1, T]
        pooled = torch.cat([attend(scores, text, x)[:, 0], largest(x, text)], dim=-1)  # [B, 4H]
        return self.out(pooled)


class Esim(Reader):
    """Labels of a pair: read, align the words of both sentences, compare, read again (Chen et al. 2017, section 3)."""

    def __init__(self, config: ReaderConfig, mix: ScalarMix, width: int, labels: int) -> None:
        super().__init__()
        self.words = Words(mix, width, config)
        self.dropout = nn.Dropout(config.dropout)
        self.read = Bilstm(self.words.width, config.size)
        self.compare = nn.Linear(8 * config.size, config.size)
        self.again = Bilstm(config.size, config.size)
        self.out = verdict(8 * config.size, config.size, labels, config.dropout)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, D] -> [B, K]."""
        first, second = Sentences.of(batch, 0), Sentences.of(batch, 1)
        mixed = self.words(rows, batch)  # [N, D]
        one, other = (self.read(part.take(mixed), part) for part in (first, second))  # [B, P, 2H], [B, Q, 2H]
        alike = one @ other.transpose(1, 2)  # [B, P, Q]
        sides = (
            (one, attend(alike, second, other), first),
            (other, attend(alike.transpose(1, 2), first, one), second),
        )
        pooled = []
        for own, aligned, of in sides:
            compared = self.compare(torch.cat([own, aligned, own - aligned, own * aligned], dim=-1)).relu()  # [B, T, H]
            x = self.again(self.dropout(compared), of)  # [B, T, 2H]
            pooled += [x.sum(1) / of.lengths.clamp(min=1)[:, None], largest(x, of)]
        return self.out(torch.cat(pooled, dim=-1))


class Spans(Reader):
    """Where a passage answers a question: BiDAF's attention both ways (Seo et al. 2017, section 2), then a reading.

    Beside ELMo's layers each word knows whether the other text has it too (Chen et al. 2017, "Reading Wikipedia to
    Answer Open-Domain Questions", section 3.2). The end is scored from the same reading as the start.
    """

    def __init__(self, config: ReaderConfig, mix: ScalarMix, width: int, labels: int) -> None:
        super().__init__()
        size = config.size
        self.words = Words(mix, width, config)
        self.dropout = nn.Dropout(config.dropout)
        self.read = Bilstm(self.words.width + MATCHES, size)
        self.similar = nn.Linear(6 * size, 1, bias=False)  # of passage, question, product; scores need no bias
        self.merge = nn.Linear(8 * size, 2 * size)
        self.model = Bilstm(2 * size, size)
        self.out = nn.Linear(4 * size, 2)

    def forward(self, rows: Tensor, batch: Batch) -> Tensor:
        """[N, layers, D] -> [N, 2], scores of start and end; minus infinity outside of the passage."""
        question, passage = Sentences.of(batch, 0), Sentences.of(batch, 1)
        mixed = self.words(rows, batch)  # [N, D]
        in_question, in_passage = matches(batch.ids, question, passage)  # [B, P, 3], [B, Q, 3]
        asked = self.read(torch.cat([question.take(mixed), in_question], dim=-1), question)  # [B, P, 2H]
        told = self.read(torch.cat([passage.take(mixed), in_passage], dim=-1), passage)  # [B, Q, 2H]
        asked, told = self.dropout(asked), self.dropout(told)
        merged = self.dropout(self.merge(self._attend(asked, question, told, passage)).relu())  # [B, Q, 2H]
        x = self.dropout(self.model(merged, passage))  # [B, Q, 2H]
        scored = self.out(torch.cat([merged, x], dim=-1))  # [B, Q, 2]
        inside = passage.real.clone()  # without the marks
        inside[:, 0] = False
        inside.scatter_(1, (passage.lengths[:, None] - 1).clamp(min=0), False)
        scores = scored.new_full((len(rows), 2), -torch.inf)
        scores[passage.places[inside]] = scored[inside]
        return scores

    def _attend(self, asked: Tensor, question: Sentences, told: Tensor, passage: Sentences) -> Tensor:
        """[B, P, 2H], [B, Q, 2H] -> the passage with what it has to do with the question, [B, Q, 8H]."""
        of_told, of_asked, of_both = self.similar.weight[0].chunk(3)  # [2H] each
        alike = (told @ of_told)[..., None] + (asked @ of_asked)[:, None] + (told * of_both) @ asked.transpose(1, 2)
        wanted = attend(alike, question, asked)  # [B, Q, 2H]
        best = alike.masked_fill(~question.real[:, None], NEVER).amax(-1)[:, None]  # [B, 1, Q]
        matters = attend(best, passage, told)  # [B, 1, 2H]
        return torch.cat([told, wanted, told * wanted, told * matters], dim=-1)


def matches(ids: Tensor, first: Sentences, second: Sentences) -> tuple[Tensor, Tensor]:
    """Whether each word of a sentence stands in the other one: exactly, in lower case, by its first letters.

    ids [N, C] -> [B, P, 3] and [B, Q, 3], 0 or 1. Marks stand in both and say nothing.
    """
    low = lower(ids)  # [N, C]
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for letters, width in ((ids, SAME), (low, SAME), (low, ALIKE)):
        names = numbered(letters[:, :width])  # [N]
        same = names[first.places][:, :, None] == names[second.places][:, None]  # [B, P, Q]
        same &= first.real[:, :, None] & second.real[:, None]
        for side, dim in zip(found, (2, 1), strict=True):
            side.append(same.any(dim).float())
    return torch.stack(found[0], dim=-1), torch.stack(found[1], dim=-1)


def lower(ids: Tensor) -> Tensor:
    """Rows of characters [N, C] with A to Z made small."""
    return ids + 32 * ((ids >= CAPITALS[0]) & (ids <= CAPITALS[1]))


def numbered(rows: Tensor) -> Tensor:
    """Rows of numbers [N, C] -> a number for each row [N], the same for equal rows."""
    total = torch.zeros_like(rows[:, 0])
    for column in rows.unbind(1):
        total = total * 1_000_003 + column  # wraps around; of some thousand words hardly two meet
    return total


KINDS = {"pooled": ("classifier", Pooled), "esim": ("classifier", Esim), "spans": ("span", Spans)}


def read_readers(raw: Any, report: LoadReport) -> dict[str, ReaderConfig]:
    """The readers that a config names, by head. Raises BadCheckpoint for a kind or a value that is not known here."""
    if not isinstance(raw, Mapping):
        raise BadCheckpoint(f"ELMo's config says readers = {raw!r}; it must be an object of readers by head.")
    found = {}
    for name, inside in raw.items():
        where = f"ELMo (readers.{name})"
        if not isinstance(inside, Mapping):
            raise BadCheckpoint(f"{where} is {inside!r}; it must be an object.")
        config = found[name] = ReaderConfig(**read_fields(ReaderConfig, inside, report, where))
        sizes = 1 <= config.size <= 4096 and 0 <= config.own <= 4096 and 0 <= config.buckets <= MOST_BUCKETS
        if config.kind not in KINDS or not sizes or not 0 <= config.dropout < 1 or (config.own and not config.buckets):
            raise BadCheckpoint(
                f"{where} is {dict(inside)}; its kind must be {' or '.join(KINDS)}, its size from 1 to 4096, its "
                f"dropout from 0 to less than 1, and own words are up to 4096 wide, with 1 to {MOST_BUCKETS:,} buckets."
            )
    return found


def reader(config: ReaderConfig, spec: HeadSpec, layers: int, width: int, norm: bool) -> nn.Module:
    """The network of a head, over `layers` of `width`. Raises BadCheckpoint where the two are of different kinds."""
    kind, made = KINDS[config.kind]
    if kind != spec.kind:
        raise BadCheckpoint(f"A reader of the kind {config.kind} is a {kind} head, not a {spec.kind} head.")
    return made(config, ScalarMix(layers, norm), width, len(spec.labels))
