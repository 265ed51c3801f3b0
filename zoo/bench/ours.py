"""Stand-ins of published checkpoints, opened here in every precision that the processor has."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.bench.fullsize import MODELS
from zoo.engine import precision
from zoo.family import Model
from zoo.models.shelf import FAMILIES
from zoo.weights.load import load_folder


@contextmanager
def stand_in(name: str, tiny: bool) -> Iterator[tuple[Path, dict[str, Model]]]:
    """A folder with the checkpoint, for peers to read while the block lasts, and ours by the name of the runner."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        MODELS[name].write(folder, tiny)
        kinds = precision.supported()
        yield folder, {f"ours {kind}": precision.prepared(load_folder(folder, FAMILIES), kind) for kind in kinds}
