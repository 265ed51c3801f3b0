"""Metrics over a file of labelled rows, from well-kept libraries: scikit-learn, torchmetrics (SQuAD), rouge-score.

Rows: {text, label}, {premise, hypothesis, label}, {question, context, answers: {text, answer_start}} or SQuAD's own
JSON, {document, summary}. A row with a `title` has it put before its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import classify, nli, qa, summarize
from tasks.results import Result
from zoo.engine import Engine
from zoo.errors import BadData, BadParameter, MissingPackage
from zoo.rows import read_rows

CHUNK = 256  # rows handed to the engine at once, so that equal lengths meet

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
        labels = (_field(row, "label", i) for i, row in enumerate(self.rows))
        return [self.label_map.get(label, label) for label in labels]

    def ask(self, items: Sequence[Any], run: Callable[[list[Any]], list[Result]]) -> list[Result]:
        """Answer all items, a chunk at a time."""
        results: list[Result] = []
        for begin in range(0, len(items), CHUNK):
            part = list(items[begin : begin + CHUNK])
            results += run(part)
            self.progress(len(part))
        return results

    def tell(self, result: Result, **row: Any) -> None:
        """Report one row with its answer."""
        scores = {s.label: round(s.score, 4) for s in result.scores}
        self.predictions(row | {"answer": result.answer, "scores": scores})


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
    `predictions` each row's answer. Raises BadData for a row that lacks what the task needs, MissingPackage.
    """
    rows = list(_take(read_rows(data), limit))
    if not rows:
        raise BadData(f"{data} has no rows.")
    scorer = {"nli": _nli, "classify": _classify, "qa": _qa, "summarize": _summarize}[task]
    metrics = scorer(Job(engine, model, head, rows, label_map or {}, options, progress, predictions))
    rounded = {name: round(float(value), 2) for name, value in metrics.items()}
    return {"task": task, "model": model, "data": data.name, "rows": len(rows), "metrics": rounded}


def baseline_lead(data: Path, limit: int | None = None) -> dict[str, float]:
    """ROUGE of each document's own first sentence: what a summarizer has to beat."""
    from zoo.training.text import first_sentence

    rows = list(_take(read_rows(data), limit))
    return _rouge(
        [(_field(r, "document", i), first_sentence(r["document"]), _summary(r, i)) for i, r in enumerate(rows)]
    )


def _nli(job: Job) -> dict[str, float]:
    gold = job.gold()
    pairs = [(_field(row, "premise", i), _field(row, "hypothesis", i)) for i, row in enumerate(job.rows)]
    found = job.ask(pairs, lambda part: nli.run_many(job.engine, job.model, part, job.head))
    for (premise, hypothesis), result, label in zip(pairs, found, gold, strict=True):
        job.tell(result, premise=premise, hypothesis=hypothesis, label=label)
    return _classification(gold, found)


def _classify(job: Job) -> dict[str, float]:
    gold = job.gold()
    texts = [titled(row, i) for i, row in enumerate(job.rows)]
    found = job.ask(texts, lambda part: classify.run_many(job.engine, job.model, part, job.head))
    for text, result, label in zip(texts, found, gold, strict=True):
        job.tell(result, text=text, label=label)
    return _classification(gold, found)


def _qa(job: Job) -> dict[str, float]:
    squad = _needs("torchmetrics", lambda: __import__("torchmetrics.text", fromlist=["SQuAD"])).SQuAD()
    pairs, answers = [], []
    for i, row in enumerate(job.rows):
        pairs.append((_field(row, "question", i), _field(row, "context", i)))
        given = row.get("answers")
        if not isinstance(given, Mapping) or not isinstance(given.get("text"), list):
            raise BadData(f"Row {i + 1} has no answers of the form {{text: [...], answer_start: [...]}}.")
        answers.append(given)
    settings = dict(job.options)
    if settings.get("allow_no_answer") is None:  # by the file: does it hold questions without an answer?
        settings["allow_no_answer"] = any(not given["text"] for given in answers)
    options = qa.Options(**settings)
    found = job.ask(pairs, lambda part: qa.run_many(job.engine, job.model, part, job.head, options))
    for i, ((question, context), result, given) in enumerate(zip(pairs, found, answers, strict=True)):
        texts = given["text"] or [""]  # SQuAD 2.0 counts an empty answer as right when the passage holds none
        starts = given.get("answer_start") or [0] * len(texts)
        squad.update(
            [{"prediction_text": result.answer, "id": str(i)}],
            [{"answers": {"text": texts, "answer_start": starts}, "id": str(i)}],
        )
        job.tell(result, question=question, context=context, answers=texts)
    scores = squad.compute()
    return {"exact_match": scores["exact_match"], "f1": scores["f1"]}


def _summarize(job: Job) -> dict[str, float]:
    triples = []
    for i, row in enumerate(job.rows):
        document, wanted = _field(row, "document", i), _summary(row, i)
        result = summarize.run(job.engine, job.model, document, job.head, **job.options)
        triples.append((document, result.answer, wanted))
        job.tell(result, document=document, summary=wanted)
        job.progress(1)
    return _rouge(triples)


def titled(row: Row, index: int) -> str:
    """The text of a row, after its title when it has one."""
    text = _field(row, "text", index)
    return f"{row['title']} {text}" if row.get("title") else text


def _rouge(triples: Sequence[tuple[str, str, Any]]) -> dict[str, float]:
    """Mean F-measure with stemming; with several references the best one counts."""
    library = _needs("rouge_score", lambda: __import__("rouge_score.rouge_scorer", fromlist=["RougeScorer"]))
    names = ("rouge1", "rouge2", "rougeL")
    scorer = library.RougeScorer(names, use_stemmer=True)
    totals = dict.fromkeys(names, 0.0)
    for _, said, wanted in triples:
        references = wanted if isinstance(wanted, list) else [wanted]
        for name, score in scorer.score_multi(references, said).items():
            totals[name] += 100 * score.fmeasure / len(triples)
    return totals


def _classification(gold: Sequence[str], found: Sequence[Result]) -> dict[str, float]:
    metrics = _needs("sklearn", lambda: __import__("sklearn.metrics", fromlist=["f1_score"]))
    said, labels = [result.answer for result in found], {score.label for score in found[0].scores}
    strange = sorted(set(gold) - labels)
    if strange:
        raise BadParameter(
            f"The file has labels that the model has not: {', '.join(strange)}. "
            f"The model has: {', '.join(sorted(labels))}. "
            "Rename them with --label-map FILE=MODEL, or choose another --head.",
        )
    return {
        "accuracy": 100 * metrics.accuracy_score(gold, said),
        "macro_f1": 100 * metrics.f1_score(gold, said, average="macro", labels=sorted(labels), zero_division=0),
    }


def _take(rows: Iterator[dict[str, Any]], limit: int | None) -> Iterator[dict[str, Any]]:
    for index, row in enumerate(rows):
        if limit is not None and index >= limit:
            return
        yield row


def _field(row: Row, name: str, index: int) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        has = ", ".join(row) or "nothing"
        raise BadData(f"Row {index + 1} has no text in {name!r} (it has: {has}).")
    return value


def _summary(row: Row, index: int) -> Any:
    value = row.get("summary")
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return value
    return _field(row, "summary", index)


def _needs(package: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except ImportError:
        raise MissingPackage(
            f"Evaluation needs {package}: pip install -r zoo/training/requirements.txt", package=package
        ) from None
