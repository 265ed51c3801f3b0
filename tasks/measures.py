"""What is measured of every small model, and the run that measures it: `python -m tasks eval --all`.

Every model answers the same rows. A cell, a model on a data set, is measured again only when the weights that answer,
the file or the number of rows are others than those of results.csv: a head that was taught anew leaves the figures of
the others as they are, under the new revision.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tasks import TASKS, baselines, bits, figures
from tasks.evaluate import Scored, answers_of, field, first_rows, rouge, score, squad, summary_of, titled
from tasks.figures import BASELINE, FLOAT, Figure
from zoo import catalog
from zoo.engine import Engine
from zoo.errors import BadData
from zoo.family import Model
from zoo.opening import embedded_revision, load, locate
from zoo.training import export

UNSEEN = "python -m zoo heldout --data DATA --out HELDOUT"
SAMPLE = 25  # texts that are answered one at a time, to see how long one takes
LANGUAGE = "bits"  # what is run where there is no task


@dataclass(frozen=True)
class Measure:
    """A data set and what is done with it. `heldout` files are those that `python -m zoo heldout` writes."""

    task: str  # topic, sentiment, nli, qa, summary, language
    title: str
    run: str  # a task of TASKS, or LANGUAGE
    file: str
    kind: str  # of the head that answers
    head: str | None = None  # its name, where a model has several of the kind
    heldout: bool = False
    limit: int = 0  # only the first rows; 0 for all
    refusals: bool = False  # only for models that were trained to say that there is no answer

    def command(self, model: str, limit: int) -> str:
        """What a reader runs to see the same figure."""
        words = ["python -m tasks eval", self.run, "--model", model]
        words += ["--head", self.head] if self.head else []
        words += ["--limit", str(limit)] if limit else []
        return " ".join([*words, "--data", f"{'HELDOUT' if self.heldout else 'DATA'}/{self.file}"])


MEASURES: tuple[Measure, ...] = (
    Measure("topic", "AG News test", "classify", "classification/ag_news_test.jsonl.gz", "classifier", "topic"),
    Measure("sentiment", "SST-2 dev", "classify", "classification/sst2_dev.jsonl.gz", "classifier", "sentiment"),
    Measure("nli", "SNLI dev", "nli", "nli/snli_dev.jsonl.gz", "classifier", "nli"),
    Measure("nli", "SNLI test", "nli", "nli/snli_test.jsonl.gz", "classifier", "nli"),
    Measure("qa", "SQuAD 1.1 dev, unseen articles", "qa", "squad_v1.1_unseen.jsonl", "span", "qa", heldout=True),
    Measure(
        "qa", "SQuAD 2.0 dev, unseen articles", "qa", "squad_v2.0_unseen.jsonl", "span", "qa",
        heldout=True, limit=3000, refusals=True,
    ),
    Measure("summary", "SciTLDR test", "summarize", "scitldr_test.jsonl", "lm", heldout=True),
    Measure("summary", "Wikipedia leads", "summarize", "wikipedia_leads.jsonl", "lm", heldout=True),
    Measure("language", "WikiText-2 test", LANGUAGE, "lm/wikitext2_test.txt.gz", "lm"),
    Measure("language", "WikiText-2 test, as prose", LANGUAGE, "wikitext2_prose.jsonl", "lm", heldout=True),
    Measure("language", "Wikipedia, unread articles", LANGUAGE, "wikipedia_text.jsonl", "lm", heldout=True),
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What `eval --all` is to do. `against` are folders with the same weights before rounding, one for each model."""

    models: tuple[str, ...]
    data: Path
    heldout: Path
    out: Path
    against: tuple[str, ...] = ()
    limit: int = 0
    again: bool = False  # measure also what was measured already
    baselines: bool = True


@dataclass(frozen=True)
class Watcher:
    """Told of what goes on: the title of each cell and its rows, 0 where they are not what is counted; then how many
    rows more are done, or tokens of a language model."""

    begin: Callable[[str, int], object]
    advance: Callable[[int], object]


@dataclass(frozen=True)
class Subject:
    """A model under the name that it has in results.csv, from where it is opened, and whose tasks it is asked for."""

    name: str
    source: str
    row: catalog.Checkpoint | None
    revision: str
    megabytes: float

    @staticmethod
    def of(name: str, source: str) -> Subject:
        """Look a model up: a name of the catalog, of the Hub, or a folder."""
        fetched, row = locate(source)
        revision = embedded_revision(fetched.folder) if fetched.revision == "local" else fetched.revision
        size = sum(path.stat().st_size for path in fetched.folder.iterdir() if path.suffix in (".safetensors", ".json"))
        return Subject(name, source, row or catalog.find(name.removesuffix(FLOAT)), revision, round(size / 1e6, 1))


def run(asked: Asked, watcher: Watcher) -> list[Figure]:
    """Measure what is not measured yet, writing the file after each cell; returns all of its rows, in order.

    Raises BadData when a data file is not there, and what opening a model raises.
    """
    files = {one: _file(asked, one) for one in MEASURES}  # before anything is measured: all of them are there
    subjects = [Subject.of(name, name) for name in asked.models]
    if asked.against:  # the command line has seen to it that there is one for each
        subjects += [Subject.of(n + FLOAT, folder) for n, folder in zip(asked.models, asked.against, strict=True)]
    for subject in subjects:
        engine = Engine()
        for one, (path, limit) in files.items():
            if one.refusals and not (subject.row and subject.row.unanswerable):
                continue
            known = [] if asked.again else _known(asked.out, subject.name, one, path, limit)
            if known and all(row.revision == subject.revision for row in known):
                continue
            model = engine.model(subject.source)
            if not able(model, one):
                continue
            weights = weights_of(load(subject.source), model.head(one.kind, one.head))
            if known and all(row.weights == weights for row in known):
                of = subject.revision, model.parameters, subject.megabytes
                _keep(asked.out, [replace(r, revision=of[0], parameters=of[1], megabytes=of[2]) for r in known])
                continue
            watcher.begin(f"{subject.name}: {one.title}", _count(one, path, limit))
            points, seconds = _model(engine, model, one, path, limit, watcher)
            command = one.command(subject.source, limit)
            made = Figure(
                subject.name, model.family.name, one.task, one.title, 0, "", 0, 0, 0, model.parameters,
                subject.megabytes, _milliseconds(seconds), subject.revision, weights, digest(path), limit, _today(),
                figures.machine(), command,
            )  # fmt: skip
            _keep(asked.out, _rows(made, points))
    if asked.baselines:
        _run_baselines(asked, files, watcher)
    return figures.read(asked.out)


def able(model: Model, one: Measure) -> bool:
    """Whether the model has the head that a measure asks."""
    return any(spec.kind == one.kind and one.head in (None, name) for name, spec in model.heads.items())


def _file(asked: Asked, one: Measure) -> tuple[Path, int]:
    """The file of a measure and how many rows of it are read. Raises BadData when it is not there."""
    path = (asked.heldout if one.heldout else asked.data) / one.file
    if not path.is_file():
        raise BadData(f"There is no {path}. Give --data, and --heldout after `{UNSEEN}`.")
    return path, min(filter(None, (asked.limit, one.limit)), default=0)


def _count(one: Measure, path: Path, limit: int) -> int:
    """Rows to be answered; of a language model tokens are counted, and how many there are depends on it."""
    return 0 if one.run == LANGUAGE else len(first_rows(path, limit or None))


def weights_of(model: Model, head: str) -> str:
    """Twelve hexadecimal digits of the numbers that an answer of this head comes from, as they lie in the files: an
    engine has laid them out for its processor."""
    parts = {"body": model.network.body, head: model.network.heads[head]}
    return export.digest({f"{part}.{n}": t for part, module in parts.items() for n, t in module.state_dict().items()})


def _known(out: Path, model: str, one: Measure, path: Path, limit: int) -> list[Figure]:
    """What the file says of a cell, if it was of the same rows."""
    rows = [row for row in figures.read(out) if (row.model, row.data) == (model, one.title)]
    return rows if all((row.digest, row.limit) == (digest(path), limit) for row in rows) else []


def _model(
    engine: Engine, model: Model, one: Measure, path: Path, limit: int, watcher: Watcher
) -> tuple[dict[str, Any], Sequence[float]]:
    """A model's points by metric, and the seconds of single texts."""
    name, head = model.name, one.head
    if one.run == LANGUAGE:
        texts = bits.texts_of(path)[: limit or None]
        return {"bits_per_byte": bits.charge(model, texts, head, watcher.advance)}, ()
    scored = score(engine, one.run, name, path, head, limit or None, progress=watcher.advance)
    if scored.seconds:
        return dict(scored.points), scored.seconds
    rows = first_rows(path, limit or None)
    return dict(scored.points), _seconds(rows, lambda row: TASKS[one.run].run(engine, name, *_texts(one, row), head))


def _texts(one: Measure, row: Mapping[str, Any]) -> list[str]:
    if one.run == "classify":
        return [titled(row, 0)]
    return [field(row, name, 0) for name in TASKS[one.run].fields]


def _run_baselines(asked: Asked, files: Mapping[Measure, tuple[Path, int]], watcher: Watcher) -> None:
    for one, (path, limit) in files.items():
        if one.refusals or (not asked.again and _baselines_known(asked.out, one, path, limit)):
            continue
        watcher.begin(f"baselines: {one.title}", 0)
        rows: list[Figure] = []
        for name, parameters, points, seconds in _baselines(one, asked.data, path, limit, watcher):
            made = Figure(
                BASELINE + name, "baseline", one.task, one.title, 0, "", 0, 0, 0, parameters, 0,
                _milliseconds(seconds), baselines.VERSION, "", digest(path), limit, _today(), figures.machine(),
                "python -m tasks eval --all --models baselines --data DATA --heldout HELDOUT",
            )  # fmt: skip
            rows += _rows(made, points)
        _keep(asked.out, rows)


def _baselines_known(out: Path, one: Measure, path: Path, limit: int) -> bool:
    mine = [row for row in figures.read(out) if row.baseline and row.data == one.title]
    known = [row for name in {row.model for row in mine} for row in _known(out, name, one, path, limit)]
    return bool(mine) and len(known) == len(mine) and all(row.revision == baselines.VERSION for row in known)


def _baselines(
    one: Measure, data: Path, path: Path, limit: int, watcher: Watcher
) -> Iterator[tuple[str, int, dict[str, Any], Sequence[float]]]:
    """Name, parameters, points by metric and seconds of single texts, of each method."""
    if one.run == LANGUAGE:
        texts = bits.texts_of(path)[: limit or None]
        for name, pack in baselines.of_language().items():
            yield name, 0, {"bits_per_byte": pack(texts)}, ()
            watcher.advance(sum(len(text) for text in texts))
        return
    rows = first_rows(path, limit or None)
    for method in baselines.of(one.run, one.head, data):
        said = method.answers(rows)
        watcher.advance(len(rows))
        seconds = _seconds([[row] for row in rows], method.answers)
        yield method.name, method.parameters, dict(_points(one, rows, said).points), seconds


def _points(one: Measure, rows: Sequence[Mapping[str, Any]], said: Sequence[str]) -> Scored:
    if one.run == "qa":
        return squad(said, [answers_of(row, i) for i, row in enumerate(rows)])
    if one.run == "summarize":
        return rouge(said, [summary_of(row, i) for i, row in enumerate(rows)])
    gold = [field(row, "label", i) for i, row in enumerate(rows)]
    right = np.array([100.0 * (answer == label) for answer, label in zip(said, gold, strict=True)])
    return Scored({"accuracy": right}, {})


def _rows(made: Figure, points: Mapping[str, Any]) -> list[Figure]:
    """A row for each metric, with its interval."""
    rows = []
    for metric, given in points.items():
        if metric == "bits_per_byte":
            arrays = [np.array([one.bits for one in given]), np.array([float(one.bytes) for one in given])]
            statistic: Callable[..., Any] = _per_byte
        else:
            arrays, statistic = [np.asarray(given)], np.mean
        low, high = figures.interval(arrays, statistic)
        value = float(statistic(*arrays, axis=-1))
        digits = 4 if metric == "bits_per_byte" else 2
        value, low, high = round(value, digits), round(low, digits), round(high, digits)
        rows.append(replace(made, rows=len(arrays[0]), metric=metric, value=value, low=low, high=high))
    return rows


def _per_byte(spent: np.ndarray, size: np.ndarray, axis: int) -> np.ndarray:
    return spent.sum(axis) / size.sum(axis)


def _keep(out: Path, made: Sequence[Figure]) -> None:
    """Put rows into the file, in place of those of the same model and data."""
    cells = {(row.model, row.data) for row in made}
    every = [row for row in figures.read(out) if (row.model, row.data) not in cells] + list(made)
    figures.write(sorted(every, key=_place), out)


def _place(row: Figure) -> tuple[Any, ...]:
    """Shipped models in the order of the catalog, then others, then baselines; data in the order of MEASURES."""
    names, titles = catalog.names(), [one.title for one in MEASURES]
    bare = row.model.removesuffix(FLOAT)
    known = names.index(bare) if bare in names else len(names)
    return row.baseline, known, row.model, titles.index(row.data) if row.data in titles else len(titles)


def _seconds(rows: Sequence[Any], answer: Callable[[Any], object]) -> list[float]:
    """How long single texts take, of a few spread over the file; the first one warms up and is not counted."""
    chosen = rows[:: max(1, len(rows) // SAMPLE)][:SAMPLE]
    took = []
    for row in (chosen[0], *chosen):
        started = time.perf_counter()
        answer(row)
        took.append(time.perf_counter() - started)
    return took[1:]


def _milliseconds(seconds: Sequence[float]) -> float:
    return round(1000 * median(seconds), 2) if seconds else 0.0


@cache
def digest(path: Path) -> str:
    """Twelve hexadecimal digits of a data file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
