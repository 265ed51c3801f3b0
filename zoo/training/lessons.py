"""The rows that teach the four tasks that every small checkpoint of the zoo answers: NLI, QA, topic, sentiment.

What may be learnt from and what is kept for the figures is decided here, once for all families.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.contracts import Tokenizer
from zoo.rows import read_rows
from zoo.training import finetune
from zoo.training.finetune import Example, Lesson

NLI = ("entailment", "neutral", "contradiction")
TOPICS = ("World", "Sports", "Business", "Sci/Tech")
SENTIMENTS = ("negative", "positive")
WATCHED = 25  # one in so many premises, news and phrases is kept apart, to watch a run by and choose its rates by


@dataclass(frozen=True)
class Amounts:
    """How much of each set to show, and how long its texts may be in tokens of the family."""

    snli_epochs: float = 3.0
    altered_epochs: float = 2.0  # counterfactually altered SNLI, with the conjunctions
    conjunctions: int = 4000  # rows of ConjNLI
    questions: int = 36_000  # of SQuAD v1.1, drawn at random
    question_epochs: float = 1.0
    unanswered: bool = True  # questions without an answer too: those of SQuAD 2.0 dev in `in_training_half`
    misplaced: int = 0  # questions put to another paragraph of their article, which is taken to hold no answer
    topic_epochs: float = 2.0
    sentiment_epochs: float = 1.0
    soft_epochs: float = 1.0  # texts that only a teacher labelled, where a run has them
    longest_text: int = 128
    longest_passage: int = 256


def teach(data: Path, tokenizer: Tokenizer, amounts: Amounts, seed: int, soft: Path | None = None) -> list[Lesson]:
    """Training rows by head: `nli`, `qa`, `topic`, `sentiment`.

    With `soft`, a folder that the recipe soft-labels wrote, the rows carry a teacher's probabilities too, and rows
    that only the teacher labelled follow as lessons of their own. Raises BadData when a file of it is absent.
    """
    chance = random.Random(seed)
    snli, altered, conjunctions = (unwatched(rows) for rows in nli_rows(data))
    squad = list(read_rows(data / "qa/squad_v1.1_train.json.xz"))
    certain = [r for r in squad if not r["ambiguous_start"]]
    told = {
        head: unwatched(read_rows(soft / f"{head}.jsonl.gz")) if soft else [] for head in ("nli", "topic", "sentiment")
    }
    by_text = {head: {words_of(r): r["probabilities"] for r in rows if "label" in r} for head, rows in told.items()}

    def classify(head: str, rows: Iterable[Mapping[str, Any]], labels: tuple[str, ...]) -> list[Example]:
        known = by_text[head]
        softened = [{**r, "probabilities": known[words_of(r)]} if words_of(r) in known else r for r in rows]
        return finetune.classification(softened, labels, tokenizer, amounts.longest_text)

    def answer(rows: Iterable[Mapping[str, Any]]) -> list[Example]:
        return finetune.spans(rows, tokenizer, amounts.longest_passage)

    other = altered + draw(conjunctions, amounts.conjunctions, chance)
    made = [
        Lesson("nli", classify("nli", snli, NLI), amounts.snli_epochs),
        Lesson("nli", classify("nli", other, NLI), amounts.altered_epochs),
        Lesson("qa", answer(draw(certain, amounts.questions, chance)), amounts.question_epochs),
        Lesson("topic", classify("topic", unwatched(topic_rows(data)), TOPICS), amounts.topic_epochs),
        Lesson("sentiment", classify("sentiment", split_phrases(data)[0], SENTIMENTS), amounts.sentiment_epochs),
    ]
    for head, labels in (("nli", NLI), ("topic", TOPICS), ("sentiment", SENTIMENTS)):
        unlabelled = [r for r in told[head] if "label" not in r]
        made.append(Lesson(head, classify(head, unlabelled, labels), amounts.soft_epochs))
    if amounts.unanswered:
        unanswered = [
            r for r in read_rows(data / "qa/squad_v2.0_dev.json.gz") if not r["answers"]["text"] and in_training_half(r)
        ]
        made.append(Lesson("qa", answer(unanswered + list(misplaced(squad, amounts.misplaced, chance)))))
    return [lesson for lesson in made if lesson.examples and lesson.epochs > 0]


def watch(data: Path, tokenizer: Tokenizer, amounts: Amounts, seed: int) -> dict[str, list[Example]]:
    """A few hundred examples a head to watch a run by: rows of the training sets that are kept apart from it, and
    questions that no figure is of."""
    chance = random.Random(seed)
    text, passage = amounts.longest_text, amounts.longest_passage
    squad = [r for r in read_rows(data / "qa/squad_v1.1_dev.json.gz") if in_training_half(r)]
    snli = [r for r in nli_rows(data)[0] if is_watched(r)]
    news = [r for r in topic_rows(data) if is_watched(r)]
    watched = {
        "nli": finetune.classification(draw(snli, 800, chance), NLI, tokenizer, text),
        "qa": finetune.spans(draw(squad, 300, chance), tokenizer, passage),
        "topic": finetune.classification(draw(news, 500, chance), TOPICS, tokenizer, text),
        "sentiment": finetune.classification(draw(split_phrases(data)[1], 500, chance), SENTIMENTS, tokenizer, text),
    }
    return {head: examples for head, examples in watched.items() if examples}  # little data may have none


def is_watched(row: Mapping[str, Any]) -> bool:
    """Whether a row is kept apart, told by its premise or its text, so that a premise is never on both sides."""
    return zlib.crc32(words_of(row)[0].encode()) % WATCHED == 0


def unwatched(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows to learn from."""
    return [row for row in rows if not is_watched(row)]


def nli_rows(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Training pairs: of SNLI, of SNLI altered by hand, and of conjunctions."""
    held = rows_of(data, "nli/snli_dev.jsonl.gz", "nli/snli_test.jsonl.gz")
    snli = rows_of(data, "nli/snli_subset_train_18k.jsonl.gz", "nli/snli_subset_extra_2k.jsonl.gz")
    altered = [r for r in rows_of(data, "nli/snli_cad.jsonl.gz") if r.get("split") == "train"]
    conjunctions = rows_of(data, "nli/conjnli_adversarial_train_15k.jsonl.gz")
    return without(snli, held, "premise"), without(altered, held, "premise"), conjunctions


def sentiment_rows(data: Path) -> list[dict[str, Any]]:
    """Training phrases of film reviews."""
    phrases = rows_of(data, "classification/sst2_train.jsonl.gz", "classification/rotten_tomatoes.jsonl.gz")
    return without(phrases, held_phrases(data), "text")


def split_phrases(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Training phrases, and sentences kept apart from them: of those no phrase of four words or more is a part."""
    sentences = without(rows_of(data, "classification/rotten_tomatoes.jsonl.gz"), held_phrases(data), "text")
    apart = [row for row in sentences if is_watched(row)]
    said = "\n".join(letters(row["text"]) for row in apart)
    taught = sentiment_rows(data)
    return [r for r in taught if len(r["text"].split()) < 4 or letters(r["text"]) not in said], apart


def held_phrases(data: Path) -> list[dict[str, Any]]:
    """Phrases of film reviews for the figures."""
    return rows_of(data, "classification/sst2_dev.jsonl.gz")


def topic_rows(data: Path) -> list[dict[str, Any]]:
    """Training news."""
    return rows_of(data, "classification/ag_news_train_pool.jsonl.gz")


def words_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """What a row is known by: its pair, or its text."""
    return (row["premise"], row["hypothesis"]) if "premise" in row else (finetune.titled_text(row), "")


def misplaced(rows: Iterable[dict[str, Any]], count: int, chance: random.Random) -> Iterable[dict[str, Any]]:
    """Questions with another paragraph of the same article that does not hold the text of their answer."""
    articles: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        articles.setdefault(row["title"], []).append(row)
    every = [row for mine in articles.values() for row in mine]
    for row in draw(every, count, chance):
        elsewhere = chance.choice(articles[row["title"]])["context"]
        if row["answers"]["text"][0].lower() not in elsewhere.lower():
            yield {**row, "context": elsewhere, "answers": {"text": [], "answer_start": []}}


def in_training_half(row: Mapping[str, Any]) -> bool:
    """Whether an article of SQuAD's dev set lies in the half whose unanswerable questions are trained on."""
    return sum(row["title"].encode()) % 2 == 0


def without(rows: Iterable[dict[str, Any]], held: Iterable[Mapping[str, Any]], field: str) -> list[dict[str, Any]]:
    """Rows whose `field` is in no held-out row, letters and digits compared."""
    taken = {letters(row[field]) for row in held}
    return [row for row in rows if letters(row[field]) not in taken]


def letters(text: str) -> str:
    """What texts are compared by: their letters and digits, in lower case."""
    return re.sub(r"\W+", "", text.lower())


def draw(rows: list[dict[str, Any]], count: int, chance: random.Random) -> list[dict[str, Any]]:
    """`count` rows at random, or all."""
    return chance.sample(rows, min(count, len(rows)))


def rows_of(folder: Path, *names: str) -> list[dict[str, Any]]:
    """The rows of several files."""
    return [row for name in names for row in read_rows(folder / name)]
