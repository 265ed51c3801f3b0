"""What someone gives to be answered in one go, a file or pasted text -> a Sheet: rows, and which column is what.

Files are CSV or TSV with a header, or JSON Lines. Pasted text may be the same, or go without a header: a text a line,
or cells with tabs or commas between.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tasks import TASKS
from zoo.errors import BadData, InputEmpty, did_you_mean
from zoo.rows import MOST_COLUMNS, decoded, json_lines, separated

MOST_ROWS = 5_000  # at once on the page; the command line takes any number
MOST_BYTES = 10 * 2**20
ENDINGS = (".csv", ".tsv", ".jsonl")
PASTED = "The pasted text"

COLUMNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {  # task -> field -> names that its column may have
    "classify": {"text": ("text", "sentence", "document")},
    "nli": {"premise": ("premise", "sentence1"), "hypothesis": ("hypothesis", "sentence2")},
    "qa": {"question": ("question",), "context": ("context", "passage")},
    "summarize": {"text": ("text", "document")},
}
GOLD: Mapping[str, tuple[str, ...]] = {  # task -> names of the column with what is right
    "classify": ("label", "gold_label", "gold"),
    "nli": ("label", "gold_label", "gold"),
    "qa": ("answer", "answers", "gold"),
    "summarize": ("summary", "gold"),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Sheet:
    """Rows for a task. `fields` are the columns of its texts in the order of the task; `gold` is that of the right
    answers, if there is one."""

    task: str
    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    fields: tuple[str, ...]
    gold: str | None

    def texts(self, index: int) -> list[Any]:
        """The texts of a row; what is not there is an empty one."""
        row = self.rows[index]
        return [("" if row.get(name) is None else row[name]) for name in self.fields]


def read_file(task: str, path: Path, gold: str = "", most: int | None = MOST_ROWS) -> Sheet:
    """The rows of a file. `gold` names the column of the right answers, else it is found by name.

    `most` None takes any number of rows and bytes. Raises BadData that names the file, the row, and what is allowed.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise BadData(f"{path.name} is none of {', '.join(ENDINGS)}. Save it as one of them.")
    if not path.is_file():
        raise BadData(f"There is no file {path}.")
    size = path.stat().st_size
    if most is not None and size > MOST_BYTES:
        raise BadData(
            f"{path.name} has {size / 2**20:.1f} MB; at most {MOST_BYTES // 2**20} MB are read here. Split it."
        )
    text = decoded(path.read_bytes(), path.name)
    if ending == ".jsonl":
        rows: Iterator[Row] = json_lines(io.StringIO(text), path.name)
    else:
        rows = separated(text, _separator(text), path.name)
    return _sheet(task, rows, path.name, gold, most)


def read_text(task: str, text: str, gold: str = "", most: int | None = MOST_ROWS) -> Sheet:
    """The rows of pasted text: JSON Lines, a table with or without a header, or a text a line where a task takes one.

    Raises BadData as `read_file` does, InputEmpty when there is none.
    """
    if not text.strip():
        raise InputEmpty("There are no rows. Paste some, or give a file.")
    if len(text) > MOST_BYTES:
        raise BadData(f"{PASTED} has {len(text):,} characters; at most {MOST_BYTES:,} are read. Split it.")
    text = decoded(text.encode("utf-8", "replace"), PASTED)
    if _is_json(text) or (len(COLUMNS[task]) > 1 and text.lstrip().startswith("{")):
        rows: Iterator[Row] = json_lines(io.StringIO(text), PASTED)
    else:
        rows = _lines(task, text, most) if len(COLUMNS[task]) == 1 else _pairs(task, text)
    return _sheet(task, rows, PASTED, gold, most)


def _lines(task: str, text: str, most: int | None) -> Iterator[Row]:
    """Rows of a task that takes one text: a table if it has a header or a tab in every line, else a text a line."""
    enough = most + 2 if most is not None else None  # a header, and one row more than is allowed
    lines = list(islice((line for line in io.StringIO(text) if line.strip()), enough))
    separator = _separator(lines[0])
    (field,) = COLUMNS[task]
    head = _cells(lines[0], separator)
    if _names_columns(task, head):
        if len(head) > 1:
            return separated(text, separator, PASTED)
        field, lines = head[0], lines[1:]
    elif {line.count("\t") for line in lines} == {1}:
        return separated(text, "\t", PASTED, (field, GOLD[task][0]))
    return ({field: line.strip()} for line in lines)


def _pairs(task: str, text: str) -> Iterator[Row]:
    """Rows of a task that takes two texts, with a tab or a comma between."""
    first = next(line for line in io.StringIO(text) if line.strip())
    separator = "\t" if "\t" in first else ","
    cells = _cells(first, separator)
    if _names_columns(task, cells):
        return separated(text, separator, PASTED)
    names = (*COLUMNS[task], GOLD[task][0])
    if len(cells) not in (len(names) - 1, len(names)):
        raise BadData(
            f"The first line has {len(cells)} cell{'s' * (len(cells) != 1)}. {reads(task)} Put a tab or a comma "
            "between them, and double quotes around a cell that holds commas; or name the columns in the first line."
        )
    return separated(text, separator, PASTED, names[: len(cells)])


def reads(task: str) -> str:
    """Which columns a task reads, in a sentence."""
    names = " and ".join(COLUMNS[task])
    return f"{TASKS[task].title} reads {names} and, if it is there, {GOLD[task][0]}."


def _sheet(task: str, rows: Iterable[Row], name: str, gold: str, most: int | None) -> Sheet:
    """Check how many rows there are, and find the columns."""
    kept: list[Row] = []
    columns: dict[str, None] = {}
    for row in islice(rows, most + 1 if most is not None else None):
        kept.append(row)
        columns |= dict.fromkeys(row)
        if len(columns) > MOST_COLUMNS:
            raise BadData(f"{name} has more than {MOST_COLUMNS} columns. Leave out those that do not matter.")
    if not kept:
        raise BadData(f"{name} has no rows.")
    if most is not None and len(kept) > most:
        raise BadData(
            f"{name} has more than {most:,} rows; that many are answered at once. Split it, or run "
            f"`python -m tasks batch {task}`, which takes any number."
        )
    found = {field: _found(names, columns) for field, names in COLUMNS[task].items()}
    if absent := [field for field, column in found.items() if column is None]:
        raise BadData(
            f"{name} has no column {' and no '.join(absent)}; it has {', '.join(columns)}. {reads(task)}"
            + "".join(did_you_mean(field, columns) for field in absent)
        )
    right = _found((gold,), columns) if gold else _found(GOLD[task], columns)
    if gold and right is None:
        raise BadData(
            f"{name} has no column {gold!r}; it has {', '.join(columns)}.{did_you_mean(gold, columns)} Choose one of "
            "these for the right answers, or none."
        )
    fields = tuple(column for column in found.values() if column is not None)
    return Sheet(task, name, tuple(columns), tuple(kept), fields, right)


def _found(names: Sequence[str], columns: Iterable[str]) -> str | None:
    """The first column with one of these names; capitals do not count."""
    by_name = {column.lower().strip(): column for column in columns}
    return next((by_name[name.lower()] for name in names if name.lower() in by_name), None)


def _names_columns(task: str, cells: Sequence[str]) -> bool:
    """Whether a first line is a header: it has the name of a column that the task reads."""
    known = {name for names in COLUMNS[task].values() for name in names}
    return any(cell.strip().lower() in known for cell in cells)


def _separator(text: str) -> str:
    """What stands between the cells of the first line: spreadsheets write commas, tabs or, in much of Europe,
    semicolons."""
    first = text.lstrip().partition("\n")[0]
    return max((",", "\t", ";"), key=first.count)


def _cells(line: str, separator: str) -> list[str]:
    """The cells of one line, or the line itself where quotes are out of order."""
    try:
        return next(csv.reader([line.strip("\r\n")], delimiter=separator, strict=True))
    except csv.Error:
        return [line]


def _is_json(text: str) -> bool:
    """Whether the first line is a JSON object."""
    first = text.lstrip().partition("\n")[0]
    if not first.startswith("{"):
        return False
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False
