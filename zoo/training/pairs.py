"""Pairs of passages, of which the second follows the first in its document or comes from another one (Devlin et al.
2019, section 3.1; original code create_pretraining_data.py, create_instances_from_document).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.contracts import Tokenizer
from zoo.engine.windows import cut_longest_first
from zoo.training import text

SHORTER = 0.1  # of the documents are cut into shorter pairs, since the model will read such texts, too
NOT_NEXT = 0.5  # of the pairs


@dataclass(frozen=True)
class Document:
    """Tokens of a document, and where each of its sentences ends."""

    ids: np.ndarray  # [tokens] of uint16
    ends: np.ndarray  # [sentences]

    def start(self, sentence: int) -> int:
        """Its first token."""
        return int(self.ends[sentence - 1]) if sentence else 0


@dataclass(frozen=True)
class Pairs:
    """Pairs with their special tokens, one after the other."""

    ids: np.ndarray  # [all tokens] of uint16
    lengths: np.ndarray  # [pairs]
    firsts: np.ndarray  # [pairs]: tokens of the first segment
    strange: np.ndarray  # [pairs]: whether the second passage is of another document
    starts: np.ndarray  # [pairs]

    def __len__(self) -> int:
        return len(self.lengths)

    def ids_of(self, index: int) -> np.ndarray:
        """The tokens of a pair."""
        return self.ids[self.starts[index] : self.starts[index] + self.lengths[index]]

    def save(self, path: Path) -> None:
        """Write them to a file."""
        with path.open("wb") as file:
            np.savez(file, ids=self.ids, lengths=self.lengths, firsts=self.firsts, strange=self.strange)

    @staticmethod
    def load(path: Path) -> Pairs:
        """Read them again."""
        with np.load(path) as kept:
            lengths = kept["lengths"]
            return Pairs(kept["ids"], lengths, kept["firsts"], kept["strange"], np.cumsum(lengths) - lengths)


def documents_of(tokenizer: Tokenizer, texts: Iterable[str], most: int) -> list[Document]:
    """Documents cut into sentences and tokens, `most` tokens in all or few more; those without a word are left out."""
    documents: list[Document] = []
    count = 0
    for whole in texts:
        cut = [tokenizer.pieces(sentence).ids for sentence in text.sentences(whole)]
        cut = [ids for ids in cut if ids]
        if not cut:
            continue
        ids = np.array([i for sentence in cut for i in sentence], dtype=np.uint16)
        documents.append(Document(ids, np.cumsum([len(sentence) for sentence in cut])))
        count += len(ids)
        if count > most:
            break
    return documents


def pairs_of(documents: Sequence[Document], tokenizer: Tokenizer, length: int, seed: int) -> Pairs:
    """All pairs of the documents, in random order, of at most `length` tokens with the special ones."""
    chance = random.Random(seed)
    empty = tokenizer.assemble(tokenizer.pieces(""), tokenizer.pieces(""))
    start, middle, end = empty.ids
    made: list[tuple[np.ndarray, int, bool]] = []
    for number in range(len(documents)):
        for first, second, strange in _of_document(documents, number, length - len(empty), chance):
            ids = np.concatenate([[start], first, [middle], second, [end]]).astype(np.uint16)
            made.append((ids, len(first) + 2, strange))
    chance.shuffle(made)
    lengths = np.array([len(ids) for ids, _, _ in made])
    return Pairs(
        np.concatenate([ids for ids, _, _ in made]),
        lengths,
        np.array([first for _, first, _ in made]),
        np.array([strange for _, _, strange in made]),
        np.cumsum(lengths) - lengths,
    )


def _of_document(
    documents: Sequence[Document], number: int, room: int, chance: random.Random
) -> Iterable[tuple[np.ndarray, np.ndarray, bool]]:
    """Passages of whole sentences that fill the room together, then cut to it. Where the second is of another document,
    the sentences that it displaced begin the next pair."""
    document = documents[number]
    wanted = chance.randint(2, room) if chance.random() < SHORTER else room
    begin = 0
    while begin < len(document.ends):
        end = begin + 1
        while end < len(document.ends) and document.start(end) - document.start(begin) < wanted:
            end += 1
        middle = begin + 1 if end - begin == 1 else chance.randint(begin + 1, end - 1)
        first = document.ids[document.start(begin) : document.start(middle)]
        strange = end - begin == 1 or chance.random() < NOT_NEXT
        if strange:
            other = documents[(number + chance.randint(1, len(documents) - 1)) % len(documents)]
            start = stop = chance.randrange(len(other.ends))
            while stop < len(other.ends) and other.start(stop) - other.start(start) < max(1, wanted - len(first)):
                stop += 1
            second, begin = other.ids[other.start(start) : other.start(stop)], middle
        else:
            second, begin = document.ids[document.start(middle) : document.start(end)], end
        yield *_cut(first, second, room, chance), strange


def _cut(first: np.ndarray, second: np.ndarray, room: int, chance: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Both without the tokens for which there is no room, taken from the longer one, at either end by chance."""
    kept = []
    for whole, left in zip((first, second), cut_longest_first(len(first), len(second), room), strict=True):
        front = sum(chance.random() < 0.5 for _ in range(len(whole) - left))
        kept.append(whole[front : front + left])
    return kept[0], kept[1]
