"""How exactly a model in memory computes: a choice with a price.

- `exact`: float32, the numbers of the original to 1e-5; the default.
- `fast`: the weights of the body's linear maps in bf16, and their products, too, where the processor has instructions
  for it; all that is added up (embeddings, norms, the sum of the layers, heads) stays in float32.
- `small`: these weights in int8, a scale for each row, and what they are multiplied with rounded to int8 for each
  product, a scale for each row, too; a quarter of the memory. LSTM layers of torch's own stay as in `fast`.

Scores over a vocabulary are computed in the same way as the body, from a copy of the embedding laid out for it.
docs/speed.md says what each gains, and what it costs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import BadParameter
from zoo.family import Model
from zoo.heads import ScoresWords
from zoo.layers import packed
from zoo.layers.int8 import multiplies_int8
from zoo.layers.packed import WORTH_IT, Kind, laid_out
from zoo.layers.short_texts import HasShortTexts, reader
from zoo.processor import computes_bf16

NAMES = ("exact", "fast", "small")
DEFAULT = "exact"
# The largest difference of a probability from that of the weights as they lie in the file, in float32: stated for the
# models that are shipped, held to on 2,000 real texts of each task (`python -m tasks precision`, tests/bench/same.py).
WITHIN = {"exact": 1e-5, "fast": 0.04, "small": 0.25}


def supported() -> tuple[str, ...]:
    """What this processor computes faster than `exact`, and `exact`."""
    if not packed.available():
        return (DEFAULT,)
    able = {"exact": True, "fast": computes_bf16(torch.device("cpu")), "small": multiplies_int8()}
    return tuple(name for name in NAMES if able[name])


def checked(precision: str) -> str:
    """The same. Raises BadParameter for one that is unknown or not supported here."""
    if precision not in NAMES:
        raise BadParameter(f"The precision {precision!r} is unknown; choose from {', '.join(NAMES)}.")
    if precision not in supported():
        raise BadParameter(f"This processor has no instructions for {precision!r}; choose {DEFAULT!r}.")
    return precision


def prepared(model: Model, precision: str = DEFAULT, short_texts: bool = True) -> Model:
    """The model, its body's linear maps laid out for this processor in that precision, and with `short_texts` what
    reads short texts faster, where that is installed; the model itself is changed."""
    if next(model.network.parameters()).device.type != "cpu":
        return model
    body = model.network.body
    if packed.available():
        lay_out(model, kind_of(precision)._replace(few_rows=packed.writes(body)))
    if short_texts and isinstance(body, HasShortTexts):
        body.short_texts = reader(body.blocks)
    return model


def by_torch(model: Model, precision: str = DEFAULT) -> Model:
    """The same, with torch alone."""
    return prepared(model, precision, short_texts=False)


def lay_out(model: Model, kind: Kind) -> None:
    """Change its body's linear maps, and the scores over a vocabulary, to those of a kind."""
    for head in model.network.heads.values():
        if isinstance(head, ScoresWords):
            words: Tensor = head.embedding.weight
            if words.numel() >= WORTH_IT or kind.weights != torch.float32:
                head.packed = laid_out(words, head.bias, kind)
    packed.pack(model.network.body, kind)


def kind_of(precision: str) -> Kind:
    """The layout of a precision."""
    if precision == "exact":
        return Kind(torch.float32)
    half = torch.bfloat16 if computes_bf16(torch.device("cpu")) else torch.float32
    if precision == "fast":
        return Kind(torch.bfloat16, torch.bfloat16)
    return Kind(torch.int8, half)
