"""The figures of the shipped checkpoints: `python -m tasks figures --data FOLDER`.

Measured by the code of `python -m tasks eval`, kept as results.json beside the weights, and written into the cards and
the README between two markers.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.evaluate import baseline_lead, evaluate
from zoo import catalog
from zoo.engine import Engine
from zoo.errors import BadData
from zoo.pages import between_markers

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
UNSEEN = "python -m zoo heldout --data DATA --out HELDOUT"


@dataclass(frozen=True)
class Measure:
    """One row of a card: a task on a file. `heldout` files are those that `python -m zoo heldout` writes."""

    title: str
    task: str
    file: str
    head: str | None = None
    heldout: bool = False
    limit: int | None = None  # only the first rows

    def command(self, model: str) -> str:
        """What a reader runs to see the same figure."""
        words = ["python -m tasks eval", self.task, "--model", model]
        words += ["--head", self.head] if self.head else []
        words += ["--limit", str(self.limit)] if self.limit else []
        return " ".join([*words, "--data", f"{'HELDOUT' if self.heldout else 'DATA'}/{self.file}"])


MEASURES: dict[str, tuple[Measure, ...]] = {
    "bert-mini": (
        Measure("SNLI dev", "nli", "nli/snli_dev.jsonl.gz"),
        Measure("SNLI test", "nli", "nli/snli_test.jsonl.gz"),
        Measure("SQuAD 1.1 dev, unseen articles", "qa", "squad_v1.1_unseen.jsonl", heldout=True),
        Measure("SQuAD 2.0 dev, unseen articles", "qa", "squad_v2.0_unseen.jsonl", heldout=True, limit=3000),
        Measure("AG News test", "classify", "classification/ag_news_test.jsonl.gz", "topic"),
        Measure("SST-2 dev", "classify", "classification/sst2_dev.jsonl.gz", "sentiment"),
    ),
    "gpt-mini": (
        Measure("Wikipedia leads", "summarize", "wikipedia_leads.jsonl", heldout=True),
        Measure("SciTLDR test", "summarize", "scitldr_test.jsonl", heldout=True),
    ),
}


def measure(
    models: Sequence[str], data: Path, heldout: Path, engine: Engine, progress: Callable[[str], object]
) -> dict[str, list[dict[str, Any]]]:
    """Run every measure of the models; raises BadData when a file is not there."""
    found: dict[str, list[dict[str, Any]]] = {}
    for model in models:
        found[model] = []
        for one in MEASURES[model]:
            progress(f"{model}: {one.title}")
            found[model].append(measured(one, model, data, heldout, engine))
    return found


def measured(one: Measure, model: str, data: Path, heldout: Path, engine: Engine) -> dict[str, Any]:
    """Run one measure; a summarizer's row has the score of each document's first sentence beside it."""
    path = (heldout if one.heldout else data) / one.file
    if not path.is_file():
        raise BadData(f"There is no {path}. Give --data, and --heldout after `{UNSEEN}`.")
    made = evaluate(engine, one.task, model, path, one.head, one.limit)
    row = {"title": one.title, "command": one.command(model), **made}
    if one.task == "summarize":
        lead = baseline_lead(path, one.limit)
        row["baseline"] = {"first sentence": {name: round(value, 2) for name, value in lead.items()}}
    return row


def save(model: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Keep the rows beside the weights, with date, machine and the revision they belong to."""
    folder = catalog.EMBEDDED / catalog.get(model).source
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = {
        "model": model,
        "revision": config["zoo"]["revision"],
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()}-core {platform.machine()} processor, float32",
        "results": list(rows),
    }
    path = folder / "results.json"
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def table(kept: Mapping[str, Any], commands: bool) -> str:
    """The figures as Markdown; with `commands`, each with what to run for it."""
    names = {"accuracy": "accuracy", "macro_f1": "macro F1", "exact_match": "EM", "f1": "F1"}
    lines = ["| data | rows | result |" + (" command |" if commands else "")]
    lines.append("|---|---:|---|" + ("---|" if commands else ""))
    for row in kept["results"]:
        said = ", ".join(f"{names.get(name, name.upper())} {value:.2f}" for name, value in row["metrics"].items())
        for title, baseline in row.get("baseline", {}).items():
            said += f" ({title}: " + ", ".join(f"{n.upper()} {v:.2f}" for n, v in baseline.items()) + ")"
        lines.append(f"| {row['title']} | {row['rows']:,} | {said} |" + (f" `{row['command']}` |" if commands else ""))
    lines += ["", f"Measured {kept['date']} on a {kept['machine']}, revision {kept['revision']}."]
    return "\n".join(lines)


def read(model: str) -> dict[str, Any]:
    """What `save` kept. Raises BadData when nothing was measured yet."""
    path = catalog.EMBEDDED / catalog.get(model).source / "results.json"
    if not path.is_file():
        raise BadData(f"{model} has no results.json; measure it with `python -m tasks figures`.")
    return json.loads(path.read_text(encoding="utf-8"))


def pages() -> dict[Path, str]:
    """Every page that states figures, as it should read: each card, and the README."""
    made = {}
    for model in MEASURES:
        card = catalog.EMBEDDED / catalog.get(model).source / "README.md"
        made[card] = between_markers(card.read_text(encoding="utf-8"), table(read(model), commands=True), BEGIN, END)
    readme = ROOT / "README.md"
    both = "\n\n".join(f"**{model}**\n\n{table(read(model), commands=False)}" for model in MEASURES)
    made[readme] = between_markers(readme.read_text(encoding="utf-8"), both, BEGIN, END)
    return made


def write_pages() -> None:
    """Write the figures into the cards and the README."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
