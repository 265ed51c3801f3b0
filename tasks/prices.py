"""`python -m tasks precision`: what each precision costs in points and gains in time, on rows that no model learnt."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import bits
from tasks.evaluate import score
from tasks.measures import LANGUAGE, MEASURES, Measure, able
from zoo.engine import Engine
from zoo.engine.precision import DEFAULT, WITHIN, supported
from zoo.errors import BadData, BadParameter

ROWS = 2000
NAMES = {"classify": "accuracy", "nli": "accuracy", "qa": "f1"}  # the metric that is shown
PROSE = "Wikipedia, unread articles"  # what models of language are asked


@dataclass(frozen=True)
class Price:
    """One head on one file: what a precision does beside `exact`."""

    model: str
    data: str
    rows: int
    precision: str
    points: float  # of the metric, in percent; of a language model bits per byte
    same: float | None  # share of answers that are those of `exact`, where there are answers
    farthest: float  # largest difference of a probability; of a language model that of a text's bits per byte
    faster: float  # times as fast, by the processor's time


def measure(
    models: Sequence[str],
    data: Path,
    heldout: Path,
    rows: int = ROWS,
    progress: Callable[[int], object] = lambda n: None,
) -> list[Price]:
    """Every head of every model on the first rows of its file, in every precision of this processor.

    Raises BadData where a file is not there, and what opening a model raises.
    """
    if rows < 1:
        raise BadParameter(f"--rows is {rows}; it must be at least 1.")
    wanted = {one.task: one for one in reversed(MEASURES) if one.run in NAMES and not one.refusals}  # the first of each
    language = next(one for one in MEASURES if one.title == PROSE)
    made: list[Price] = []
    for name in models:
        for one in (*reversed(wanted.values()), language):
            path = (heldout if one.heldout else data) / one.file
            if not path.is_file():
                raise BadData(f"There is no {path}. Give --data, and --heldout after `python -m zoo heldout`.")
            made += (_language if one.run == LANGUAGE else _one)(name, one, path, rows, progress)
    return made


def _one(name: str, one: Measure, path: Path, rows: int, progress: Callable[[int], object]) -> list[Price]:
    exact: list[dict[str, Any]] = []
    spent = 0.0
    made: list[Price] = []
    for precision in supported():
        engine = Engine(precision=precision)
        if not able(engine.model(name), one):
            return []
        score(engine, one.run, name, path, one.head, min(rows, 8))  # what is imported and made ready does not count
        said: list[dict[str, Any]] = []
        began = time.process_time()
        scored = score(engine, one.run, name, path, one.head, rows, progress=progress, predictions=said.append)
        seconds = time.process_time() - began
        if precision == DEFAULT:
            exact, spent = said, seconds
        same = sum(a["answer"] == b["answer"] for a, b in zip(said, exact, strict=True)) / len(said)
        far = max(_far(a["scores"], b["scores"]) for a, b in zip(said, exact, strict=True))
        points = float(scored.metrics[NAMES[one.run]])
        made.append(Price(name, one.title, scored.rows, precision, points, same, far, spent / seconds))
    return made


def _language(name: str, one: Measure, path: Path, rows: int, progress: Callable[[int], object]) -> list[Price]:
    texts = bits.texts_of(path)[:rows]
    exact: list[float] = []
    spent = 0.0
    made: list[Price] = []
    for precision in supported():
        model = Engine(precision=precision).model(name)
        if not able(model, one):
            return []
        bits.charge(model, texts[:1])
        began = time.process_time()
        charged = bits.charge(model, texts)
        seconds = time.process_time() - began
        progress(len(texts))
        said = [part.bits / part.bytes for part in charged]
        if precision == DEFAULT:
            exact, spent = said, seconds
        far = max(abs(a - b) for a, b in zip(said, exact, strict=True))
        made.append(Price(name, one.title, len(texts), precision, bits.ratio(charged), None, far, spent / seconds))
    return made


def _far(some: dict[str, float], others: dict[str, float]) -> float:
    """Largest difference of a probability among labels that both have."""
    return max((abs(value - others[label]) for label, value in some.items() if label in others), default=0.0)


def table(prices: Sequence[Price]) -> str:
    """Markdown: a row for each model and file, for each precision its points, agreement and gain."""
    kinds = list(dict.fromkeys(one.precision for one in prices))
    lines = ["| model | data | rows | " + " | ".join(kinds) + " |", "|---|---|---:|" + "---|" * len(kinds)]
    cells: dict[tuple[str, str, int], list[str]] = {}
    for one in prices:
        told = f"{one.points:.1f}" if one.same is not None else f"{one.points:.3f} bits per byte"
        if one.precision != DEFAULT:
            same = "" if one.same is None else f"{one.same:.1%} the same, "
            told += f" ({same}{one.farthest:.3f} at most, {one.faster:.2f} x)"
        cells.setdefault((one.model, one.data, one.rows), []).append(told)
    lines += [
        f"| {model} | {data} | {rows:,} | " + " | ".join(said) + " |" for (model, data, rows), said in cells.items()
    ]
    return "\n".join(lines)


def farthest(prices: Sequence[Price]) -> dict[str, float]:
    """Of each precision but the exact one, the largest difference of a probability that was found."""
    found: dict[str, float] = {}
    for one in prices:
        if one.precision != DEFAULT and one.same is not None:
            found[one.precision] = max(found.get(one.precision, 0.0), one.farthest)
    return found


def kept(found: Mapping[str, float]) -> str:
    """Whether each is within what is stated of it, a line for each."""
    words = {name: "within" if far <= WITHIN[name] else "MORE THAN" for name, far in found.items()}
    return "\n".join(
        f"{name}: probabilities differ by {far:.3f} at most, {words[name]} {WITHIN[name]:g}"
        for name, far in found.items()
    )
