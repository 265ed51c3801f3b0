"""How exactly a model in memory computes: a choice with a price.

- `exact`: float32, the numbers of the original to 1e-5; the default.
- `fast`: the weights of the body's linear maps in bf16, and their products, too, where the processor has instructions
  for it; all that is added up (embeddings, norms, the sum of the layers, heads) stays in float32.
- `small`: these weights in int8, a scale for each row, and what they are multiplied with rounded to int8 for each
  product, a scale for each row, too; a quarter of the memory. LSTM layers of torch's own stay as in `fast`.

Scores over a vocabulary are computed in the same way as the body, from a copy of the embedding laid out for it. "auto"
stands for the one that a trial finds to be the fastest on the machine at hand.
docs/speed.md says what each gains, and what it costs.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from zoo.errors import BadParameter
from zoo.family import Model
from zoo.heads import ScoresWords
from zoo.layers import packed
from zoo.layers.int8 import multiplies_int8
from zoo.layers.packed import WORTH_IT, Kind, laid_out
from zoo.layers.short_texts import HasShortTexts, reader
from zoo.layers.trial import trial
from zoo.processor import computes_bf16

NAMES = ("exact", "fast", "small")
DEFAULT = "exact"
AUTO = "auto"  # the fastest here
TRIED = (8, 1024, 1024)  # matrices that a machine is tried with, and their shape: 32 MB in float32
ROWS = 64  # that they are multiplied with, as many as a text of middling length has
FASTER = 0.9  # of the time, to be taken in place of a more exact one
# The largest difference of a probability from that of the weights as they lie in the file, in float32: stated for the
# models that are shipped, held to on 2,000 real texts of each task (`python -m tasks precision`, tests/bench/same.py).
WITHIN = {"exact": 1e-5, "fast": 0.04, "small": 0.25}


def supported() -> tuple[str, ...]:
    """What this processor computes faster than `exact`, and `exact`."""
    if not packed.available():
        return (DEFAULT,)
    able = {"exact": True, "fast": computes_bf16(torch.device("cpu")), "small": multiplies_int8()}
    return tuple(name for name in NAMES if able[name])


@cache
def fastest() -> str:
    """The precision in which this processor multiplies fastest; of two that are about as fast the more exact one. Tried
    once a process, in a quarter of a second; where other work has all cores it takes up to three, and may stay with the
    more exact one."""
    count, out, wide = TRIED
    weight, chosen = torch.ones(out, wide), DEFAULT
    maps = {name: [laid_out(weight, None, kind_of(name)) for _ in range(count)] for name in supported()[1:]}
    maps[DEFAULT] = [laid_out(weight, None, kind_of(DEFAULT)) for _ in range(count)] if maps else []
    for name in supported()[1:]:
        if trial(maps[name], maps[chosen], torch.ones(ROWS, wide)) < FASTER:
            chosen = name
    return chosen


def checked(precision: str) -> str:
    """The same, for "auto" the fastest one. Raises BadParameter for one that is unknown or not supported here."""
    if precision == AUTO:
        return fastest()
    if precision not in NAMES:
        raise BadParameter(f"The precision {precision!r} is unknown; choose from {', '.join((*NAMES, AUTO))}.")
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
