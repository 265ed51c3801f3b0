"""The door: `zoo.load(source)` gives a model, `zoo.models()` lists the catalog, `zoo.Engine` answers texts.

import zoo
model = zoo.load("bert-mini")             # a catalog name, "owner/name[@revision]" of the Hub, or a folder
print(model.report.sources, model.revision)

The catalog is there at once; torch is imported with the first of `load`, `Engine` and `Model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import zoo.models  # noqa: F401  the package, before the function below takes its name
from zoo import catalog
from zoo.catalog import Checkpoint
from zoo.errors import ZooError
from zoo.later import lazily

if TYPE_CHECKING:
    from zoo.engine import Engine
    from zoo.family import Model
    from zoo.opening import load
else:
    __getattr__ = lazily(__name__, {"Engine": "zoo.engine", "Model": "zoo.family", "load": "zoo.opening"})

__all__ = ["Checkpoint", "Engine", "Model", "ZooError", "load", "models"]
__version__ = "0.1.0"


def models() -> tuple[Checkpoint, ...]:
    """The rows of the catalog, embedded checkpoints first."""
    return catalog.CHECKPOINTS


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
