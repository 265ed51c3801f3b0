"""Bits per byte: how short a language model would make a text, however the model cuts it into tokens.

All families are asked the same: the negative log2 probability of every token of every text, each text read from its
own beginning, divided by the bytes of the texts in UTF-8. What is charged and what is not is in docs/evaluation.md.
W tokens of a window, C of a chunk, T of a text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tasks.spelling import Speller
from zoo.contracts import Batch
from zoo.errors import BadData, Unsupported
from zoo.family import Model
from zoo.models.xlnet import Xlnet
from zoo.rows import read_rows
from zoo.tokenizers.chars import CharacterTokenizer
from zoo.training.heldout import articles

AT_ONCE = 4096  # tokens computed together
LANES = 16  # texts that a recurrent model reads side by side
CHUNK = 64  # words of each before the next ones are laid out

Progress = Callable[[int], object]


class Charged(NamedTuple):
    """What one text costs."""

    bits: float
    bytes: int


@dataclass(frozen=True)
class Reading:
    """A text as a model of language reads it: `inputs` has one token more than `targets`, the one that begins texts.

    `strange` are the words of the text that the vocabulary has not, with the place of each among the targets.
    """

    inputs: list[Any]
    targets: list[int]
    strange: list[str]


def texts_of(path: Path) -> list[str]:
    """The texts of a file: rows {text} of .jsonl, the articles of a WikiText file, or any other .txt as a whole."""
    if ".jsonl" in path.suffixes:
        texts = [row.get("text") for row in read_rows(path)]
        if not all(isinstance(text, str) for text in texts):
            raise BadData(f"{path.name} has rows without a text in 'text'.")
        return [str(text) for text in texts if text]
    return articles(path)


def charge(
    model: Model, texts: Sequence[str], head: str | None = None, progress: Progress = lambda n: None
) -> list[Charged]:
    """What each text costs. `progress` is told of tokens done. Raises Unsupported for a model of no language."""
    if model.family.name not in WAYS:
        raise Unsupported(f"{model.name} is a {model.family.title}, which gives no probability of a text.")
    way, chosen = WAYS[model.family.name], model.head("lm", head)
    readings = [way.reading(model, text) for text in texts]
    with torch.inference_mode():
        costs = way.bits(model, chosen, readings, progress)
    speller = Speller()
    spelled = [sum(map(speller.bits, reading.strange)) for reading in readings]  # in the order of the file
    return [
        Charged(cost + extra, len(text.encode("utf-8", "replace")))
        for cost, extra, text in zip(costs, spelled, texts, strict=True)
    ]


def ratio(charged: Sequence[Charged]) -> float:
    """Bits per byte of all texts together."""
    return sum(one.bits for one in charged) / sum(one.bytes for one in charged)


def _reading(model: Model, text: str, unknown: str | None, begins_with_end: bool) -> Reading:
    """Tokens of a text, after the token that begins one."""
    tokenizer = model.tokenizer
    pieces = tokenizer.pieces(text)
    prompt = tokenizer.prompt(pieces).ids
    begin = list(prompt[: len(prompt) - len(pieces)])
    if begins_with_end and tokenizer.end is not None:
        begin = [tokenizer.reread(tokenizer.end)]
    if not begin:
        raise Unsupported(f"{model.name} has no token that begins a text, so its first token has no probability.")
    words = [text[a:b] for a, b in pieces.offsets]
    if isinstance(tokenizer, CharacterTokenizer):
        strange = tokenizer.index[unknown or ""]
        targets = [tokenizer.index.get(word, strange) for word in words]
    else:
        strange = next((i for i in range(tokenizer.vocabulary) if tokenizer.token(i) == unknown), -1)
        targets = list(pieces.ids)
    outside = [word for word, target in zip(words, targets, strict=True) if target == strange]
    return Reading([*begin, *pieces.ids], targets, outside)


def _cost(model: Model, head: str, rows: Tensor, batch: Batch, targets: Tensor) -> Tensor:
    """Bits of the targets [R] after these rows [R, ...]."""
    part = [
        -model.network.heads[head](some, batch).float().log_softmax(-1).gather(1, wanted[:, None])[:, 0]
        for some, wanted in zip(rows.split(1024), targets.split(1024), strict=True)
    ]  # not all at once: a vocabulary of 30,000 words takes 120 kB a row
    return torch.cat(part) / math.log(2)


@dataclass(frozen=True)
class Window:
    """Part of a text: inputs [begin, end), of which those from `fresh` on are charged, after the others."""

    text: int
    begin: int
    fresh: int
    end: int

    @property
    def known(self) -> int:
        """Tokens that are there to be looked at only."""
        return self.fresh - self.begin

    @property
    def length(self) -> int:
        """W."""
        return self.end - self.begin


def windows_of(text: int, first: int, length: int, size: int) -> Iterator[Window]:
    """Windows that charge each token from `first` on once, all but the first after half a window of others.

    They lie the same however long the text is: what comes later changes no probability of what comes before.
    """
    for begin in range(0, max(1, length - size // 2), size // 2):
        yield Window(text, begin, begin + size // 2 if begin else first, min(begin + size, length))


Rows = Callable[[Model, Sequence[Window], Batch], Tensor]


def windowed(
    model: Model, head: str, readings: Sequence[Reading], progress: Progress, rows: Rows, first: int
) -> list[float]:
    """A transformer: windows of its longest text, each moved on by half.

    `rows` gives those that guess the charged tokens, [R, D]. `first` is 0 where a row guesses the token that comes
    next, and 1 where it guesses the one at its own place.
    """
    totals = [0.0] * len(readings)
    device = next(model.network.parameters()).device
    windows = [
        window
        for index, reading in enumerate(readings)
        if reading.targets
        for window in windows_of(index, first, len(reading.targets) + first, model.longest)
    ]
    windows.sort(key=lambda window: -window.length)  # equal lengths side by side
    many = max(1, AT_ONCE // model.longest)
    for at in range(0, len(windows), many):
        some = windows[at : at + many]
        ids = [readings[w.text].inputs[w.begin : w.end] for w in some]
        wanted = [token for w in some for token in readings[w.text].targets[w.fresh - first : w.end - first]]
        batch = Batch.continuing(ids, [0] * len(some), device)
        costs = _cost(model, head, rows(model, some, batch), batch, torch.tensor(wanted, device=device))
        for w, part in zip(some, costs.split([w.end - w.fresh for w in some]), strict=True):
            totals[w.text] += float(part.double().sum())
        progress(len(costs))
    return totals


def next_rows(model: Model, windows: Sequence[Window], batch: Batch) -> Tensor:
    """Of a model that reads to the right: the row of each token guesses the next."""
    parts = batch.split(model.network.body(batch).last)
    return torch.cat([part[w.known :] for w, part in zip(windows, parts, strict=True)])


def queried_rows(model: Model, windows: Sequence[Window], batch: Batch) -> Tensor:
    """Of XLNet: the new tokens are guessed from left to right in one pass, by rows that know their own place and the
    tokens before it, not the one that stands there. What was charged before sees all of itself, as where a published
    checkpoint continues a text, unless the checkpoint continues texts without a look ahead."""
    unseen, asked = [], []
    for w in windows:
        place = torch.arange(w.length, device=batch.ids.device)
        together = 0 if model.config.continue_type == "uni" else w.known
        unseen.append(place >= place[:, None].clamp(min=together))  # [W, W]
        asked.append(range(w.known, w.length))
    assert isinstance(model.network.body, Xlnet)
    return model.network.body.permuted(batch, unseen, asked).query


def carried(model: Model, head: str, readings: Sequence[Reading], progress: Progress) -> list[float]:
    """A recurrent model: the state goes on from the first token of a text to its last, some texts side by side."""
    assert model.family.new_state is not None
    like = next(model.network.parameters())
    order = sorted((i for i, r in enumerate(readings) if r.targets), key=lambda i: -len(readings[i].targets))
    totals = [0.0] * len(readings)
    for at in range(0, len(order), LANES):
        lanes = [readings[i] for i in order[at : at + LANES]]
        state = model.family.new_state(model.config, len(lanes), 0, like)
        for begin in range(0, len(lanes[0].targets), CHUNK):
            size = min(CHUNK, len(lanes[0].targets) - begin)
            left = [max(0, min(size, len(lane.targets) - begin)) for lane in lanes]
            ids = [  # a lane whose text is over reads its last token again, which is not charged
                lane.inputs[begin : begin + real] + [lane.inputs[-1]] * (size - real)
                for lane, real in zip(lanes, left, strict=True)
            ]
            batch = Batch.continuing(ids, state.lengths, like.device)
            hidden = model.network.body(batch, state)
            state = hidden.state
            kept = torch.cat([part[:real] for part, real in zip(batch.split(hidden.last), left, strict=True)])
            wanted = [t for lane, real in zip(lanes, left, strict=True) for t in lane.targets[begin : begin + real]]
            costs = _cost(model, head, kept, batch, torch.tensor(wanted, device=like.device))
            for i, part in zip(order[at : at + LANES], costs.split(left), strict=True):
                totals[i] += float(part.double().sum())
            progress(len(costs))
    return totals


@dataclass(frozen=True)
class Way:
    """How a family is asked."""

    bits: Callable[[Model, str, Sequence[Reading], Progress], list[float]]  # of each text
    unknown: str | None  # the vocabulary's token for what it has not; None where every byte has a token
    begins_with_end: bool  # whether training texts followed the token that ends the one before

    def reading(self, model: Model, text: str) -> Reading:
        """Tokens of a text, after the one that begins it. Raises Unsupported for a model that has none such."""
        return _reading(model, text, self.unknown, self.begins_with_end)


WAYS: dict[str, Way] = {
    "gpt": Way(partial(windowed, rows=next_rows, first=0), "<unk>", begins_with_end=True),
    "gpt2": Way(partial(windowed, rows=next_rows, first=0), None, begins_with_end=True),
    "xlnet": Way(partial(windowed, rows=queried_rows, first=1), "<unk>", begins_with_end=True),
    "ulmfit": Way(carried, "xxunk", begins_with_end=False),
    "elmo": Way(carried, "<UNK>", begins_with_end=False),
}
