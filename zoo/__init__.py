"""The door: `zoo.load(source)` gives a model, `zoo.models()` lists the catalog, `zoo.Engine` answers texts.

import zoo
model = zoo.load("bert-mini")             # a catalog name, "owner/name[@revision]" of the Hub, or a folder
print(model.report.sources, model.revision)
"""

from __future__ import annotations

from zoo import catalog
from zoo.catalog import Checkpoint
from zoo.engine import Engine
from zoo.errors import ZooError
from zoo.family import Model
from zoo.opening import load

__all__ = ["Checkpoint", "Engine", "Model", "ZooError", "load", "models"]
__version__ = "0.1.0"


def models() -> tuple[Checkpoint, ...]:
    """The rows of the catalog, embedded checkpoints first."""
    return catalog.CHECKPOINTS
