"""What a batch says when its answers are held against the right ones, and against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tasks.batch import Batch
from tasks.evaluate import needs, rouge, squad
from zoo.errors import BadData, BadParameter, ZooError

SHOWN = 8  # labels that an error names, and that a table shows although they do not occur


@dataclass(frozen=True)
class Confusion:
    """How often a label of one side met one of the other: `counts[i][j]` rows have labels[i] there, labels[j] here."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Measured:
    """How a model did on `rows` rows, in percent; or the error that says why it cannot be told."""

    rows: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    confusion: Confusion | None = None
    error: str = ""


@dataclass(frozen=True)
class Compared:
    """Two models on the `rows` rows that both answered: which of them differ, and the first's labels by the second's.

    `unlike` is why they cannot be compared.
    """

    first: str
    second: str
    rows: int = 0
    differ: tuple[int, ...] = ()
    confusion: Confusion | None = None
    unlike: str = ""


def measured(batch: Batch) -> dict[str, Measured]:
    """Each model against the gold column; nothing where there is none. Never raises: what is wrong is in `error`.

    Rows without a right answer, or without an answer, are left out. Accuracy and macro F1 (the mean over the labels
    that occur) are scikit-learn's, exact match and F1 those of SQuAD's script, ROUGE is rouge-score's.
    """
    if batch.sheet.gold is None:
        return {}
    made = {}
    for one in batch.models:
        try:
            made[one.name] = _measured(batch, one.name)
        except ZooError as error:
            made[one.name] = Measured(0, error=error.message)
    return made


def _measured(batch: Batch, name: str) -> Measured:
    pairs = []
    for index, said in enumerate(batch.answers[name]):
        right = gold_of(batch, index)
        if right is not None and not said.error:
            pairs.append((said.text, right))
    if not pairs:
        return Measured(0, error="No answered row has a right answer to hold against it.")
    answers, golds = [answer for answer, _ in pairs], [right for _, right in pairs]
    if batch.sheet.task == "qa":
        return Measured(len(pairs), squad(answers, golds).metrics)
    if batch.sheet.task == "summarize":
        return Measured(len(pairs), rouge(answers, golds).metrics)
    return _classification(answers, [_known(right[0], batch.labels[name]) for right in golds], batch.labels[name])


def _classification(said: Sequence[str], gold: Sequence[str], labels: frozenset[str]) -> Measured:
    if strange := sorted(set(gold) - labels):
        more = f" and {len(strange) - SHOWN} more" if len(strange) > SHOWN else ""
        raise BadParameter(
            f"The gold column has labels that the model does not know: {', '.join(strange[:SHOWN])}{more}. It knows "
            f"{', '.join(sorted(labels))}. Rename those of the file, or choose another model or another column."
        )
    library = _metrics()
    metrics = {
        "accuracy": 100 * float(library.accuracy_score(gold, said)),
        "macro_f1": 100 * float(library.f1_score(gold, said, average="macro", zero_division=0)),
    }
    return Measured(len(gold), metrics, _confusion(gold, said, labels))


def _known(label: str, labels: frozenset[str]) -> str:
    """A label as the model spells it; capitals do not count."""
    return next((one for one in labels if one.lower() == label.lower()), label)


def gold_of(batch: Batch, index: int) -> list[str] | None:
    """What is right for a row: a label, the answers or summaries to choose from; None where nothing is said.

    Of a question no answers at all mean that the passage holds none, and so does an empty cell. Raises BadData.
    """
    value: Any = batch.sheet.rows[index].get(batch.sheet.gold or "")
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):  # as in SQuAD
        value = value["text"]
    if value is None or (value == "" and batch.sheet.task != "qa"):
        return None
    texts = value if isinstance(value, list) else [value]
    if batch.sheet.task in ("classify", "nli"):
        if len(texts) != 1 or not isinstance(texts[0], str | int):
            raise BadData(f"Row {index + 1:,} has {_short(value)} for a label in {batch.sheet.gold!r}; give one text.")
        label = str(texts[0]).strip()
        return [label] if label else None
    if not all(isinstance(text, str) for text in texts):
        raise BadData(
            f"Row {index + 1:,} has {_short(value)} in {batch.sheet.gold!r}; give a text, or a list of texts."
        )
    return [text for text in texts if text] if batch.sheet.task == "qa" else texts or None


def wrong(batch: Batch, name: str, index: int) -> bool:
    """Whether a model gave a row another label than the gold column, one that it knows."""
    said = batch.answer(name, index)
    if batch.sheet.gold is None or said is None or said.error or batch.sheet.task not in ("classify", "nli"):
        return False
    try:
        right = gold_of(batch, index)
    except BadData:
        return False
    known = right is not None and _known(right[0], batch.labels[name])
    return known in batch.labels[name] and known != said.text


def compared(batch: Batch) -> list[Compared]:
    """Every two models that answered; capitals and spaces do not make a difference. Summaries are not compared: no
    two of them are alike."""
    names = [one.name for one in batch.models if any(not said.error for said in batch.answers[one.name])]
    if batch.sheet.task == "summarize":
        return []
    return [_compared(batch, *pair) for pair in combinations(names, 2)]


def _compared(batch: Batch, first: str, second: str) -> Compared:
    spelled = [{label.lower() for label in batch.labels.get(name, ())} for name in (first, second)]
    if spelled[0] != spelled[1]:
        return Compared(first, second, unlike="They have different labels.")
    both = [  # a batch that was stopped has fewer answers of the later model
        (index, one.text, other.text)
        for index, (one, other) in enumerate(zip(batch.answers[first], batch.answers[second], strict=False))
        if not one.error and not other.error
    ]
    differ = tuple(index for index, one, other in both if _same(one) != _same(other))
    confusion = None
    if both and batch.sheet.task != "qa":
        labels = batch.labels[first]
        confusion = _confusion([one for _, one, _ in both], [_known(other, labels) for _, _, other in both], labels)
    return Compared(first, second, len(both), differ, confusion)


def summary(batch: Batch) -> dict[str, Any]:
    """All of it as JSON: rows, each model's metrics or its error, and how often every two models differ."""
    models = {}
    against = measured(batch)
    for one in batch.models:
        said = batch.answers[one.name]
        made: dict[str, Any] = {"rows": len(said), "unanswered": sum(bool(answer.error) for answer in said)}
        if one.name in batch.failed:
            made["error"] = batch.failed[one.name]
        elif one.name in against:
            held = against[one.name]
            rounded = {name: round(value, 2) for name, value in held.metrics.items()}
            made |= {"error": held.error} if held.error else {"labelled": held.rows, "metrics": rounded}
        models[one.name] = made
    pairs = [
        {"models": [one.first, one.second], "rows": one.rows, "differ": len(one.differ)}
        for one in compared(batch)
        if not one.unlike
    ]
    return {"task": batch.sheet.task, "data": batch.sheet.name, "rows": batch.rows, "models": models, "pairs": pairs}


def _same(text: str) -> str:
    return " ".join(text.lower().split())


def _confusion(there: Sequence[str], here: Sequence[str], labels: frozenset[str]) -> Confusion:
    """Over all labels, or those that occur on one of the sides where they are many."""
    names = sorted(labels if len(labels) <= SHOWN else labels & {*there, *here})
    counts = _metrics().confusion_matrix(there, here, labels=names)
    return Confusion(tuple(names), tuple(tuple(map(int, row)) for row in counts))


def _metrics() -> Any:
    return needs("scikit-learn", lambda: __import__("sklearn.metrics", fromlist=["confusion_matrix"]))


def _short(value: object) -> str:
    text = repr(value)
    return f"{text[:60]} ..." if len(text) > 60 else text
