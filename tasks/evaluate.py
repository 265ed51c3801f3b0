"""Metrics over a file of labelled rows, from well-kept libraries: scikit-learn, torchmetrics (SQuAD), rouge-score.

Rows: {text, label}, {premise, hypothesis, label}, {question, context, answers: {text, answer_start}} or SQuAD's own
JSON, {document, summary}. A row with a `title` has it put before its text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks import classify, nli, qa, summarize
from tasks.results import Result
from zoo.errors import BadData, BadParameter, MissingPackage
from zoo.rows import read_rows

if TYPE_CHECKING:
    from zoo.engine import Engine

CHUNK = 256  # rows handed to the engine at once, so that equal lengths meet
SHOWN = 240  # characters of a text among the worst rows

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """What a scorer needs: who answers which rows, and whom to tell."""

    engine: Engine
    model: str
    head: str | None
    rows: Sequence[Row]
    label_map: Mapping[str, str]
    options: Mapping[str, Any]
    progress: Callable[[int], object]
    predictions: Callable[[dict[str, Any]], object]

    def gold(self) -> list[str]:
        """The rows' labels in the words of the model."""
        labels = (field(row, "label", i) for i, row in enumerate(self.rows))
        return [self.label_map.get(label, label) for label in labels]

    def ask(self, items: Sequence[Any], run: Callable[[list[Any]], list[Result]]) -> list[Result]:
        """Answer all items, a chunk at a time."""
        results: list[Result] = []
        for begin in range(0, len(items), CHUNK):
            part = list(items[begin : begin + CHUNK])
            results += run(part)
            self.progress(len(part))
        return results

    def tell(self, result: Result, points: float, **row: Any) -> None:
        """Report one row with its answer, its points from 0 to 100, and the probabilities of labels or of spans."""
        scores = {s.label: round(s.score, 4) for s in result.scores}
        scores |= {span.text: round(span.score, 4) for span in reversed(result.spans)}
        self.predictions(row | {"answer": result.answer, "scores": scores, "points": round(points, 2)})


@dataclass(frozen=True)
class Scored:
    """What came out: for each metric the points of every row, 0 to 100, and how long the rows took."""

    points: Mapping[str, np.ndarray]  # metric -> [rows]
    metrics: Mapping[str, float]  # all rows together
    seconds: tuple[float, ...] = ()  # of each row, where rows are answered one at a time

    @property
    def rows(self) -> int:
        """How many rows were scored."""
        return len(next(iter(self.points.values())))


def evaluate(
    engine: Engine,
    task: str,
    model: str,
    data: Path,
    head: str | None = None,
    limit: int | None = None,
    label_map: Mapping[str, str] | None = None,
    progress: Callable[[int], object] = lambda rows: None,
    predictions: Callable[[dict[str, Any]], object] = lambda row: None,
    **options: Any,
) -> dict[str, Any]:
    """Run a task over a file: {"task", "model", "data", "rows", "metrics"} with metrics in percent.

    `label_map` renames the labels of the file to those of the model. `progress` is told how many rows are done,
    `predictions` each row's answer with its points. Raises BadData for a row that lacks what the task needs,
    MissingPackage.
    """
    scored = score(engine, task, model, data, head, limit, label_map, progress, predictions, **options)
    rounded = {name: round(float(value), 2) for name, value in scored.metrics.items()}
    return {"task": task, "model": model, "data": data.name, "rows": scored.rows, "metrics": rounded}


def score(
    engine: Engine,
    task: str,
    model: str,
    data: Path,
    head: str | None = None,
    limit: int | None = None,
    label_map: Mapping[str, str] | None = None,
    progress: Callable[[int], object] = lambda rows: None,
    predictions: Callable[[dict[str, Any]], object] = lambda row: None,
    **options: Any,
) -> Scored:
    """As `evaluate`, with the points of every row, for intervals."""
    rows = first_rows(data, limit)
    scorer = {"nli": _nli, "classify": _classify, "qa": _qa, "summarize": _summarize}[task]
    return scorer(Job(engine, model, head, rows, label_map or {}, options, progress, predictions))


def first_rows(data: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The rows of a file, at most `limit`. Raises BadData when there are none."""
    rows = list(islice(read_rows(data), limit))
    if not rows:
        raise BadData(f"{data} has no rows.")
    return rows


def worst(said: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """Of the rows that `predictions` was told, those most surely wrong: fewest points, then highest probability.

    Long texts are shortened to their beginning.
    """
    wrong = [row for row in said if row["points"] < 50]
    wrong.sort(key=lambda row: (row["points"], -max(row["scores"].values(), default=0.0)))
    return [{name: _short(value) for name, value in row.items()} for row in wrong[:most]]


def _short(value: Any) -> Any:
    return value[:SHOWN] + " ..." if isinstance(value, str) and len(value) > SHOWN else value


def _nli(job: Job) -> Scored:
    gold = job.gold()
    pairs = [(field(row, "premise", i), field(row, "hypothesis", i)) for i, row in enumerate(job.rows)]
    found = job.ask(pairs, lambda part: nli.run_many(job.engine, job.model, part, job.head))
    for (premise, hypothesis), result, label in zip(pairs, found, gold, strict=True):
        job.tell(result, 100.0 * (result.answer == label), premise=premise, hypothesis=hypothesis, label=label)
    return _classification(gold, found)


def _classify(job: Job) -> Scored:
    gold = job.gold()
    texts = [titled(row, i) for i, row in enumerate(job.rows)]
    found = job.ask(texts, lambda part: classify.run_many(job.engine, job.model, part, job.head))
    for text, result, label in zip(texts, found, gold, strict=True):
        job.tell(result, 100.0 * (result.answer == label), text=text, label=label)
    return _classification(gold, found)


def _qa(job: Job) -> Scored:
    pairs = [(field(row, "question", i), field(row, "context", i)) for i, row in enumerate(job.rows)]
    answers = [answers_of(row, i) for i, row in enumerate(job.rows)]
    settings = dict(job.options)
    if settings.get("allow_no_answer") is None:  # by the file: does it hold questions without an answer?
        settings["allow_no_answer"] = any(not texts for texts in answers)
    options = qa.Options(**settings)
    found = job.ask(pairs, lambda part: qa.run_many(job.engine, job.model, part, job.head, options))
    scored = squad([result.answer for result in found], answers)
    for (question, context), result, texts, f1 in zip(pairs, found, answers, scored.points["f1"], strict=True):
        job.tell(result, float(f1), question=question, context=context, answers=texts)
    return scored


def _summarize(job: Job) -> Scored:
    said, wanted, seconds = [], [], []
    for i, row in enumerate(job.rows):
        document, summary = field(row, "document", i), summary_of(row, i)
        result = summarize.run(job.engine, job.model, document, job.head, **job.options)
        said.append(result.answer)
        wanted.append(summary)
        seconds.append(result.timings.get("total", 0.0))
        (points,) = rouge(said[-1:], wanted[-1:]).points["rougeL"]
        job.tell(result, float(points), document=document, summary=summary)
        job.progress(1)
    return rouge(said, wanted, tuple(seconds))


def squad(said: Sequence[str], answers: Sequence[Sequence[str]]) -> Scored:
    """Exact match and F1 of SQuAD's own script, of each row; no answers at all mean that "" is right."""
    library = needs("torchmetrics", lambda: __import__("torchmetrics.functional.text", fromlist=["squad"]))
    rows = []
    for one, texts in zip(said, answers, strict=True):
        given = {"text": list(texts) or [""], "answer_start": [0] * max(1, len(texts))}
        rows.append(library.squad({"prediction_text": one, "id": ""}, {"answers": given, "id": ""}))
    return _scored({name: [float(row[name]) for row in rows] for name in ("exact_match", "f1")})


def rouge(said: Sequence[str], wanted: Sequence[str | list[str]], seconds: tuple[float, ...] = ()) -> Scored:
    """F-measure with stemming, of each row; with several references the best one counts."""
    library = needs("rouge_score", lambda: __import__("rouge_score.rouge_scorer", fromlist=["RougeScorer"]))
    names = ("rouge1", "rouge2", "rougeL")
    scorer = library.RougeScorer(names, use_stemmer=True)
    rows = [
        scorer.score_multi(references if isinstance(references, list) else [references], one)
        for one, references in zip(said, wanted, strict=True)
    ]
    return _scored({name: [100 * row[name].fmeasure for row in rows] for name in names}, seconds)


def _scored(points: Mapping[str, Sequence[float]], seconds: tuple[float, ...] = ()) -> Scored:
    """Metrics that are means over rows."""
    arrays = {name: np.asarray(values, dtype=float) for name, values in points.items()}
    return Scored(arrays, {name: float(values.mean()) for name, values in arrays.items()}, seconds)


def answers_of(row: Row, index: int) -> list[str]:
    """The texts of the right answers; none where the passage holds none."""
    given = row.get("answers")
    if not isinstance(given, Mapping) or not isinstance(given.get("text"), list):
        raise BadData(f"Row {index + 1} has no answers of the form {{text: [...], answer_start: [...]}}.")
    return list(given["text"])


def titled(row: Row, index: int) -> str:
    """The text of a row, after its title when it has one."""
    text = field(row, "text", index)
    return f"{row['title']} {text}" if row.get("title") else text


def _classification(gold: Sequence[str], found: Sequence[Result]) -> Scored:
    metrics = needs("sklearn", lambda: __import__("sklearn.metrics", fromlist=["f1_score"]))
    said, labels = [result.answer for result in found], {score.label for score in found[0].scores}
    strange = sorted(set(gold) - labels)
    if strange:
        raise BadParameter(
            f"The file has labels that the model has not: {', '.join(strange)}. "
            f"The model has: {', '.join(sorted(labels))}. "
            "Rename them with --label-map FILE=MODEL, or choose another --head.",
        )
    right = _scored({"accuracy": [100.0 * (one == label) for one, label in zip(said, gold, strict=True)]})
    macro = 100 * metrics.f1_score(gold, said, average="macro", labels=sorted(labels), zero_division=0)
    return Scored(right.points, {**right.metrics, "macro_f1": macro})


def field(row: Row, name: str, index: int) -> str:
    """A text of a row. Raises BadData when it has none of that name."""
    value = row.get(name)
    if not isinstance(value, str):
        has = ", ".join(row) or "nothing"
        raise BadData(f"Row {index + 1} has no text in {name!r} (it has: {has}).")
    return value


def summary_of(row: Row, index: int) -> str | list[str]:
    """The summary of a row, or its list of them."""
    value = row.get("summary")
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return value
    return field(row, "summary", index)


def needs(package: str, load: Callable[[], Any]) -> Any:
    """What `load` imports. Raises MissingPackage."""
    try:
        return load()
    except ImportError:
        raise MissingPackage(f"Evaluation needs {package}: pip install -r requirements.txt", package=package) from None
