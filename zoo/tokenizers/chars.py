"""Words -> rows of character ids, as ELMo reads them (original: bilm-tf bilm/data.py, AllenNLP elmo_indexer.py).

A row has a fixed number of places, 50 in all published files: "begin of word", the bytes of the word in UTF-8, "end of
word", and "padding" to the end. What does not fit is cut off, in the middle of a character if need be. All ids are one
higher than in the training files, because 0 stands for "no word here".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from zoo.contracts import Encoding, Pieces
from zoo.tokenizers.template import Template
from zoo.tokenizers.words import split, splitter

Row = tuple[int, ...]

IDS = 262
BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = 257, 258, 259, 260, 261
BEGIN, END, UNKNOWN = "<S>", "</S>", "<UNK>"
FORMAT = "zoo words"  # of tokenizer.json
REMEMBERED = 32_768  # rows of words that a tokenizer keeps: equal words of a training set share one of 450 bytes


@dataclass(frozen=True)
class CharacterRows:
    """A word as ELMo's row of `width` ids. The words <S> and </S> are the marks of a sentence, as in the original."""

    width: int

    def __call__(self, word: str) -> Row:
        """The row of one word."""
        marks = {BEGIN: [BEGIN_SENTENCE], END: [END_SENTENCE]}
        inside = marks.get(word) or [byte + 1 for byte in word.encode("utf-8", "ignore")[: self.width - 2]]
        row = [BEGIN_WORD, *inside, END_WORD]
        return (*row, *[PADDING] * (self.width - len(row)))


@dataclass(frozen=True)
class WordRows:
    """A word as BiDAF reads it: ELMo's row, the id of the word in lower case, and once more its bytes, uncut.

    Rows are as long as their words; a batch fills them up with zeros.
    """

    characters: CharacterRows
    words: tuple[str, ...]  # by id: padding, unknown, ...
    unknown: int
    begin: tuple[int, ...]  # ids put before the bytes
    end: tuple[int, ...]
    index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Turn the list of words round."""
        object.__setattr__(self, "index", {word: index for index, word in enumerate(self.words)})

    def __call__(self, word: str) -> Row:
        """The row of one word."""
        letters = [byte + 1 for byte in word.encode("utf-8", "ignore")]
        number = self.index.get(word.lower(), self.unknown)
        return (*self.characters(word), number, *self.begin, *letters, *self.end)


class CharacterTokenizer:
    """Words of a text as rows, each sentence between <S> and </S>; a pair is two sentences, segments 0 and 1.

    `words` are the words that a language model's scores stand for, or that rows refer to; `inside` are words put
    after the first and before the last mark of each sentence. Thread-safe: nothing but a cache changes.
    """

    def __init__(
        self,
        row: Callable[[str], Row],
        words: Collection[str] = (),
        inside: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
        generates: bool = False,
    ) -> None:
        self._row = row = lru_cache(REMEMBERED)(row)
        self._words = tuple(words)
        before, after = inside

        def sentence(text: str, segment: int) -> str:
            return " ".join(f"{word}:{segment}" for word in (BEGIN, *before, text, *after, END))

        self._single = Template.parse(sentence("A", 0), row)
        self._pair = Template.parse(sentence("A", 0) + " " + sentence("B", 1), row)
        self._prompt = Template.parse(f"{BEGIN}:0 A:0", row)
        self.vocabulary = len(self._words) or IDS
        self.index = {word: index for index, word in enumerate(self._words)}
        self.end = self.index[END] if generates else None
        self.unsaid = tuple(self.index[mark] for mark in (BEGIN, UNKNOWN)) if generates else ()

    def splitter(self) -> str:
        """By which rules words are cut here."""
        return splitter()

    def pieces(self, text: str) -> Pieces:
        """Cut `text` into words, one row each."""
        spans = split(text)
        return Pieces(tuple(self._row(text[begin:end]) for begin, end in spans), tuple(spans))

    def assemble(self, first: Pieces, second: Pieces | None = None) -> Encoding:
        """Put one text or a pair between its marks."""
        return (self._single if second is None else self._pair).assemble(first, second)

    def question(self, question: Pieces, passage: Pieces) -> Encoding:
        """Put a question and a passage between their marks."""
        return self._pair.assemble(question, passage)

    def prompt(self, text: Pieces) -> Encoding:
        """A text that is to be continued."""
        return self._prompt.assemble(text, None)

    def reread(self, index: int) -> Row:
        """A generated word as input: its row."""
        return self._row(self._words[index])

    def extras(self, pair: bool) -> int:
        """How many rows the template adds."""
        return (self._pair if pair else self._single).extras

    def decode(self, ids: Sequence[int]) -> str:
        """The words of the ids with spaces between them, marks of sentences left out."""
        return " ".join(self._words[i] for i in ids if self._words[i] not in (BEGIN, END))

    def token(self, index: int) -> str:
        """The word with this id."""
        return self._words[index] if 0 <= index < len(self._words) else ""

    def save(self, folder: Path) -> None:
        """Write tokenizer.json: the words; all else is the family's."""
        described = {"format": FORMAT, "words": list(self._words)}
        (folder / "tokenizer.json").write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")
