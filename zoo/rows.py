"""Rows of data files: JSON Lines and SQuAD's own JSON; plain, `.gz` or `.xz`. Read by training and by evaluation."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from zoo.errors import BadData


def open_text(path: Path) -> IO[str]:
    """Open a text file as UTF-8, whatever it is packed with. Raises BadData when it is absent."""
    openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
    if not path.is_file():
        raise BadData(f"There is no file {path}. Give the path of a .jsonl or .json file, plain, .gz or .xz.")
    return openers.get(path.suffix, open)(path, "rt", encoding="utf-8")


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
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _object(line, f"{path.name}, line {number}")
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise BadData(f"{path} cannot be read to its end ({error}).") from None


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
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
