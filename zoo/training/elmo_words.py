"""Text for ELMo's language model: words with the marks of sentences, as numbers of distinct words in a table.

A training text is what the model meets later: a sentence, a paragraph or a long piece of a document, each between <S>
and </S>. S distinct words, C places of a word's row of characters.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from zoo.rows import read_rows
from zoo.tokenizers import words
from zoo.tokenizers.chars import BEGIN, END, UNKNOWN, CharacterRows
from zoo.training import text
from zoo.training.loop import replacing
from zoo.training.text import Summarized

PROMPT = "\nTL;DR:"
MARKS = (BEGIN, END, UNKNOWN)  # the first words of the table, as in the vocabulary files of bilm-tf
PAGE = 4000  # characters that are read in one of WAYS
Rules = Callable[[str], words.Spans]
RULES: tuple[Rules, ...] = (words.split, words.by_expression)  # a reader without spaCy must not meet a stranger
HELD = 20_000  # words kept apart to watch a run by


def _whole(page: str) -> list[str]:
    return [page]


def _paragraphs(page: str) -> list[str]:
    return page.split("\n\n")


WAYS = (_whole, _paragraphs, _paragraphs, text.sentences)  # drawn for each page


@dataclass(frozen=True)
class Amounts:
    """Words to read: of Wikipedia, of books, and of documents with summaries."""

    wiki: int
    books: int
    summaries: int


@dataclass(frozen=True)
class Corpus:
    """Streams of numbers of words. `plain` is read first, then `mixed`, half of which ends in summaries."""

    table: np.ndarray  # [S, C] of uint16: the characters of each distinct word, the most frequent ones first
    counts: np.ndarray  # [S], how often each occurs
    words: tuple[str, ...]  # the vocabulary: the first words of the table
    plain: np.ndarray  # [words] of uint32
    mixed: np.ndarray
    held: np.ndarray


def read(data: Path, out: Path, amounts: Amounts, vocabulary: int, characters: int, seed: int) -> Corpus:
    """The corpus, cut into words the first time and kept in `out`."""
    folder = out / "corpus"
    if not (folder / "words.json").is_file():  # which is written last
        _write(data, folder, amounts, seed)
    every = listed(out)
    row = CharacterRows(characters)
    table = np.array([row(word) for word in every], dtype=np.uint16)
    arrays = {name: np.load(folder / f"{name}.npy") for name in ("counts", "plain", "mixed", "held")}
    return Corpus(table=table, words=tuple(every[:vocabulary]), **arrays)


def listed(out: Path) -> list[str]:
    """All words of the corpus in `out`, by number."""
    found: list[str] = json.loads((out / "corpus" / "words.json").read_text(encoding="utf-8"))
    return found


def _write(data: Path, folder: Path, amounts: Amounts, seed: int) -> None:
    """Cut all text into words, number them by how frequent they are, and write the streams."""
    chance = random.Random(seed)
    index: dict[str, int] = {mark: number for number, mark in enumerate(MARKS)}
    wiki = _numbered(_units(text.reading(data, text.shards(data, "enwiki2018_*")), chance), index, amounts.wiki)
    books = _numbered(_units(text.texts(text.shards(data, "books_pd_*")), chance), index, amounts.books)
    short = list(_summarized(data, chance, amounts.summaries))
    tldr = _numbered(short, index, amounts.summaries)
    held, wiki = _parted(wiki, min(HELD, amounts.wiki // 20))
    units = [*wiki, *books]
    chance.shuffle(units)
    rest, plain = _parted(units, sum(map(len, tldr)))
    mixed = [*rest, *tldr]
    chance.shuffle(mixed)
    streams = {name: np.concatenate(units) for name, units in (("plain", plain), ("mixed", mixed), ("held", held))}
    counts = np.bincount(np.concatenate([*streams.values()]), minlength=len(index))  # [S]
    marks = np.arange(len(MARKS))
    order = np.concatenate([marks, len(MARKS) + np.argsort(-counts[len(MARKS) :], kind="stable")])
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    folder.mkdir(parents=True, exist_ok=True)
    for name, stream in streams.items():
        np.save(folder / f"{name}.npy", place[stream].astype(np.uint32))
    np.save(folder / "counts.npy", counts[order])
    found = list(index)
    with replacing(folder / "words.json") as fresh:
        fresh.write_text(json.dumps([found[i] for i in order], ensure_ascii=False), encoding="utf-8")


def _parted(units: list[np.ndarray], count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The first units that have so many words together, and the rest."""
    ends = np.cumsum([len(unit) for unit in units])
    at = int(np.searchsorted(ends, count)) + 1
    return units[:at], units[at:]


def _numbered(units: Iterable[list[str]], index: dict[str, int], most: int) -> list[np.ndarray]:
    """Words between their marks as numbers, new ones added to `index`, until there are `most`."""
    found, count = [], 0
    for unit in units:
        numbers = [index.setdefault(word, len(index)) for word in unit]
        found.append(np.array([0, *numbers, 1], dtype=np.uint32))
        count += len(found[-1])
        if count >= most:
            break
    return found


def cut(part: str, rules: Rules) -> list[str]:
    """The words of a text."""
    return [part[begin:end] for begin, end in rules(part)]


def _units(documents: Iterable[str], chance: random.Random) -> Iterator[list[str]]:
    """The words of each training text of the documents."""
    for document in documents:
        for page in _pages(document):
            parts, rules = chance.choice(WAYS)(page), chance.choice(RULES)
            yield from (found for part in parts if (found := cut(part, rules)))


def _pages(document: str) -> Iterator[str]:
    """Neighbouring paragraphs of about PAGE characters."""
    page: list[str] = []
    for paragraph in document.split("\n\n"):
        page.append(paragraph)
        if sum(map(len, page)) > PAGE:
            yield "\n\n".join(page)
            page = []
    if page:
        yield "\n\n".join(page)


def _summarized(data: Path, chance: random.Random, most: int) -> Iterator[list[str]]:
    """Documents, each cut somewhere, with the prompt and the summary: papers, then articles with their lead."""
    papers = read_rows(data / "summarization" / "scitldr_a_train.jsonl.gz")
    articles = map(text.mended, text.texts(text.shards(data, "enwiki2018_*")))
    pairs = [
        *(Summarized(" ".join(row["source"]), target) for row in papers for target in row["target"][:2]),
        *(pair for article in articles if (pair := text.lead_of(article))),
    ]
    chance.shuffle(pairs)
    for document, summary in islice(pairs, most // 50):
        room = chance.randint(60, 300)
        rules = chance.choice(RULES)
        yield cut(document[: 8 * room], rules)[:room] + cut(PROMPT, rules) + cut(summary, rules)
