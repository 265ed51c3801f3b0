"""results.csv: every figure that a page of this project states, one a row, with its interval and where it comes from.

The one place where figures are kept: cards, README, `python -m zoo show` and the page read it. It is also what tells
`python -m tasks eval --all` what was measured already.
"""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from tasks.evaluate import needs
from zoo import catalog
from zoo.errors import BadData

FILE = catalog.RESULTS
RESAMPLES, SEED, CONFIDENCE = 2000, 0, 0.95
BASELINE = "baseline: "  # begins the name of what is no model
FLOAT = " (float32)"  # ends the name of a model before its matrices were rounded to int8
NAMES = {
    "accuracy": "accuracy",
    "exact_match": "EM",
    "f1": "F1",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "bits_per_byte": "bits per byte",
}


@dataclass(frozen=True)
class Figure:
    """One row: `value` of a metric on a data set, between `low` and `high` in 95 of 100 draws of as many rows."""

    model: str
    family: str
    task: str
    data: str
    rows: int
    metric: str
    value: float
    low: float
    high: float
    parameters: int
    megabytes: float  # of its folder; 0 of a baseline
    milliseconds: float  # to answer one text alone, the median; 0 where there is no such thing
    revision: str
    weights: str  # digest of what answered, the body and one head; empty of a baseline
    digest: str  # of the data file
    limit: int  # only so many first rows were to be read; 0 for all
    date: str
    machine: str
    command: str

    @property
    def baseline(self) -> bool:
        """Whether this is no model."""
        return self.model.startswith(BASELINE)

    @property
    def name(self) -> str:
        """The metric as a page says it."""
        return NAMES[self.metric]

    def said(self) -> str:
        """The value with its interval: 90.5 (89.8 to 91.1); alone where rows to draw from are lacking."""
        digits = 3 if self.metric == "bits_per_byte" else 1
        if self.low == self.high:
            return f"{self.value:.{digits}f}"
        return f"{self.value:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"

    def better_than(self, other: Figure) -> bool:
        """Whether it beats the other outside of both intervals."""
        return self.high < other.low if self.metric == "bits_per_byte" else self.low > other.high


def interval(points: Sequence[np.ndarray], statistic: Callable[..., Any]) -> tuple[float, float]:
    """95 % of what `statistic` gives over rows drawn anew, percentile bootstrap (Efron & Tibshirani 1993, chapter 13).

    `points` are arrays [rows] whose rows are drawn together; `statistic` takes them with an `axis`. A single row tells
    nothing of others: both ends are then its own value.
    """
    if len(points[0]) < 2:
        value = float(statistic(*points, axis=-1))
        return value, value
    library = needs("scipy", lambda: __import__("scipy.stats", fromlist=["bootstrap"]))
    low, high = library.bootstrap(
        tuple(points),
        statistic,
        n_resamples=RESAMPLES,
        batch=100,
        vectorized=True,
        paired=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(low), float(high)


def read(path: Path = FILE) -> list[Figure]:
    """The rows of the file; none when it is not there. Raises BadData for a file of another form."""
    if not path.is_file():
        return []
    kinds = get_type_hints(Figure)
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return [Figure(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(f"{path} is no file of figures of `python -m tasks eval --all` ({error!r}).") from None


def write(figures: Iterable[Figure], path: Path = FILE) -> None:
    """Write the rows at once, so that a run that is stopped leaves a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.part")
    with half.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [spec.name for spec in fields(Figure)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(figure) for figure in figures)
    half.replace(path)


def machine() -> str:
    """What it runs on, for the rows."""
    import torch

    threads = torch.get_num_threads()
    used = f"{threads} thread{'s' if threads > 1 else ''}"
    return f"{os.cpu_count()}-core {platform.machine()} processor, {used}, float32"
