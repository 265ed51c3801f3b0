"""One text through several tokenizers: its pieces with their ids and places, how many, what none of them knows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.checks import text_of
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.engine import Engine
    from zoo.family import Model

MOST_SHOWN = 400  # pieces of a text
UNKNOWN = ("[UNK]", "<unk>", "xxunk", "<UNK>")  # as vocabularies spell it


@dataclass(frozen=True)
class Token:
    """A piece of the text: text[start:end], its id, and how the vocabulary spells it. ELMo reads letters: no id."""

    start: int
    end: int
    spelling: str
    id: int | None
    unknown: bool


@dataclass(frozen=True)
class Cut:
    """What a tokenizer makes of a text. `tokens` are the first MOST_SHOWN of `count`; `error` is why there are none."""

    model: str
    family: str
    vocabulary: int = 0
    tokens: tuple[Token, ...] = ()
    count: int = 0
    unknown: int = 0
    seconds: float = 0.0
    error: str = ""


def cut(engine: Engine, models: Sequence[str], text: str) -> list[Cut]:
    """The text through the tokenizer of each model; a model that cannot be had gets its error and ends nothing.

    Raises InputEmpty, InputTooLong.
    """
    checked = text_of(text, "text")
    return [_cut(engine, model, checked) for model in models]


def _cut(engine: Engine, name: str, text: str) -> Cut:
    try:
        model = engine.model(name)
    except ZooError as mistake:
        return Cut(name, "", error=mistake.message)
    started = time.perf_counter()
    pieces = model.tokenizer.pieces(text)
    seconds = time.perf_counter() - started
    tokens = [
        _token(model, one, start, end, text) for one, (start, end) in zip(pieces.ids, pieces.offsets, strict=True)
    ]
    return Cut(
        name,
        model.family.title,
        model.tokenizer.vocabulary,
        tuple(tokens[:MOST_SHOWN]),
        len(tokens),
        sum(token.unknown for token in tokens),
        seconds,
    )


def _token(model: Model, one: object, start: int, end: int, text: str) -> Token:
    if not isinstance(one, int):  # a row of letters: every word is known
        return Token(start, end, text[start:end], None, False)
    spelling = model.tokenizer.token(one)
    return Token(start, end, spelling, one, spelling in UNKNOWN)
