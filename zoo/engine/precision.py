"""How exactly a model in memory computes: a choice with a price.

- `exact`: float32, the numbers of the original to 1e-5; the default.
- `fast`: the weights of the body's linear maps in bf16, and their products, too, where the processor has instructions
  for it; all that is added up (embeddings, norms, the sum of the layers, heads) stays in float32.

docs/speed.md says what `fast` gains, and what is known of its cost.
"""

from __future__ import annotations

import torch

from zoo.errors import BadParameter
from zoo.family import Model
from zoo.layers import packed
from zoo.processor import computes_bf16

TYPES = {"exact": torch.float32, "fast": torch.bfloat16}
DEFAULT = "exact"


def supported() -> tuple[str, ...]:
    """What this processor computes faster than `exact`, and `exact`."""
    able = packed.available() and computes_bf16(torch.device("cpu"))
    return tuple(TYPES) if able else (DEFAULT,)


def checked(precision: str) -> str:
    """The same. Raises BadParameter for one that is unknown or not supported here."""
    if precision not in TYPES:
        raise BadParameter(f"The precision {precision!r} is unknown; choose from {', '.join(TYPES)}.")
    if precision not in supported():
        raise BadParameter(f"This processor has no instructions for {precision!r}; choose {DEFAULT!r}.")
    return precision


def prepared(model: Model, precision: str = DEFAULT) -> Model:
    """The model, its body's linear maps laid out for this processor in that precision; the model itself is changed."""
    if packed.available() and next(model.network.parameters()).device.type == "cpu":
        packed.pack(model.network.body, TYPES[precision])
    return model
