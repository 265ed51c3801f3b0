"""Rows of data files: JSON Lines, CSV and TSV with a header, SQuAD's own JSON; plain, `.gz` or `.xz`. Read by training,
by evaluation and by batches.

What a reader of tables could guess at or fill up (rows of another length, columns of the same name, another encoding)
is an error that names the row.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from zoo.errors import BadData

SEPARATORS = {".csv": ",", ".tsv": "\t"}
MOST_COLUMNS = 100
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
csv.field_size_limit(2**31 - 1)  # how long a text may be is for the tasks to say, and they say it of one row


def open_text(path: Path) -> IO[str]:
    """Open a text file as UTF-8, whatever it is packed with. Raises BadData when it is absent."""
    if not path.is_file():
        raise BadData(f"There is no file {path}. Give the path of a .jsonl or .json file, plain, .gz or .xz.")
    return OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8-sig")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file; SQuAD's nested JSON gives one row a question, with `title`, `id` and all answers.

    Raises BadData, naming the line, for anything that is not readable.
    """
    inner = path.name.removesuffix(".gz").removesuffix(".xz")
    if inner.endswith(".json"):
        yield from _squad(path)
        return
    if not inner.endswith(".jsonl"):
        raise BadData(f"{path.name} is neither .jsonl nor .json (plain, .gz or .xz).")
    try:
        with open_text(path) as file:
            yield from json_lines(file, path.name)
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadData(f"{path} cannot be read to its end ({error}).") from None


def read_table(path: Path, separator: str) -> Iterator[dict[str, str]]:
    """The rows of a CSV or TSV file whose first line names the columns. Raises BadData as `separated` does."""
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise BadData(f"{path.name} cannot be read to its end ({error}).") from None
    yield from separated(decoded(data, path.name), separator, path.name)


def decoded(data: bytes, name: str) -> str:
    """Bytes in UTF-8, with or without a byte order mark, as text. Raises BadData, naming the line, for others."""
    advice = "Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
    if data.startswith(UTF_16):
        raise BadData(f"{name} is written in UTF-16; only UTF-8 is read. {advice}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadData(
            f"{name} is not written in UTF-8: line {line:,} has the byte 0x{data[error.start]:02x}. {advice}"
        ) from None
    if (place := text.find("\0")) >= 0:
        line = text.count("\n", 0, place) + 1
        raise BadData(f"{name} has a NUL byte in line {line:,}; a text file has none. {advice}")
    return text


def json_lines(lines: Iterable[str], name: str) -> Iterator[dict[str, Any]]:
    """An object a line; empty lines are left out. Raises BadData, naming the line."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _object(line, f"{name}, line {number}")


def separated(
    text: str, separator: str, name: str, columns: Sequence[str] | None = None, most: int = MOST_COLUMNS
) -> Iterator[dict[str, str]]:
    """The rows of a table, every cell as it is spelled; the first line names the columns when `columns` do not.

    Raises BadData for a row with more or fewer cells than columns, for quotes that do not close, columns of the same
    name, and more than `most` columns. Rows are counted from 1, without the header.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = 0
    try:
        for cells in reader:
            if not cells:
                continue
            if columns is None:
                columns = _header(cells, name, most)
                continue
            number += 1
            if len(cells) != len(columns):
                raise BadData(
                    f"{name}, row {number:,} (line {reader.line_num:,}) has {_cells(len(cells))}; there are "
                    f"{len(columns)} columns: {', '.join(columns)}. A cell that holds a "
                    f"{_spoken(separator)} stands in double quotes."
                )
            yield dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise BadData(
            f"{name}, row {number + 1:,} (line {reader.line_num:,}) cannot be read: {error}. A cell that begins with "
            'a double quote ends with one, and quotes inside of it are doubled: "He said ""no""."'
        ) from None


def _header(cells: Sequence[str], name: str, most: int) -> tuple[str, ...]:
    """The columns' names; one without a name, such as the index of a data frame, is called by its place."""
    if len(cells) > most:
        raise BadData(
            f"{name} has {len(cells):,} columns; at most {most} are read. Leave out those that do not matter."
        )
    columns = tuple(cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1))
    counts = Counter(column.lower() for column in columns)
    if twice := [column for column in columns if counts[column.lower()] > 1]:
        raise BadData(
            f"{name} has {len(twice)} columns named {twice[0]!r} (capitals do not count). Give each a name of its own."
        )
    return columns


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def _spoken(separator: str) -> str:
    return {",": "comma", "\t": "tab", ";": "semicolon"}.get(separator, separator)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # JSONDecodeError is a ValueError, and so is a number too long
        raise BadData(f"{where} is not JSON: {error}.") from None
    if not isinstance(row, dict):
        raise BadData(f"{where} holds no JSON object.")
    return row


def _squad(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open_text(path) as file:
            articles = json.load(file)["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for qa in paragraph["qas"]:
                    yield {
                        "id": qa["id"],
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": qa["question"],
                        "answers": {
                            "text": [a["text"] for a in qa["answers"]],
                            "answer_start": [a["answer_start"] for a in qa["answers"]],
                        },
                        "ambiguous_start": qa.get("ambiguous_start", False),
                    }
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise BadData(f"{path.name} is not in SQuAD's format ({error!r}).") from None
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadData(f"{path} cannot be read to its end ({error}).") from None
