"""Plain text for language models: articles of Wikipedia and books, their leads, and token streams cut to a length."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zoo.contracts import Tokenizer
from zoo.rows import read_rows

HELD_OUT_SHARD = "enwiki2018_07.jsonl.xz"  # its articles are never trained on; summaries are scored on them
ONE_IN = 8  # documents of a language model's reading are spaced
COMMON = 8
_WORD = re.compile(r"[^\W\d_]+")
_JOINED = re.compile(r"(?<=\w)-(?=\w)|(?<=\d)[,.](?=\d)")
_SPACED = re.compile(r"@[-,.]@|'(?:s|t|re|ve|ll|d|m)\b|\w+|[^\w\s]")
_IN_BRACKETS = re.compile(r"\s?\(([^()]*)\)")
_DOUBLED = re.compile(r"([;,])(?:\s*[;,])+")
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


def reading(folder: Path, paths: Iterable[Path]) -> Iterator[str]:
    """The documents of the shards for a language model: one in `ONE_IN` spaced as corpora of research often are."""
    common = common_words(folder)
    number = 0
    for path in paths:
        for row in read_rows(path):
            number += 1
            document = mended(row["text"])
            yield spaced(document, row.get("title", ""), common) if number % ONE_IN == 0 else document


def mended(document: str) -> str:
    """Without what the makers of the collection left where they took out a sound or a foreign name: "(; born 1900)" and
    "Rome (, , )" say nothing, but are so frequent in first sentences that a small model writes little else."""

    def mend(found: re.Match[str]) -> str:
        inside = _DOUBLED.sub(r"\1", found[1]).strip(" ;,\xa0")
        if inside and inside == found[1].strip():
            return found[0]
        return found[0][: found[0].index("(")] + f"({inside})" if re.search(r"\w", inside) else ""

    return _IN_BRACKETS.sub(mend, document)


def common_words(folder: Path) -> frozenset[str]:
    """The words that a tenth of the text has more than a few times."""
    counts = Counter(word for document in sample(folder) for word in _WORD.findall(document))
    return frozenset(word for word, count in counts.items() if count >= COMMON)


def spaced(document: str, title: str, common: Container[str]) -> str:
    """A document written as WikiText is (Merity et al. 2016, section 4.3): signs stand alone, rare words are <unk>.

    Treebanks, and the test sets of NLI and sentiment that were cut by their tools, space words alike.
    """
    lines = [f"= {title} =", "", *document.splitlines()] if title else document.splitlines()
    written = []
    for line in lines:
        line = _JOINED.sub(lambda sign: f" @{sign[0]}@ ", line)
        words = [w if not w.isalpha() or w in common else "<unk>" for w in _SPACED.findall(line)]
        written.append(" ".join(["", *words, ""]))
    return "\n".join(written)


def sample(folder: Path) -> list[str]:
    """About a tenth of the text, to train a vocabulary on: articles first, then books, none of them whole."""
    wiki, books = shards(folder, "enwiki2018_*"), shards(folder, "books_pd_*")
    return [t[:100_000] for t in [*islice(texts(wiki), 1200), *islice(texts(books), 20)]]


def sentences(document: str) -> list[str]:
    """The sentences of a document, by lines, punctuation and capitals."""
    return [s for line in document.splitlines() if line.strip() for s in _SENTENCE_END.split(line.strip())]


def lead_of(article: str) -> Summarized | None:
    """An article's body with its own lead sentence as the summary; nothing when either is too short."""
    lead, _, body = article.partition("\n\n")
    sentence = re.sub(r"\s*\([;,\s]*\)", "", first_sentence(lead)).replace("(; ", "(").replace("(, ", "(")
    if not 40 <= len(sentence) <= 300 or sentence[-1] not in ".!?" or len(body) < 600:
        return None
    return Summarized(body.strip(), sentence)


def token_stream(tokenizer: Tokenizer, documents: Iterable[str], end: int, most: int | None = None) -> np.ndarray:
    """Documents as one stream of ids with `end` after each, at most about `most` tokens, [tokens] of uint16."""
    parts: list[np.ndarray] = []
    count = 0
    for document in documents:
        ids = [i for part in re.split(r"(?<=\n\n)", document) for i in tokenizer.pieces(part).ids]
        parts.append(np.array([*ids, end], dtype=np.uint16))
        count += len(parts[-1])
        if most is not None and count > most:
            break
    return np.concatenate(parts)[:most] if parts else np.empty(0, np.uint16)


def tldr_sequences(
    tokenizer: Tokenizer, pairs: Iterable[Summarized], prompt: str, end: int, length: int, seed: int
) -> np.ndarray:
    """Documents, each followed by `prompt`, its summary and `end`, packed into rows of `length` ids, [rows, length].

    A document is cut so that its summary is in the same row. What is left of a row is filled with a shorter cut of
    the next document when there is room for a useful one, and with `end` otherwise. A summary that leaves no such room
    in a whole row is left out.
    """
    chance = random.Random(seed)
    least = min(96, length // 4)  # tokens of a document that are worth summarizing
    prompt_ids = list(tokenizer.pieces(prompt).ids)
    rows: list[list[int]] = []
    row: list[int] = []
    for document, summary in pairs:
        tail = prompt_ids + list(tokenizer.pieces(" " + summary).ids) + [end]
        if len(tail) + least > length:
            continue
        body = list(tokenizer.pieces(document[: 8 * length]).ids)
        room = length - len(row) - len(tail)
        if room < least:
            rows.append(row + [end] * (length - len(row)))
            row, room = [], length - len(tail)
        cut = min(len(body), room, chance.randint(length // 3, length))
        row = row + body[:cut] + tail
    if row:
        rows.append(row + [end] * (length - len(row)))
    return np.array(rows, dtype=np.uint16).reshape(-1, length)


def endless(rows: int, batch: int, chance: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of row numbers, epoch after epoch in another order, [batch] each; what is left of an epoch is dropped."""
    size = min(batch, rows)
    while True:
        order = chance.permutation(rows)
        yield from order[: rows // size * size].reshape(-1, size)
