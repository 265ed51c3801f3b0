"""Texts -> encodings of a size that a model can read, and word of what was left out."""

from __future__ import annotations

from zoo.contracts import Encoding, Pieces
from zoo.engine.answers import Read
from zoo.engine.windows import cut_longest_first, last_character, windows
from zoo.errors import BadParameter, InputTooLong
from zoo.family import Model

WINDOW = 384  # tokens of a window over a long passage, and how many neighbours share: as in the original SQuAD code
STRIDE = 128


def read_of(kept: Pieces, whole: Pieces, text: str) -> Read:
    """What is said of a text of which `kept` was read."""
    return Read(len(kept), len(whole), len(text) if len(kept) == len(whole) else last_character(kept))


def fit(model: Model, first: str, second: str | None) -> tuple[Encoding, tuple[Read, ...]]:
    """Encode one text or pair, cut to what the model reads."""
    kept, read = cut(model, first, second)
    return model.tokenizer.assemble(*kept), read


def cut(model: Model, first: str, second: str | None) -> tuple[list[Pieces], tuple[Read, ...]]:
    """The pieces of one text or pair that the model reads."""
    texts = [first] if second is None else [first, second]
    pieces = [model.tokenizer.pieces(text) for text in texts]
    room = model.longest - model.tokenizer.extras(second is not None)
    lengths = cut_longest_first(len(pieces[0]), len(pieces[1]) if second is not None else 0, room)
    kept = [whole[:length] for whole, length in zip(pieces, lengths[: len(texts)], strict=True)]
    return kept, tuple(read_of(part, whole, text) for part, whole, text in zip(kept, pieces, texts, strict=True))


def prompt(model: Model, document: str, suffix: str, most: int) -> tuple[Pieces, Pieces, Read]:
    """What of a document fits before the suffix and `most` new tokens, the suffix, and how much was read.

    Raises BadParameter or InputTooLong where there is no room.
    """
    if not 1 <= most <= model.longest // 2:
        raise BadParameter(f"{most} new tokens were asked for; {model.name} gives 1 to {model.longest // 2}.")
    pieces, tail = model.tokenizer.pieces(document), model.tokenizer.pieces(suffix)
    room = model.longest - most - len(tail) - len(model.tokenizer.prompt(Pieces((), ())))
    if room < 1:
        raise InputTooLong(f"The prompt has {len(tail)} tokens; with {most} new ones it does not fit {model.name}.")
    kept = pieces[:room]
    return kept, tail, read_of(kept, pieces, document)


def windows_over(
    model: Model, question: str, passage: Pieces, stride: int | None, size: int
) -> tuple[list[Encoding], Read]:
    """A question, cut to half a window at most, with each window of a passage; and how much of it was read."""
    pieces = model.tokenizer.pieces(question)
    asked = pieces[: size // 2]
    room = size - len(asked) - model.tokenizer.extras(True)
    shared = min(STRIDE, room // 2) if stride is None else stride
    if shared >= room:
        raise BadParameter(
            f"stride is {stride}; a window holds {room} tokens beside this question, so it must be less."
        )
    parts = [passage[begin:end] for begin, end in windows(len(passage), room, shared)]
    return [model.tokenizer.question(asked, part) for part in parts], read_of(asked, pieces, question)
