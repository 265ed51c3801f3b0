"""results.csv as a reader sees it: the tables of the README, of the cards and of `python -m tasks eval --all`.

What stands between two markers of a page is written by `python -m tasks figures`; a test compares it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks import figures
from tasks.figures import BASELINE, FLOAT, Figure
from zoo import catalog
from zoo.pages import between_markers
from zoo.parity import aligned

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
NOTHING = "-"
DEAREST = 0.5  # points that rounding to int8 may cost

# The columns of the two tables: a heading, a data set, the metric that stands for it.
ANSWERS = (
    ("topic, AG News test, accuracy", "AG News test", "accuracy"),
    ("sentiment, SST-2 dev, accuracy", "SST-2 dev", "accuracy"),
    ("NLI, SNLI dev, accuracy", "SNLI dev", "accuracy"),
    ("QA, SQuAD 1.1 dev, F1", "SQuAD 1.1 dev, unseen articles", "f1"),
)
WRITING = (
    ("WikiText-2 test, bits per byte", "WikiText-2 test", "bits_per_byte"),
    ("as prose", "WikiText-2 test, as prose", "bits_per_byte"),
    ("Wikipedia, bits per byte", "Wikipedia, unread articles", "bits_per_byte"),
    ("Wikipedia leads, ROUGE-1", "Wikipedia leads", "rouge1"),
    ("ROUGE-2", "Wikipedia leads", "rouge2"),
    ("ROUGE-L", "Wikipedia leads", "rougeL"),
    ("SciTLDR test, ROUGE-1", "SciTLDR test", "rouge1"),
    ("ROUGE-2", "SciTLDR test", "rouge2"),
    ("ROUGE-L", "SciTLDR test", "rougeL"),
)
Columns = Sequence[tuple[str, str, str]]

# What the checkpoints were to reach, in the order of the columns; of language models, on WikiText-2.
AIMS: dict[str, tuple[float, ...]] = {
    "bert-mini": (92.5, 90.5, 84, 78),
    "elmo-mini": (90, 84, 74, 58, 1.7),
    "xlnet-mini": (89.5, 83, 70, 45, 1.7),
    "gpt-mini": (89.5, 83, 70, 40, 1.6),
    "ulmfit-mini": (90, 84, 68, 35, 1.7),
}
AIMED: Columns = (*ANSWERS, WRITING[0])


class Kept:
    """Figures by model, data set and metric."""

    def __init__(self, rows: Sequence[Figure]) -> None:
        self._rows = {(row.model, row.data, row.metric): row for row in rows}
        self.models = list(dict.fromkeys(row.model for row in rows if not row.baseline and FLOAT not in row.model))
        self.baselines = list(dict.fromkeys(row.model for row in rows if row.baseline))

    def get(self, model: str, data: str, metric: str) -> Figure | None:
        """The row of a cell, if it was measured."""
        return self._rows.get((model, data, metric))

    def of(self, model: str) -> list[Figure]:
        """All rows of a model."""
        return [row for row in self._rows.values() if row.model == model]

    def baseline(self, data: str, metric: str) -> Figure | None:
        """The best simple method for a cell."""
        rows = [row for row in (self.get(name, data, metric) for name in self.baselines) if row is not None]
        best = min if metric == "bits_per_byte" else max
        return best(rows, key=lambda row: row.value) if rows else None


def across(kept: Kept, columns: Columns, aims: bool = False) -> str:
    """Models and, below them, baselines by the columns that any of them has, with intervals; with `aims`, those too."""
    every = [*kept.models, *kept.baselines]
    names = [name for name in every if any(kept.get(name, data, metric) for _, data, metric in columns)]
    if not names:
        return "Nothing is measured yet."
    cells = [["", "parameters", "MB", *(heading for heading, _, _ in columns)]]
    for name in names:
        mine = kept.of(name)[0]
        parameters = max(row.parameters for row in kept.of(name))
        size = [
            f"{parameters / 1e6:.1f} M" if parameters else NOTHING,
            f"{mine.megabytes:g}" if mine.megabytes else NOTHING,
        ]
        cells.append([name, *size])
        for column in columns:
            row = kept.get(name, *column[1:])
            cells[-1].append(row.said() + (_aim(name, column) if aims else "") if row else NOTHING)
    return "\n".join(aligned(cells, right=range(1, len(cells[0]))))


def _aim(model: str, column: tuple[str, str, str]) -> str:
    aims = AIMS.get(model, ())
    place = AIMED.index(column) if column in AIMED else len(aims)
    return f", aim {aims[place]:g}" if place < len(aims) else ""


def failings(kept: Kept) -> list[str]:
    """In words: aims that were missed, cells that do not beat their baseline, and what int8 costs where it is much."""
    said = []
    for model in kept.models:
        aims = AIMS.get(model, ())
        for column, aim in zip(AIMED[: len(aims)], aims, strict=True):  # the last column is of language models only
            row = kept.get(model, *column[1:])
            if row is None:
                said.append(f"{model}: {column[1]} is not measured; the aim is {aim:g}.")
            elif row.value > aim if row.metric == "bits_per_byte" else row.value < aim:
                said.append(f"{model}: {row.said()} on {row.data}; the aim is {aim:g}.")
        for _, data, metric in (*ANSWERS, ("", "SNLI test", "accuracy"), *WRITING):
            row, simple = kept.get(model, data, metric), kept.baseline(data, metric)
            if row and simple and not row.better_than(simple):
                said.append(
                    f"{model}: {row.said()} {row.name} on {data} is not better than {simple.said()} of "
                    f"{simple.model.removeprefix(BASELINE)} outside the interval."
                )
        for row, whole in _pairs(kept, model):
            if abs(row.value - whole.value) > DEAREST and row.metric != "bits_per_byte":
                said.append(f"{model}: int8 changes {row.name} on {row.data} by {row.value - whole.value:+.2f} points.")
    return said


def rounding(kept: Kept, models: Sequence[str]) -> str:
    """What int8 costs, cell by cell; nothing where no weights before rounding were measured."""
    cells = [["", "data", "rows", "metric", "int8", "float32", "difference"]]
    for model in models:
        for row, whole in _pairs(kept, model):
            digits = 4 if row.metric == "bits_per_byte" else 2
            values = [f"{row.value:.{digits}f}", f"{whole.value:.{digits}f}", f"{row.value - whole.value:+.{digits}f}"]
            cells.append([model, row.data, f"{row.rows:,}", row.name, *values])
    return "\n".join(aligned(cells, right=(2, 4, 5, 6))) if len(cells) > 1 else ""


def _pairs(kept: Kept, model: str) -> list[tuple[Figure, Figure]]:
    """Each row of a model with that of its weights before rounding, of the same rows of the same file."""
    pairs = [(row, kept.get(model + FLOAT, row.data, row.metric)) for row in kept.of(model)]
    return [(a, b) for a, b in pairs if b and (a.rows, a.digest) == (b.rows, b.digest)]


def of_card(kept: Kept, model: str) -> str:
    """The figures of one checkpoint, each with the best simple method beside it and what to run for it."""
    lines = ["| data | rows | result | simplest that does best | ms a text | command |", "|---|---:|---|---|---:|---|"]
    mine = kept.of(model)
    for data in dict.fromkeys(row.data for row in mine):
        rows = [row for row in mine if row.data == data]
        result = "<br>".join(f"{row.name} {row.said()}" for row in rows)
        simple = [kept.baseline(data, row.metric) for row in rows]
        beside = "<br>".join(f"{r.said()}, {r.model.removeprefix(BASELINE)}" for r in simple if r) or NOTHING
        pace = f"{rows[0].milliseconds:,.0f}" if rows[0].milliseconds else NOTHING
        lines.append(f"| {data} | {rows[0].rows:,} | {result} | {beside} | {pace} | `{rows[0].command}` |")
    lines += ["", f"In brackets 95 % intervals. {_when(mine)}"]
    cost = rounding(kept, [model])
    return "\n".join([*lines, *(["", "What storing the matrices as int8 costs:", "", cost] if cost else [])])


def _when(rows: Sequence[Figure]) -> str:
    """When and on what the rows were measured."""
    dates = sorted({row.date for row in rows})
    machines = ", ".join(sorted({row.machine for row in rows}))
    revisions = ", ".join(sorted({row.revision for row in rows}))
    said = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"Measured {said} on a {machines}, revision {revisions}."


def of_readme(kept: Kept) -> str:
    """Both tables of all shipped checkpoints."""
    return f"{across(kept, ANSWERS)}\n\n{across(kept, WRITING)}\n\nIn brackets 95 % intervals."


def pages(kept: Kept | None = None) -> dict[Path, str]:
    """Every page that states figures, as it should read: the card of each shipped checkpoint that was measured, and the
    README. Raises BadData for one without markers."""
    kept = kept or Kept(figures.read())
    made = {}
    for row in catalog.CHECKPOINTS:
        card = catalog.EMBEDDED / row.source / "README.md"
        if row.embedded and not row.own and row.name in kept.models:
            made[card] = between_markers(card.read_text(encoding="utf-8"), of_card(kept, row.name), BEGIN, END)
    readme = ROOT / "README.md"
    made[readme] = between_markers(readme.read_text(encoding="utf-8"), of_readme(kept), BEGIN, END)
    return made


def write_pages() -> None:
    """Write the figures into the cards and the README."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


def report(rows: Sequence[Figure]) -> str:
    """What `eval --all` prints: both tables with the aims, what int8 costs, and what falls short."""
    kept = Kept(rows)
    cost = rounding(kept, kept.models)
    short = failings(kept)
    parts = [
        across(kept, ANSWERS, aims=True),
        across(kept, WRITING, aims=True),
        *([cost] if cost else []),
        *(["\n".join(["Falls short:", *(f"- {line}" for line in short)])] if short else []),
    ]
    return "\n\n".join(parts)
