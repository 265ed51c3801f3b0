"""A user's own checkpoint folder as a row of the catalog, so that every menu offers it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo import catalog
from zoo.catalog import Checkpoint
from zoo.contracts import HeadSpec
from zoo.errors import Unsupported
from zoo.models.shelf import FAMILIES
from zoo.weights import keymap
from zoo.weights.formats import weight_files
from zoo.weights.load import NATIVE, open_folder

VARIABLE = "ZOO_MODELS"  # folders, separated as in PATH
NLI_LABELS = frozenset({"entailment", "neutral", "contradiction", "not_entailment"})


def folders(given: Iterable[str]) -> list[Path]:
    """Those given, then those of the environment variable ZOO_MODELS, each once."""
    named = [*given, *os.environ.get(VARIABLE, "").split(os.pathsep)]
    return [Path(name) for name in dict.fromkeys(named) if name]


def add(folder: Path) -> Checkpoint:
    """Put a folder into the catalog; returns its row. Raises what opening it raises, and Unsupported."""
    row = row_of(folder)
    if catalog.find(row.source) is None:
        catalog.add(row)
    return row


def row_of(folder: Path) -> Checkpoint:
    """What config.json and the weights say of a checkpoint. Raises BadCheckpoint, or Unsupported for one without a
    head that answers a task."""
    family, files = open_folder(folder, FAMILIES, str(folder))
    raw = files.config
    if NATIVE in raw:
        heads = {name: HeadSpec(spec["kind"], tuple(spec["labels"])) for name, spec in raw[NATIVE]["heads"].items()}
    else:
        prefix = family.keys(family.read_config(raw, keymap.LoadReport()), {}, ()).prefix
        heads = family.heads_in(set(keymap.modern_names(files.tensors, prefix).values()), raw)
    tasks = tasks_of(heads)
    if not tasks:
        has = ", ".join(f"{name} ({spec.kind})" for name, spec in heads.items()) or "none"
        raise Unsupported(f"{folder} has no head that answers a task (its heads: {has}). Fine-tune it first.")
    said: Mapping[str, Any] = raw.get(NATIVE, {})
    size = sum(path.stat().st_size for path in weight_files(folder))
    return Checkpoint(
        name_of(folder, str(said.get("name", ""))),
        family.name,
        str(folder.resolve()),
        tasks,
        parameters=sum(tensor.numel() for tensor in files.tensors.values()),
        megabytes=max(1, round(size / 1e6)),
        licence="your own",
        about=str(said.get("about", "A checkpoint of your own.")),
        embedded=True,  # nothing is to be fetched
        unanswerable=bool(said.get("unanswerable", True)),
        own=True,
    )


def tasks_of(heads: Mapping[str, HeadSpec]) -> dict[str, tuple[str, ...]]:
    """The tasks that heads answer, by their kinds and labels."""
    found: dict[str, list[str]] = {}
    for name, spec in heads.items():
        if spec.kind == "classifier" and {label.lower() for label in spec.labels} <= NLI_LABELS:
            found.setdefault("nli", []).append(name)
        elif spec.kind in ("classifier", "span", "lm"):
            task = {"classifier": "classify", "span": "qa", "lm": "summarize"}[spec.kind]
            found.setdefault(task, []).append(name)
    return {task: tuple(found[task]) for task in ("summarize", "nli", "qa", "classify") if task in found}


def name_of(folder: Path, said: str) -> str:
    """The name that the checkpoint gives itself, else that of its folder or run; a number after it if it is taken."""
    folder = folder.resolve()
    name = said or (folder.parent.name if folder.name == "checkpoint" else folder.name)
    name = name.replace("#", "-").replace("@", "-").replace("/", "-") or "checkpoint"  # marks with a meaning in menus
    taken = {row.name for row in catalog.CHECKPOINTS if row.source != str(folder)}
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(one for one in numbered if one not in taken)
