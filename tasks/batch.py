"""Many rows answered by one or several models, a chunk at a time, and the table that comes of it.

`run` is an iterator: whoever holds it shows progress between its steps, and ends the work by closing it. What is done
stays in the `Batch`. No chunk keeps the engine longer than about TARGET seconds, so that others get their turn.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import TASKS, summarize
from tasks.intake import Row, Sheet
from tasks.results import Result
from zoo.errors import BadParameter, InputEmpty, InputTooLong, ZooError

if TYPE_CHECKING:
    from zoo.engine import Engine

TARGET = 0.4  # seconds of a chunk
FIRST, LEAST = 500, 200  # characters of the first chunk, and of the smallest
MOST_AT_ONCE = 256  # rows of a chunk
MOST_MODELS = 4
UNSAFE = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet may take for the beginning of a formula
OF_A_ROW = (InputEmpty, InputTooLong, BadParameter)  # mistakes that say nothing of the next row


@dataclass(frozen=True)
class Chosen:
    """A model and its head, under the name that its columns have."""

    name: str
    model: str
    head: str | None = None

    @staticmethod
    def of(name: str) -> Chosen:
        """From `model`, or `model#head` where a model has several heads for a task."""
        model, _, head = name.partition("#")
        return Chosen(name, model, head or None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of one row. `error` is why it said nothing, `note` what it has not read."""

    text: str = ""
    probability: float | None = None
    note: str = ""
    error: str = ""


@dataclass
class Batch:
    """Rows, whom they are put to, and what has been answered so far: the first rows, in their order."""

    sheet: Sheet
    models: tuple[Chosen, ...]
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    labels: dict[str, frozenset[str]] = field(default_factory=dict)  # that a model can say
    failed: dict[str, str] = field(default_factory=dict)  # models that could not answer at all, and why

    def __post_init__(self) -> None:
        if not 1 <= len(self.models) <= MOST_MODELS or len({one.name for one in self.models}) < len(self.models):
            raise BadParameter(
                f"{len(self.models)} models are chosen; choose 1 to {MOST_MODELS}, each once.", most=MOST_MODELS
            )
        for one in self.models:
            self.answers[one.name] = []

    @property
    def rows(self) -> int:
        """How many rows were answered by at least one model."""
        return max(map(len, self.answers.values()))

    def answer(self, name: str, index: int) -> Answer | None:
        """What a model said of a row, if it came to it."""
        said = self.answers[name]
        return said[index] if index < len(said) else None


@dataclass(frozen=True)
class Progress:
    """How far a run is. `done` and `of` count answers, rows times models; seconds are those of the answers alone."""

    model: str
    rows: int  # that this model has answered
    done: int
    of: int
    seconds: float
    fetched: int | None = None  # bytes of the model's files, while it is not in memory

    @property
    def rate(self) -> float:
        """Rows a second that one model answers; 0 before the first."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left if all goes on as it went; None before the first answer."""
        return (self.of - self.done) / self.rate if self.rate else None


def run(engine: Engine, batch: Batch) -> Iterator[Progress]:
    """Answer all rows, model by model, so that each is loaded once. Yields at least twice a second or so, also
    while a model is loaded.

    A row that cannot be answered gets its error and a model that cannot be had its own; neither ends the run.
    """
    done, seconds, of = 0, 0.0, len(batch.sheet.rows) * len(batch.models)
    for asked in batch.models:
        said = batch.answers[asked.name]
        try:
            for fetched in engine.opening(asked.model):
                yield Progress(asked.name, 0, done, of, seconds, fetched)
            work = (_summaries if batch.sheet.task == "summarize" else _chunks)(engine, batch, asked)
            started = time.perf_counter()
            for many in work:
                seconds, done = seconds + time.perf_counter() - started, done + many
                yield Progress(asked.name, len(said), done, of, seconds)
                started = time.perf_counter()
        except ZooError as error:
            batch.failed[asked.name] = error.message
            of -= len(batch.sheet.rows) - len(said)


def _chunks(engine: Engine, batch: Batch, asked: Chosen) -> Iterator[int]:
    """Answer as many rows at once as take about TARGET seconds; yields how many they were."""
    sheet, said = batch.sheet, batch.answers[asked.name]
    budget = float(FIRST)
    while len(said) < len(sheet.rows):
        chunk: list[list[Any]] = []
        size = 0
        for index in range(len(said), min(len(said) + MOST_AT_ONCE, len(sheet.rows))):
            texts = sheet.texts(index)
            size += sum(len(text) for text in texts if isinstance(text, str))
            if chunk and size > budget:
                break
            chunk.append(texts)
        started = time.perf_counter()
        found = _ask(engine, batch, asked, chunk)
        budget = max(LEAST, budget * min(2.0, max(0.25, TARGET / (time.perf_counter() - started + 1e-6))))
        said += found
        yield len(found)


def _ask(engine: Engine, batch: Batch, asked: Chosen, chunk: Sequence[Sequence[Any]]) -> list[Answer]:
    """The answers to rows; where one of them cannot be answered, halves are asked until it stands alone."""
    task = TASKS[batch.sheet.task]
    assert task.many is not None
    items = [texts[0] if len(texts) == 1 else tuple(texts) for texts in chunk]
    try:
        found = task.many(engine, asked.model, items, asked.head)
    except OF_A_ROW as error:
        if len(chunk) == 1:
            return [Answer(error=error.message)]
        half = len(chunk) // 2
        return _ask(engine, batch, asked, chunk[:half]) + _ask(engine, batch, asked, chunk[half:])
    assert len(found) == len(chunk), f"{asked.name} gave {len(found)} answers to {len(chunk)} rows"
    if task.kind == "classifier":
        batch.labels[asked.name] = frozenset(score.label for score in found[0].scores)
    return [_answer(one) for one in found]


def _summaries(engine: Engine, batch: Batch, asked: Chosen) -> Iterator[int]:
    """Summarize row by row; yields 0 after each token and 1 after each row."""
    said = batch.answers[asked.name]
    for index in range(len(batch.sheet.rows)):
        made: Result | None = None
        try:
            for step in summarize.stream(engine, asked.model, batch.sheet.texts(index)[0], asked.head):
                made = step
                yield 0
        except OF_A_ROW as error:
            said.append(Answer(error=error.message))
        else:
            said.append(_answer(made) if made is not None else Answer())
        yield 1


def _answer(made: Result) -> Answer:
    """The answer with the probability of a label, of a span, or of there being none."""
    probability = None
    if made.task == "qa" and made.answer:
        probability = made.spans[0].score
    elif made.scores:
        probability = made.scores[0].score
    return Answer(made.answer, probability, " ".join(made.warnings))


@dataclass(frozen=True)
class Columns:
    """The columns that a model's answers stand in; `note` where there is something to note."""

    answer: str
    probability: str
    note: str | None


def columns(batch: Batch) -> dict[str, Columns]:
    """The new columns of each model; a column of the user that is called the same keeps its name."""
    taken = {name.lower() for name in batch.sheet.columns}

    def fresh(name: str) -> str:
        while name.lower() in taken:
            name += " (new)"
        taken.add(name.lower())
        return name

    made = {}
    for one in batch.models:
        noted = any(said.note or said.error for said in batch.answers[one.name])
        made[one.name] = Columns(
            fresh(f"{one.name} answer"),
            fresh(f"{one.name} probability"),
            fresh(f"{one.name} note") if noted else None,
        )
    return made


def records(batch: Batch) -> Iterator[Row]:
    """The rows that were answered, as they came, each with the answers; None where a model has none."""
    places = columns(batch)
    for index in range(batch.rows):
        row = dict(batch.sheet.rows[index])
        for name, place in places.items():
            said = batch.answer(name, index)
            answered = said is not None and not said.error
            row[place.answer] = said.text if said is not None and answered else None
            row[place.probability] = said.probability if said is not None and answered else None
            if place.note is not None:
                row[place.note] = (said.error or said.note or None) if said is not None else None
        yield row


def write_jsonl(batch: Batch, path: Path) -> None:
    """Rows and answers exactly as they are, an object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in records(batch):
            try:
                line = json.dumps(row, ensure_ascii=False)
                line.encode("utf-8")
            except UnicodeEncodeError:  # half of a pair of surrogates, which JSON can spell and UTF-8 cannot
                line = json.dumps(row)
            file.write(line + "\n")


def write_csv(batch: Batch, path: Path) -> None:
    """A table for spreadsheets: UTF-8 with a byte order mark, and no cell that could be taken for a formula."""
    new = [name for place in columns(batch).values() for name in (place.answer, place.probability, place.note) if name]
    names = [*batch.sheet.columns, *new]
    with path.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
        table = csv.writer(file)
        table.writerow(safe(name) for name in names)
        table.writerows([safe(row.get(name)) for name in names] for row in records(batch))


def safe(value: Any) -> Any:
    """A cell of a CSV file: a text that begins with = + - @ tab or return gets an apostrophe before it.

    Lists and objects are written as JSON, probabilities with six digits.
    """
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return round(value, 6) if isinstance(value, float) else value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(UNSAFE) else text


WRITERS = {".csv": write_csv, ".jsonl": write_jsonl}
