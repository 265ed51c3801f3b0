"""Evaluation files that no recipe trains on, out of the folder of data sets: `python -m zoo heldout`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from zoo.rows import open_text, read_rows
from zoo.training import text
from zoo.training.lessons import in_training_half

MOST_CHARACTERS = 4000  # of an article's body: more than any of the small models reads
TITLE = re.compile(r"^ = (?!= ).*(?<! =) = *$(?=\n \n)", re.MULTILINE)  # of an article in WikiText
MOST_BYTES = 1_000_000  # of articles that language models are scored on: about as much as WikiText-2's test file


def write(data: Path, out: Path) -> dict[str, int]:
    """Write the files and return their rows by name.

    SQuAD dev articles whose unanswerable questions no recipe shows; of the Wikipedia shard that none reads, whole
    articles, and bodies with their lead sentence; WikiText-2's test articles written as other texts are; test papers of
    SciTLDR with all their summaries.
    """
    out.mkdir(parents=True, exist_ok=True)
    leads = (text.lead_of(row["text"]) for row in read_rows(data / "lm" / text.HELD_OUT_SHARD))
    papers = read_rows(data / "summarization" / "scitldr_a_test.jsonl.gz")
    files = {
        "squad_v1.1_unseen.jsonl": _unseen(data / "qa" / "squad_v1.1_dev.json.gz"),
        "squad_v2.0_unseen.jsonl": _unseen(data / "qa" / "squad_v2.0_dev.json.gz"),
        "wikipedia_text.jsonl": _first(MOST_BYTES, text.texts([data / "lm" / text.HELD_OUT_SHARD])),
        "wikitext2_prose.jsonl": ({"text": prose(one)} for one in articles(data / "lm" / "wikitext2_test.txt.gz")),
        "wikipedia_leads.jsonl": (
            {"document": lead.document[:MOST_CHARACTERS], "summary": lead.summary} for lead in leads if lead
        ),
        "scitldr_test.jsonl": ({"document": " ".join(row["source"]), "summary": row["target"]} for row in papers),
    }
    return {name: _save(out / name, rows) for name, rows in files.items()}


def articles(path: Path) -> list[str]:
    """The articles of a WikiText file, cut before their titles: together they are the whole file."""
    with open_text(path) as file:
        whole = file.read()
    begins = [match.start() for match in TITLE.finditer(whole)]
    cuts = [0, *begins[1:], len(whole)]  # what stands before the first title belongs to the first article
    return [whole[a:b] for a, b in pairwise(cuts) if a < b]


def prose(article: str) -> str:
    """An article of WikiText with its spaces where prose has them, less the equals signs around headings. Words that
    WikiText replaced by <unk> stay replaced."""
    paragraphs = []
    for line in filter(None, (line.strip() for line in article.split("\n"))):
        line = re.sub(r"^(?:= )+(.*?)(?: =)+$", r"\1", line)
        line = re.sub(r" @(.)@ ", r"\1", line)
        line = re.sub(r'" (.*?) "', r'"\1"', line)
        line = re.sub(r" ([.,;:!?%)\]}]|n't\b|'(?:s|t|m|d|re|ve|ll)?(?!\w))", r"\1", line)
        paragraphs.append(re.sub(r"([(\[{$£]) ", r"\1", line))
    return "\n\n".join(paragraphs)


def _unseen(path: Path) -> Iterable[dict[str, Any]]:
    return (row for row in read_rows(path) if not in_training_half(row))


def _first(most: int, texts: Iterable[str]) -> Iterable[dict[str, str]]:
    """Whole texts, as rows, until they have `most` bytes together."""
    total = 0
    for one in texts:
        total += len(one.encode())
        if total > most:
            return
        yield {"text": one}


def _save(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)
