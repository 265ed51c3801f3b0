"""What a figure has to be compared with: simple methods that learn from the same rows as the models, or from none.

Majority class and TF-IDF with logistic regression (scikit-learn) for labels, a sliding window for answers in passages,
the first sentence for summaries, a compressor and counts of bytes for language.
"""

from __future__ import annotations

import lzma
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tasks.bits import Charged
from tasks.evaluate import Row, needs, titled
from tasks.spelling import Speller
from zoo.training import lessons
from zoo.training.text import first_sentence

VERSION = "2"  # of these methods: raise it with every change of what they answer, and `eval --all` measures them anew
STRENGTHS = (1.0, 4.0, 16.0)  # inverse strength of regularization; a tenth of the training rows decides which
WORD = re.compile(r"\w+(?:[.,'’-]\w+)*")


@dataclass(frozen=True)
class Baseline:
    """A method with a name; `answers` gives the label, span or summary of each row."""

    name: str
    answers: Callable[[Sequence[Row]], list[str]]
    parameters: int


def of(run: str, head: str | None, data: Path) -> list[Baseline]:
    """The baselines of a task as `tasks.measures` names it; those that learn do so from the folder `data`."""
    if run in ("nli", "classify"):
        return list(_labels(head or "nli", data))
    if run == "qa":
        return [Baseline("sliding window", lambda rows: [sliding_window(r["question"], r["context"]) for r in rows], 0)]
    assert run == "summarize", f"no baseline for {run}"
    return [Baseline("first sentence", lambda rows: [first_sentence(row["document"]) for row in rows], 0)]


def of_language() -> dict[str, Callable[[Sequence[str]], list[Charged]]]:
    """Ways to make a text short that know no language before they begin."""
    return {"xz": _xz, "bytes counted so far": _counted}


def training_rows(head: str, data: Path) -> list[dict[str, Any]]:
    """What `zoo.training.lessons.teach` shows to a classifier, each row once."""
    if head == "topic":
        return lessons.topic_rows(data)
    if head == "sentiment":
        return lessons.sentiment_rows(data)
    snli, altered, conjunctions = lessons.nli_rows(data)
    drawn = lessons.draw(conjunctions, lessons.Amounts().conjunctions, Random(0))
    return [row for row in snli + altered + drawn if row["label"] in lessons.NLI]


@cache
def _labels(head: str, data: Path) -> tuple[Baseline, ...]:
    rows = training_rows(head, data)
    labels = [row["label"] for row in rows]
    most = Counter(labels).most_common(1)[0][0]
    method = _regression(_features_of_pairs() if head == "nli" else _words(_titled))
    method.fit(rows, labels)
    return (
        Baseline("majority class", lambda rows: [most] * len(rows), 0),
        Baseline(
            "TF-IDF, logistic regression",
            lambda rows: [str(label) for label in method.predict(rows)],
            int(method[-1].coef_.size + method[-1].intercept_.size),
        ),
    )


def _regression(features: Any) -> Any:
    linear = needs("sklearn", lambda: __import__("sklearn.linear_model", fromlist=["LogisticRegressionCV"]))
    pipeline = needs("sklearn", lambda: __import__("sklearn.pipeline", fromlist=["make_pipeline"]))
    selection = needs("sklearn", lambda: __import__("sklearn.model_selection", fromlist=["ShuffleSplit"]))
    chosen = linear.LogisticRegressionCV(
        Cs=STRENGTHS,
        l1_ratios=(0.0,),
        cv=selection.ShuffleSplit(1, test_size=0.1, random_state=0),
        scoring="accuracy",
        max_iter=1000,
        use_legacy_attributes=False,
    )
    return pipeline.make_pipeline(features, chosen)


def _words(text_of: Callable[[Row], str] | None, **options: Any) -> Any:
    """TF-IDF of the words and pairs of neighbouring words of a row's text."""
    library = needs("sklearn", lambda: __import__("sklearn.feature_extraction.text", fromlist=["TfidfVectorizer"]))
    made: dict[str, Any] = {
        "ngram_range": (1, 2),
        "min_df": 2,
        "sublinear_tf": True,
        "token_pattern": WORD.pattern,
        **options,
    }
    return library.TfidfVectorizer(preprocessor=text_of, **made)


def _features_of_pairs() -> Any:
    """Words of both texts apart, words of one beside words of the other, and how far they are the same (after the
    lexicalized classifier of Bowman et al. 2015, "A large annotated corpus", section 3.2)."""
    pipeline = needs("sklearn", lambda: __import__("sklearn.pipeline", fromlist=["make_union"]))
    preprocessing = needs("sklearn", lambda: __import__("sklearn.preprocessing", fromlist=["FunctionTransformer"]))
    return pipeline.make_union(
        _words(lambda row: row["premise"].lower()),
        _words(lambda row: row["hypothesis"].lower()),
        _words(None, analyzer=_crossed, ngram_range=(1, 1), token_pattern=None, min_df=3),
        preprocessing.FunctionTransformer(_overlap),
    )


def _titled(row: Row) -> str:
    return titled(row, 0).lower()


def _crossed(row: Row) -> Iterator[str]:
    """New words of the hypothesis, alone and beside each word of the premise that it leaves out."""
    premise, hypothesis = _said(row["premise"]), _said(row["hypothesis"])
    for new in sorted(hypothesis - premise):
        yield new
        yield from (f"{old} {new}" for old in sorted(premise - hypothesis - _stop_words()))


def _overlap(rows: Sequence[Row]) -> np.ndarray:
    """[rows, 3]: the part of the hypothesis that the premise has, how many of its words it has not, both lengths."""
    table = []
    for row in rows:
        premise, hypothesis = _said(row["premise"]), _said(row["hypothesis"])
        new = len(hypothesis - premise)
        table.append((1 - new / max(1, len(hypothesis)), new / 10, len(hypothesis) / max(1, len(premise))))
    return np.asarray(table)


def _said(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


@cache
def _stop_words() -> frozenset[str]:
    library = needs("sklearn", lambda: __import__("sklearn.feature_extraction.text", fromlist=["ENGLISH_STOP_WORDS"]))
    return frozenset(library.ENGLISH_STOP_WORDS)


def sliding_window(question: str, passage: str) -> str:
    """The run of words of the passage that stands nearest to the rare words of the question.

    After Richardson et al. 2013, "MCTest", as in Rajpurkar et al. 2016, section 5: the sentence with the most of the
    question in it, and in it words that the question has not, weighed by how near those that it has are. A word counts
    log(1 + 1 / its occurrences in the passage).
    """
    asked = _said(question)
    sentences = [passage[a:b] for a, b in _sentences(passage)]
    counts = Counter(word.lower() for word in WORD.findall(passage))

    def weight(word: str) -> float:
        return float(np.log1p(1 / counts[word])) if word in asked and word not in _stop_words() else 0.0

    best = max(sentences, key=lambda sentence: sum(weight(word) for word in _said(sentence)))
    tokens = [(match.group().lower(), match.span()) for match in WORD.finditer(best)]
    weights = [weight(word) for word, _ in tokens]
    places = [place for place, found in enumerate(weights) if found]
    candidates = list(_runs(best, tokens, asked)) or [(0, len(tokens))]

    def near(run: tuple[int, int]) -> float:
        return sum(weights[p] / max(1, run[0] - p, p - run[1] + 1) for p in places)

    first, last = max(candidates, key=near)
    return best[tokens[first][1][0] : tokens[last - 1][1][1]] if tokens else best


def _runs(text: str, tokens: Sequence[tuple[str, tuple[int, int]]], asked: set[str]) -> Iterator[tuple[int, int]]:
    """Longest runs [first, last) of words that say something new, without a mark between them."""
    first = None
    for i, (word, (begin, _)) in enumerate(tokens):
        fresh = word not in asked and word not in _stop_words()
        if first is not None and (not fresh or not text[tokens[i - 1][1][1] : begin].isspace()):
            yield first, i
            first = None
        if fresh and first is None:
            first = i
    if first is not None:
        yield first, len(tokens)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for match in re.finditer(r"[.!?][\"”')]*\s+(?=[\"“(A-Z0-9])|\n+", text):
        if text[begin : match.end()].strip():
            yield begin, match.end()
            begin = match.end()
    yield begin, len(text)


def _xz(texts: Sequence[str]) -> list[Charged]:
    """The whole file as xz packs it, shared out among the texts by their bytes."""
    sizes = [len(text.encode()) for text in texts]
    packed = 8 * len(lzma.compress("".join(texts).encode(), preset=9 | lzma.PRESET_EXTREME))
    return [Charged(packed * size / sum(sizes), size) for size in sizes]


def _counted(texts: Sequence[str]) -> list[Charged]:
    """Every byte by how often it came after the last five before, in the file up to here."""
    speller = Speller(order=5)
    return [Charged(speller.bits(text), len(text.encode())) for text in texts]
