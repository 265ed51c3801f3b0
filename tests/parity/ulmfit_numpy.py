"""AWD-LSTM and its pooled classifier in plain numpy, written from the papers: Merity et al. 2017 (section 2, the LSTM;
section 4.5, tied weights) and Howard & Ruder 2018 (section 3.3, concat pooling, batch norm, ReLU).

`python -m tests.parity.ulmfit_numpy` writes tests/golden/ulmfit.npz anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

Array = np.ndarray
GOLDEN = Path(__file__).parents[1] / "golden" / "ulmfit.npz"


@dataclass(frozen=True)
class Shape:
    """One network of the golden file and of the tests."""

    words: int = 30
    width: int = 6
    inner: int = 9
    layers: int = 3
    tied: bool = True
    bias: bool = True
    head: tuple[int, ...] = (5,)  # widths of the classifier between the pooled vector and the labels
    labels: int = 3
    generation: str = "2"


def weights(shape: Shape, seed: int) -> dict[str, Array]:
    """All tensors, by the names of fastai 2 without what stands before them; no bias is 0, no norm is 1."""
    chance = np.random.RandomState(seed)

    def draw(*size: int, scale: float = 0.4) -> Array:
        return (chance.randn(*size) * scale).astype("float32")

    widths = [shape.width, *[shape.inner] * (shape.layers - 1), shape.width]
    tensors = {"encoder.weight": draw(shape.words, shape.width, scale=1.0)}
    for i, (before, after) in enumerate(pairwise(widths)):
        tensors |= {
            f"rnns.{i}.weight_ih": draw(4 * after, before),
            f"rnns.{i}.weight_hh": draw(4 * after, after),
            f"rnns.{i}.bias_ih": draw(4 * after),
            f"rnns.{i}.bias_hh": draw(4 * after),
        }
    tensors["decoder.weight"] = tensors["encoder.weight"] if shape.tied else draw(shape.words, shape.width)
    if shape.bias:
        tensors["decoder.bias"] = draw(shape.words)
    sizes = (3 * shape.width, *shape.head, shape.labels)
    for i, (before, after) in enumerate(pairwise(sizes)):
        tensors |= {
            f"head.{i}.gamma": 1 + draw(before),
            f"head.{i}.beta": draw(before),
            f"head.{i}.mean": draw(before),
            f"head.{i}.var": np.abs(draw(before)) + np.float32(0.3),
            f"head.{i}.weight": draw(after, before),
        }
        if shape.generation != "2":
            tensors[f"head.{i}.bias"] = draw(after)
    return tensors


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm(x: Array, w: Mapping[str, Array], name: str, past: tuple[Array, Array] | None = None) -> tuple[Array, tuple]:
    """[T, D] -> [T, width], and (h, c) after it: the six equations of section 2, with torch's order of gates."""
    inside, again = (w[f"{name}.weight_{key}"].astype("float64") for key in ("ih", "hh"))
    fed = x @ inside.T + w[f"{name}.bias_ih"] + w[f"{name}.bias_hh"]  # [T, 4 * width]
    width = again.shape[1]
    h, c = past or (np.zeros(width), np.zeros(width))
    outputs = np.empty((len(x), width))
    for t, row in enumerate(fed):
        i, f, g, o = (row + again @ h).reshape(4, width)
        c = sigmoid(i) * np.tanh(g) + sigmoid(f) * c
        outputs[t] = h = sigmoid(o) * np.tanh(c)
    return outputs, (h, c)


def encode(ids: Sequence[int], w: Mapping[str, Array], layers: int) -> list[Array]:
    """The embeddings, then the output of every layer."""
    found = [w["encoder.weight"].astype("float64")[list(ids)]]
    for i in range(layers):
        found.append(lstm(found[-1], w, f"rnns.{i}")[0])
    return found


def language_model(ids: Sequence[int], w: Mapping[str, Array], shape: Shape) -> Array:
    """[T, V]."""
    scores = encode(ids, w, shape.layers)[-1] @ w["decoder.weight"].astype("float64").T
    return scores + w["decoder.bias"] if shape.bias else scores


def pooled(ids: Sequence[int], w: Mapping[str, Array], shape: Shape) -> Array:
    """[3D]: last, largest and mean state of the chunks near the end, read chunk by chunk as fastai reads them."""
    step, most = (72, 1440) if shape.generation == "2" else (70, 1400)
    states: list = [None] * shape.layers
    kept = []
    for begin in range(0, len(ids), step):
        x = w["encoder.weight"].astype("float64")[list(ids[begin : begin + step])]
        for i in range(shape.layers):
            x, states[i] = lstm(x, w, f"rnns.{i}", states[i])
        left = len(ids) - begin
        if (left <= most) if shape.generation == "2" else (begin > len(ids) - most):
            kept.append(x)
    rows = np.concatenate(kept)
    return np.concatenate([rows[-1], rows.max(0), rows.mean(0)])


def classify(ids: Sequence[int], w: Mapping[str, Array], shape: Shape) -> Array:
    """[K]."""
    x = pooled(ids, w, shape)
    for i in range(len(shape.head) + 1):
        x = np.maximum(x, 0) if i else x
        x = (x - w[f"head.{i}.mean"]) / np.sqrt(w[f"head.{i}.var"] + 1e-5) * w[f"head.{i}.gamma"] + w[f"head.{i}.beta"]
        x = w[f"head.{i}.weight"].astype("float64") @ x + w.get(f"head.{i}.bias", 0)
    return x


SHAPES = {
    "three layers": Shape(),
    "one layer": Shape(layers=1, width=5, head=(), labels=2),
    "two, untied": Shape(layers=2, width=7, inner=4, tied=False, head=(4, 3)),
    "four, no bias": Shape(layers=4, width=3, inner=11, bias=False, head=(6,), labels=5),
    "of version 1": Shape(width=8, inner=8, head=(7,), generation="1"),
    "of 2018": Shape(layers=3, width=4, inner=10, bias=False, head=(5, 4), labels=2, generation="0.7"),
    "of 2018, untied": Shape(layers=2, width=9, inner=5, tied=False, head=(), generation="0.7"),
}
LENGTHS = (1, 2, 17, 71, 72, 73, 140)
LONG = (1400, 1441, 1513)  # around the last tokens that are pooled


def texts(lengths: Sequence[int], words: int, seed: int) -> list[list[int]]:
    """Random ids; none is that of padding, 1."""
    chance = np.random.RandomState(seed)
    return [[int(i) + 2 for i in chance.randint(0, words - 2, length)] for length in lengths]


def write_golden() -> None:
    """For each shape: seed, ids of three texts, scores of the language model and of the classifier."""
    arrays = {}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        w = weights(shape, seed)
        for index, ids in enumerate(texts((1, 9, 1530), shape.words, seed)):
            key = f"{name}/{index}"
            arrays |= {f"{key}/ids": np.array(ids, "int16"), f"{key}/seed": np.array(seed)}
            arrays[f"{key}/lm"] = language_model(ids, w, shape)[-3:].astype("float32")  # of the last three tokens
            arrays[f"{key}/classifier"] = classify(ids, w, shape).astype("float32")
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    write_golden()
