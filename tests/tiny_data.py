"""A data folder shaped like the one that the recipes read, with a handful of made-up documents and rows.

Every file has the name and the form of the real one. What is to be learnt can be learnt: articles repeat a few turns
of phrase, a label follows from one or two words, an answer from its question.
"""

from __future__ import annotations

import gzip
import json
import lzma
import random
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Karla", "Louis")
PLACES = ("Paris", "Rome", "Vienna", "Oslo", "Madrid", "Lisbon", "Prague", "Dublin", "Athens", "Warsaw")
TRADES = ("painter", "writer", "farmer", "doctor", "teacher", "sailor", "baker", "singer", "builder", "lawyer")
THINGS = ("house", "garden", "river", "bridge", "market", "school", "church", "castle", "forest", "harbour")
LOOKS = ("old", "small", "large", "quiet", "famous", "narrow", "green", "stone", "wooden", "beautiful")
OF_TOPIC = {
    "World": ("president", "war", "minister", "election", "treaty", "border"),
    "Sports": ("goal", "match", "coach", "season", "team", "cup"),
    "Business": ("shares", "profit", "bank", "market", "oil", "company"),
    "Sci/Tech": ("software", "computer", "internet", "space", "robot", "telescope"),
}
OF_SENTIMENT = {
    "positive": ("wonderful", "charming", "brilliant", "moving", "delightful", "funny"),
    "negative": ("dull", "awful", "boring", "clumsy", "tedious", "pointless"),
}
TITLES = ("Oxygen", "Steam_engine", "Normans", "Packet_switching")  # two of each half of SQuAD's dev articles


def write(folder: Path, seed: int = 0) -> Path:
    """Write all files below `folder`, the same for the same seed; returns the folder."""
    chance = random.Random(seed)
    for shard in ("00", "01", "07"):
        _jsonl(folder / f"lm/enwiki2018_{shard}.jsonl.xz", [article(chance) for _ in range(12)])
    for shard in ("00", "01"):
        _jsonl(folder / f"lm/books_pd_{shard}.jsonl.xz", [book(chance) for _ in range(2)])
    for part in ("valid", "test"):
        _pack(folder / f"lm/wikitext2_{part}.txt.gz", "".join(wikitext(chance) for _ in range(3)))
    for name, rows in (
        ("snli_subset_train_18k", 90),
        ("snli_subset_extra_2k", 12),
        ("snli_dev", 24),
        ("snli_test", 24),
    ):
        _jsonl(folder / f"nli/{name}.jsonl.gz", [inference(chance) for _ in range(rows)])
    _jsonl(
        folder / "nli/snli_cad.jsonl.gz",
        [inference(chance) | {"split": split, "kind": "original"} for split in ("train", "train", "dev", "test") * 6],
    )
    _jsonl(folder / "nli/conjnli_adversarial_train_15k.jsonl.gz", [inference(chance) for _ in range(18)])
    for name, rows in (("sst2_train", 80), ("rotten_tomatoes", 20), ("sst2_dev", 24)):
        _jsonl(folder / f"classification/{name}.jsonl.gz", [review(chance) for _ in range(rows)])
    _jsonl(folder / "classification/ag_news_train_pool.jsonl.gz", [news(chance) for _ in range(80)])
    _jsonl(
        folder / "classification/ag_news_test.jsonl.gz",
        [news(chance) | {"title": chance.choice(NAMES)} for _ in range(24)],
    )
    for form, rows in (("train_25k", 16), ("test_5k", 8)):
        _jsonl(folder / f"classification/imdb_{form}.jsonl.xz", [review(chance, 6) for _ in range(rows)])
    _jsonl(folder / "classification/imdb_unsup_20k.jsonl.xz", [{"text": review(chance, 6)["text"]} for _ in range(16)])
    _movie_reviews(folder / "classification/nltk_movie_reviews.zip", chance)
    _pack(folder / "qa/squad_v1.1_train.json.xz", json.dumps(squad(chance, 6, refused=0)))
    _pack(folder / "qa/squad_v1.1_dev.json.gz", json.dumps(squad(chance, 2, refused=0)))
    _pack(folder / "qa/squad_v2.0_dev.json.gz", json.dumps(squad(chance, 2, refused=1)))
    for part, rows in (("train", 8), ("dev", 4), ("test", 4)):
        _jsonl(folder / f"summarization/scitldr_a_{part}.jsonl.gz", [paper(chance, n) for n in range(rows)])
    return folder


def sentence(chance: random.Random) -> str:
    """A plain sentence."""
    name, place, thing, look = (chance.choice(words) for words in (NAMES, PLACES, THINGS, LOOKS))
    return chance.choice(
        (
            f"{name} lives in {place} beside the {look} {thing}.",
            f"The {look} {thing} of {place} is known to {name}.",
            f"In {place} there is a {look} {thing} and a {chance.choice(LOOKS)} {chance.choice(THINGS)}.",
            f"{name} went from {place} to {chance.choice(PLACES)} to see the {thing}.",
        )
    )


def article(chance: random.Random) -> dict[str, str]:
    """An encyclopedia's article: a lead sentence, an empty line, and a body."""
    name = chance.choice(NAMES)
    lead = f"{name} was a {chance.choice(LOOKS)} {chance.choice(TRADES)} from {chance.choice(PLACES)}, near the border."
    body = " ".join(sentence(chance) for _ in range(16))
    return {"id": str(chance.randrange(10**6)), "title": name, "text": f"{lead}\n\n{body}\n\n{sentence(chance)}"}


def book(chance: random.Random) -> dict[str, str]:
    """A book of a few chapters."""
    chapters = ["\n".join(sentence(chance) for _ in range(20)) for _ in range(3)]
    text = "\n\n".join(f"## Chapter {n}\n\n{chapter}" for n, chapter in enumerate(chapters, 1))
    return {"author": chance.choice(NAMES), "title": chance.choice(THINGS), "year": "1850", "text": text}


def wikitext(chance: random.Random) -> str:
    """An article in WikiText's form: headings between equals signs, punctuation apart."""
    lines = [sentence(chance).replace(".", " .") for _ in range(8)]
    return f" \n = {chance.choice(NAMES)} = \n \n " + " \n ".join(lines) + " \n"


def inference(chance: random.Random) -> dict[str, str]:
    """A pair: the same again, something else said of the same, or its denial."""
    trade, thing, look = chance.choice(TRADES), chance.choice(THINGS), chance.choice(LOOKS)
    label = chance.choice(("entailment", "neutral", "contradiction"))
    hypothesis = {
        "entailment": f"A {trade} is in a {thing} .",
        "neutral": f"The {trade} is waiting for {chance.choice(NAMES)} .",
        "contradiction": f"Nobody is in the {thing} .",
    }[label]
    return {"premise": f"A {trade} is standing in a {look} {thing} .", "hypothesis": hypothesis, "label": label}


def review(chance: random.Random, sentences: int = 1) -> dict[str, str]:
    """A film review with the words of its sentiment."""
    label = chance.choice(sorted(OF_SENTIMENT))
    said = [
        f"a {chance.choice(OF_SENTIMENT[label])} film about a {chance.choice(TRADES)} and a "
        f"{chance.choice(LOOKS)} {chance.choice(THINGS)} ."
        for _ in range(sentences)
    ]
    return {"text": " ".join(said), "label": label}


def news(chance: random.Random) -> dict[str, str]:
    """A piece of news with two words of its topic."""
    label = chance.choice(sorted(OF_TOPIC))
    first, second = chance.sample(OF_TOPIC[label], 2)
    place, look, name = (chance.choice(words) for words in (PLACES, LOOKS, NAMES))
    text = f"{place} talks of the {first}: the {second} is {look}, says {name}."
    return {"label": label, "text": text, "source": "made up"}


def squad(chance: random.Random, paragraphs: int, refused: int) -> dict[str, Any]:
    """Articles in SQuAD's form: who lives where; `refused` questions a paragraph ask for somebody it does not name."""
    articles = []
    for title in TITLES:
        made = []
        for number in range(paragraphs):
            people = chance.sample(NAMES, 3)
            homes = chance.sample(PLACES, 2)
            context = " ".join(f"{who} lives in {where}." for who, where in zip(people[:2], homes, strict=True))
            asked = [(who, where) for who, where in zip(people[:2], homes, strict=True)]
            questions = [
                {
                    "id": f"{title}-{number}-{who}",
                    "question": f"Where does {who} live?",
                    "answers": [{"text": where, "answer_start": context.index(where)}],
                    "is_impossible": False,
                    "ambiguous_start": False,
                }
                for who, where in asked
            ]
            questions += [
                {
                    "id": f"{title}-{number}-none-{n}",
                    "question": f"Where does {people[2]} live?",
                    "answers": [],
                    "is_impossible": True,
                }
                for n in range(refused)
            ]
            made.append({"context": context, "qas": questions})
        articles.append({"title": title, "paragraphs": made})
    return {"version": "made up", "data": articles}


def paper(chance: random.Random, number: int) -> dict[str, Any]:
    """An abstract and its summary in a sentence."""
    source = [sentence(chance) for _ in range(6)]
    return {"source": source, "target": [source[0]], "paper_id": f"p{number}", "title": chance.choice(THINGS)}


def _movie_reviews(path: Path, chance: random.Random) -> None:
    """The archive of film reviews as NLTK packs it: a folder a label, a sentence a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for label, short in (("negative", "neg"), ("positive", "pos")):
            for number in range(4):
                lines = []
                while len(lines) < 5:
                    row = review(chance)
                    if row["label"] == label:
                        lines.append(row["text"])
                archive.writestr(f"movie_reviews/{short}/cv{number:03d}_1.txt", "\n".join(lines) + "\n")


def _jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    _pack(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _pack(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if path.suffix == ".gz" else lzma.compress
    path.write_bytes(pack(text.encode()))
