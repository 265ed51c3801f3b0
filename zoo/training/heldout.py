"""Evaluation files that no recipe trains on, out of the folder of data sets: `python -m zoo heldout`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo.rows import read_rows
from zoo.training import text
from zoo.training.bert_mini import in_training_half

MOST_CHARACTERS = 4000  # of an article's body: more than any of the small models reads


def write(data: Path, out: Path) -> dict[str, int]:
    """Write the files and return their rows by name.

    SQuAD dev articles whose unanswerable questions bert-mini never saw; bodies of Wikipedia articles of the shard
    that gpt-mini never saw, with their lead sentence; test papers of SciTLDR with all their summaries.
    """
    out.mkdir(parents=True, exist_ok=True)
    leads = (text.lead_of(row["text"]) for row in read_rows(data / "lm" / text.HELD_OUT_SHARD))
    papers = read_rows(data / "summarization" / "scitldr_a_test.jsonl.gz")
    files = {
        "squad_v1.1_unseen.jsonl": _unseen(data / "qa" / "squad_v1.1_dev.json.gz"),
        "squad_v2.0_unseen.jsonl": _unseen(data / "qa" / "squad_v2.0_dev.json.gz"),
        "wikipedia_leads.jsonl": (
            {"document": lead.document[:MOST_CHARACTERS], "summary": lead.summary} for lead in leads if lead
        ),
        "scitldr_test.jsonl": ({"document": " ".join(row["source"]), "summary": row["target"]} for row in papers),
    }
    return {name: _save(out / name, rows) for name, rows in files.items()}


def _unseen(path: Path) -> Iterable[dict[str, Any]]:
    return (row for row in read_rows(path) if not in_training_half(row))


def _save(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)
