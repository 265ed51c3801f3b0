"""A user's file of rows -> rows that can be learnt from, or a list of what is wrong with which row.

Read are CSV and TSV with a header line, JSON Lines, and SQuAD's JSON. Columns are `text`, `label`; `premise`,
`hypothesis`, `label`; or `question`, `context`, `answer` and, where the answer occurs more than once, `answer_start`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import BadData, did_you_mean
from zoo.rows import SEPARATORS, read_rows, read_table

COLUMNS = {
    "classify": ("text", "label"),
    "nli": ("premise", "hypothesis", "label"),
    "qa": ("question", "context", "answer"),
}
NLI_LABELS = ("entailment", "neutral", "contradiction", "not_entailment")  # what the task and its tab can say
FEWEST = 8  # rows
MOST_LISTED = 10  # of the wrong rows
DEV_SHARE, MOST_DEV = 0.1, 1000

Row = dict[str, Any]


def read(path: Path, task: str) -> list[Row]:
    """The rows of a file for a task, checked. Raises BadData that names the wrong rows by their number, from 1."""
    rows = _table(path) if _kind(path) in SEPARATORS else list(read_rows(path))
    if not rows:
        raise BadData(f"{path.name} has no rows.")
    names = COLUMNS[task]
    given = rows[0].keys()
    absent = [name for name in names if name not in given and not (name == "answer" and "answers" in given)]
    if absent:
        raise BadData(
            f"{path.name} has no column {' and no '.join(absent)}; it has {', '.join(given)}. {task} reads "
            f"{', '.join(names)}." + "".join(did_you_mean(name, given) for name in absent)
        )
    checked = [(number, *_checked(row, task)) for number, row in enumerate(rows, 1)]
    wrong = [f"row {number}: {what}" for number, _, what in checked if what]
    if wrong:
        more = f"; and {len(wrong) - MOST_LISTED} more" if len(wrong) > MOST_LISTED else ""
        raise BadData(f"{len(wrong)} of {len(rows):,} rows of {path.name} are wrong: "
                      f"{'; '.join(wrong[:MOST_LISTED])}{more}. Mend them or take them out.")  # fmt: skip
    return [row for _, row, _ in checked]


def _kind(path: Path) -> str:
    """The ending that says how a file is written, what packs it left out. Raises BadData for others."""
    name = path.name.removesuffix(".gz").removesuffix(".xz")
    ending = Path(name).suffix.lower()
    if ending not in (*SEPARATORS, ".jsonl", ".json"):
        raise BadData(f"{path.name} is neither .csv, .tsv, .jsonl nor SQuAD's .json (plain, .gz or .xz).")
    return ending


def _table(path: Path) -> list[Row]:
    """The rows of a CSV or TSV file with names of columns in small letters."""
    rows = read_table(path, SEPARATORS[_kind(path)])
    return [{name.lower(): cell for name, cell in row.items()} for row in rows]


def _checked(row: Mapping[str, Any], task: str) -> tuple[Row, str]:
    """A row in the form that training reads, and what is wrong with it."""
    texts = [name for name in COLUMNS[task] if name not in ("label", "answer")]
    for name in texts:
        value = row.get(name)
        if not isinstance(value, str):
            return {}, f"{name} is missing" if value is None else f"{name} is no text"
        if not value.strip():
            return {}, f"{name} is empty"
    made: Row = {name: row[name] for name in texts}
    if task == "qa":
        return _with_answers(row, made)
    label = row.get("label")
    made["label"] = str(label).strip() if isinstance(label, str | int) else ""
    if not made["label"]:
        return {}, "label is missing"
    if task == "nli":
        made["label"] = made["label"].lower()
        if made["label"] not in NLI_LABELS:
            return {}, f"label {label!r} is none of {', '.join(NLI_LABELS)}"
    return made, ""


def _with_answers(row: Mapping[str, Any], made: Row) -> tuple[Row, str]:
    """The answer's text with its place in the context; an empty answer means that the context holds none."""
    context = made["context"]
    if isinstance(row.get("answers"), Mapping):  # as in SQuAD
        made["answers"] = {"text": list(row["answers"]["text"])[:1]}
        made["answers"]["answer_start"] = list(row["answers"].get("answer_start", ()))[:1]
    else:
        answer, start = str(row.get("answer") or ""), row.get("answer_start")
        made["answers"] = {"text": [answer] if answer else [], "answer_start": []}
        if answer and start not in (None, ""):
            if not str(start).strip().lstrip("-").isdecimal():
                return {}, f"answer_start {start!r} is no whole number"
            made["answers"]["answer_start"] = [int(start)]
    for answer in made["answers"]["text"]:
        starts = made["answers"]["answer_start"] or [context.find(answer)]
        made["answers"]["answer_start"] = starts
        if starts[0] < 0 or context[starts[0] : starts[0] + len(answer)] != answer:
            where = "does not stand at its answer_start" if answer in context else "does not stand in its context"
            return {}, f"the answer {answer[:40]!r} {where}"
    return made, ""


def labels_in(rows: Sequence[Row], name: str) -> tuple[str, ...]:
    """The labels of the rows in a fixed order. Raises BadData for fewer than two, or one that stands only once."""
    counts = Counter(row["label"] for row in rows)
    if len(counts) < 2:
        raise BadData(
            f"All {len(rows):,} rows of {name} have the label {next(iter(counts))!r}; two or more are needed."
        )
    once = [label for label, count in counts.items() if count < 2]
    if once:
        raise BadData(
            f"{name} has only one row with the label {' and with '.join(map(repr, once[:5]))}. Give at least two, one "
            "to learn from and one to check, or leave the label out."
        )
    known = [label for label in NLI_LABELS if label in counts]
    return tuple(known) if set(known) == set(counts) else tuple(sorted(counts))


def balance(rows: Sequence[Row]) -> str:
    """How many rows each label has, and a word where one has ten times as many as another."""
    counts = Counter(row["label"] for row in rows).most_common()
    said = ", ".join(f"{label} {count:,}" for label, count in counts[:20])
    (most, high), (least, low) = counts[0], counts[-1]
    if high >= 10 * low:
        said += f"; {most!r} has {high // low} times as many rows as {least!r}, so look at macro F1, not at accuracy"
    return said


def split(rows: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """(training, dev) rows: a tenth to watch by, of each label alike and at least one. Raises BadData for too few."""
    if len(rows) < FEWEST:
        raise BadData(
            f"There are only {len(rows)} rows; {FEWEST} is the least, and some hundred are needed to be good."
        )
    chance = random.Random(seed)
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        by_label.setdefault(row.get("label", ""), []).append(row)
    dev: list[Row] = []
    train: list[Row] = []
    share = min(DEV_SHARE, MOST_DEV / len(rows))
    for mine in by_label.values():
        chance.shuffle(mine)
        count = max(1, round(len(mine) * share))
        dev += mine[:count]
        train += mine[count:]
    chance.shuffle(train)
    return train, dev
