"""Reading a text in parts over a state of keys and values, for the families that have one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.contracts import Batch, Encoding
from zoo.family import Model
from zoo.layers.attention import KeyValues

LONGEST = 47
PROMPTS = (5, 1, 9, 5)
CHUNKS = {
    "prompt only": [],
    "token by token": [(1, 1, 1, 1)] * 6,
    "equal chunks": [(4, 4, 4, 4), (2, 2, 2, 2)],
    "chunks of all sizes": [(2, 4, 1, 3), (1, 1, 2, 2), (3, 6, 3, 1)],
    "tokens and chunks": [(1, 1, 1, 1), (5, 1, 5, 5), (1, 1, 1, 1), (3, 3, 2, 2)],
    "to the last position": [(41, 1, 1, 2), (1, 45, 37, 40)],  # the 47th
}


def fresh_state(model: Model, texts: int, capacity: int = LONGEST) -> KeyValues:
    """An empty state whose room holds NaN, so that reading what was not written shows."""
    assert model.family.new_state is not None
    state = model.family.new_state(model.config, texts, capacity, next(model.network.parameters()))
    assert isinstance(state, KeyValues)
    for buffer in state.buffers:
        buffer.fill_(float("nan"))
    return state


def feed(model: Model, state: KeyValues, ids: Sequence[Sequence[int]]) -> tuple[list[Tensor], KeyValues]:
    """Read `ids` on top of `state`: the logits of each text [T, V], and the grown state."""
    batch = Batch.continuing(ids, state.lengths)
    hidden = model.network.body(batch, state)
    assert isinstance(hidden.state, KeyValues)
    return list(batch.split(model.network.heads["lm"](hidden.last, batch))), hidden.state


def full(model: Model, texts: Sequence[Encoding]) -> list[Tensor]:
    """The logits of whole texts, read at once."""
    batch = Batch.of(texts)
    return list(batch.split(model.network(batch, "lm")))


def go_through(model: Model, texts: Sequence[Encoding], chunks: Sequence[Sequence[int]]) -> list[Tensor]:
    """Read texts in chunks over a state; the logits of each text, all chunks together."""
    state, at = fresh_state(model, len(texts)), [0] * len(texts)
    parts: list[list[Tensor]] = [[] for _ in texts]
    for sizes in chunks:
        part = [text.ids[begin : begin + size] for text, begin, size in zip(texts, at, sizes, strict=True)]
        logits, state = feed(model, state, part)
        at = [begin + size for begin, size in zip(at, sizes, strict=True)]
        assert state.lengths == tuple(at)
        for done, new in zip(parts, logits, strict=True):
            done.append(new)
    return [torch.cat(done) for done in parts]
