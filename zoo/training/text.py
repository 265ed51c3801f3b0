"""Plain text for language models: articles of Wikipedia and books, their leads, and token streams cut to a length."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.contracts import Tokenizer
from zoo.rows import read_rows

HELD_OUT_SHARD = "enwiki2018_07.jsonl.xz"  # its articles are never trained on; summaries are scored on them
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)\"'’”][.!?])\s+(?=[\"“A-Z0-9(])")


class Summarized(NamedTuple):
    """A document and its summary."""

    document: str
    summary: str


def first_sentence(text: str) -> str:
    """The first sentence, by punctuation and capitals; abbreviations of one capital letter do not end it."""
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0].strip()


def shards(folder: Path, pattern: str) -> list[Path]:
    """Shards of a text collection, held-out one left out."""
    return [path for path in sorted((folder / "lm").glob(pattern)) if path.name != HELD_OUT_SHARD]


def texts(paths: Iterable[Path]) -> Iterator[str]:
    """The documents of the shards."""
    for path in paths:
        for row in read_rows(path):
            yield row["text"]


def lead_of(article: str) -> Summarized | None:
    """An article's body with its own lead sentence as the summary; nothing when either is too short."""
    lead, _, body = article.partition("\n\n")
    sentence = re.sub(r"\s*\([;,\s]*\)", "", first_sentence(lead)).replace("(; ", "(").replace("(, ", "(")
    if not 40 <= len(sentence) <= 300 or sentence[-1] not in ".!?" or len(body) < 600:
        return None
    return Summarized(body.strip(), sentence)


def token_stream(tokenizer: Tokenizer, documents: Iterable[str], end: int, most: int) -> np.ndarray:
    """Documents as one stream of ids with `end` after each, at most about `most` tokens, [tokens] of uint16."""
    ids: list[int] = []
    for document in documents:
        for part in re.split(r"(?<=\n\n)", document):
            ids.extend(tokenizer.pieces(part).ids)
        ids.append(end)
        if len(ids) > most:
            break
    return np.array(ids[:most], dtype=np.uint16)


def tldr_sequences(
    tokenizer: Tokenizer, pairs: Iterable[Summarized], prompt: str, end: int, length: int, seed: int
) -> np.ndarray:
    """Documents, each followed by `prompt`, its summary and `end`, packed into rows of `length` ids, [rows, length].

    A document is cut so that its summary is in the same row. What is left of a row is filled with a shorter cut of
    the next document when there is room for a useful one, and with `end` otherwise.
    """
    chance = random.Random(seed)
    prompt_ids = list(tokenizer.pieces(prompt).ids)
    rows: list[list[int]] = []
    row: list[int] = []
    for document, summary in pairs:
        tail = prompt_ids + list(tokenizer.pieces(" " + summary).ids) + [end]
        body = list(tokenizer.pieces(document[: 8 * length]).ids)
        room = length - len(row) - len(tail)
        if room < 96:
            rows.append(row + [end] * (length - len(row)))
            row, room = [], length - len(tail)
        cut = min(len(body), room, chance.randint(length // 3, length))
        row = row + body[:cut] + tail
        if len(row) > length:
            row = row[:length]
    rows.append(row + [end] * (length - len(row)))
    return np.array(rows, dtype=np.uint16)
