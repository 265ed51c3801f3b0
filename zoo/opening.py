"""A name -> a Model: the catalog's row, the embedded folder or the Hub's files, then the strict loader."""

from __future__ import annotations

import json
from pathlib import Path

from zoo import catalog
from zoo.errors import Unsupported
from zoo.family import Model
from zoo.models.shelf import FAMILIES
from zoo.weights.fetch import Fetched, resolve
from zoo.weights.hub import Progress
from zoo.weights.load import load_folder


def load(source: str | Path, progress: bool | Progress = False) -> Model:
    """Load a checkpoint: a catalog name, a Hub id `owner/name[@revision]`, or a folder in Hub layout.

    `progress` shows a download on the terminal, or calls back with (file, bytes here, bytes in all).
    Says what it loaded from which commit in `model.source`, `model.revision` and, tensor by tensor, `model.report`.
    Raises UnknownModel, ModelUnavailable, DownloadFailed, BadCheckpoint or CheckpointMismatch.
    """
    fetched, row = locate(str(source), progress)
    return load_folder(
        fetched.folder,
        FAMILIES,
        name=row.name if row else str(source),
        source=fetched.source,
        revision=fetched.revision,
        labels=row.labels if row else (),
        assumed=row.family if row else None,
    )


def locate(
    source: str, progress: bool | Progress = False, refresh: bool = False
) -> tuple[Fetched, catalog.Checkpoint | None]:
    """Where the files of `source` lie on this machine, fetched if need be, and its catalog row if it has one.

    `refresh` asks the Hub where a branch stands now, instead of going on with the commit fetched before.
    """
    name, _, revision = source.partition("@")
    row = catalog.find(name)
    if row is not None and row.embedded:
        if revision:
            raise Unsupported(f"{row.name} comes with this project and has no other revisions; leave out @{revision}.")
        folder = catalog.EMBEDDED / row.source
        return Fetched(folder, row.name, embedded_revision(folder)), row
    if row is not None:
        source = row.source + (f"@{revision}" if revision else "")
    elif "/" not in source and not Path(source).exists():
        catalog.get(source)  # raises, with close names
    assumed = row.family if row else None
    return resolve(source, FAMILIES, progress, refresh, catalog.names(), assumed), row


def embedded_revision(folder: Path) -> str:
    """A short digest of a checkpoint that ships with the project, written into its config when it was made."""
    config = folder / "config.json"
    if not config.is_file():
        return "local"
    return str(json.loads(config.read_text(encoding="utf-8")).get("zoo", {}).get("revision", "local"))
