"""ELMo and the two models around it in plain numpy, written from the papers and from what bilm-tf's files mean.

Reads the arrays of a bilm-tf file and of AllenNLP's state dictionaries as they lie there; knows nothing of zoo/. One
word and one step at a time, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
State = list[tuple[Array, Array]]  # hidden and memory of each layer


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array, axis: int = -1) -> Array:
    x = np.exp(x - x.max(axis, keepdims=True))
    return x / x.sum(axis, keepdims=True)


def characters(word: str, places: int = 50) -> list[int]:
    """Character ids of a word; the training files' ids plus one."""
    if word in ("<S>", "</S>"):
        inside = [256 if word == "<S>" else 257]
    else:
        inside = list(word.encode("utf-8"))[: places - 2]
    ids = [258, *inside, 259]
    return [i + 1 for i in ids + [260] * (places - len(ids))]


def word_vector(weights: Mapping[str, Array], options: Mapping[str, Any], ids: Sequence[int]) -> Array:
    """The character network: [D] of one word."""
    cnn = options["char_cnn"]
    dim = cnn["embedding"]["dim"]
    table = np.concatenate([np.zeros((1, dim)), weights["char_embed"].astype(float)])
    letters = table[list(ids)]  # [places, dim]
    found = []
    for index, (width, number) in enumerate(cnn["filters"]):
        kernel = weights[f"CNN/W_cnn_{index}"][0].astype(float)  # [width, dim, number]
        best = np.full(number, -np.inf)
        for begin in range(len(letters) - width + 1):
            best = np.maximum(best, np.einsum("wd,wdn->n", letters[begin : begin + width], kernel))
        best = best + weights[f"CNN/b_cnn_{index}"]
        found.append(np.tanh(best) if cnn["activation"] == "tanh" else np.maximum(best, 0))
    x = np.concatenate(found)
    for index in range(cnn.get("n_highway") or 0):
        part = {f"{a}_{b}": weights[f"CNN_high_{index}/{a}_{b}"] for a in "Wb" for b in ("carry", "transform")}
        gate = sigmoid(x @ part["W_carry"] + part["b_carry"])
        x = gate * np.maximum(x @ part["W_transform"] + part["b_transform"], 0) + (1 - gate) * x
    return x @ weights["CNN_proj/W_proj"] + weights["CNN_proj/b_proj"]


def read(
    weights: Mapping[str, Array], options: Mapping[str, Any], way: int, words: Array, start: State | None = None
) -> tuple[list[Array], State]:
    """One direction over words [T, D] in the order of reading: every layer [T, D], and the state at the end."""
    lstm = options["lstm"]
    width, cells = lstm["projection_dim"], lstm["dim"]
    layers, ends = [], []
    for layer in range(lstm.get("n_layers", 1)):
        cell = f"RNN_{way}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
        h, c = start[layer] if start else (np.zeros(width), np.zeros(cells))
        outputs = []
        for x in words:
            i, j, f, o = np.split(np.concatenate([x, h]) @ weights[cell + "W_0"] + weights[cell + "B"], 4)
            c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(j)  # TensorFlow's forget bias
            if lstm.get("cell_clip") is not None:
                c = np.clip(c, -lstm["cell_clip"], lstm["cell_clip"])
            h = (sigmoid(o) * np.tanh(c)) @ weights[cell + "W_P_0"]
            if lstm.get("proj_clip") is not None:
                h = np.clip(h, -lstm["proj_clip"], lstm["proj_clip"])
            outputs.append(h + x if layer and lstm["use_skip_connections"] else h)
        words = np.array(outputs)
        layers.append(words)
        ends.append((h, c))
    return layers, ends


def bilm(weights: Mapping[str, Array], options: Mapping[str, Any], stream: Sequence[Sequence[Sequence[int]]]) -> Array:
    """Sentences of rows of character ids, marks included, one after the other: [N, 1 + layers, 2D].

    The LSTMs go on from sentence to sentence, as the original's do from call to call.
    """
    ahead_at: State | None = None
    back_at: State | None = None
    found = []
    for sentence in stream:
        words = np.array([word_vector(weights, options, ids) for ids in sentence])
        ahead, ahead_at = read(weights, options, 0, words, ahead_at)
        back, back_at = read(weights, options, 1, words[::-1], back_at)
        layers = [(words, words), *((a, b[::-1]) for a, b in zip(ahead, back, strict=True))]
        found.append(np.stack([np.concatenate(pair, axis=-1) for pair in layers], axis=1))
    return np.concatenate(found)


def mix(layers: Array, scalars: Sequence[float], gamma: float, norm: bool = False) -> Array:
    """[T, layers, D] of one sentence -> [T, D]."""
    if norm:
        mean, variance = layers.mean((0, 2), keepdims=True), layers.var((0, 2), keepdims=True)
        layers = (layers - mean) / np.sqrt(variance + 1e-12)
    return gamma * np.einsum("l,tld->td", softmax(np.array(scalars, float)), layers)


def mixed(state: Mapping[str, Array], layers: Array, norm: bool = False) -> Array:
    """`mix` with the numbers of an AllenNLP state dictionary."""
    prefix = "_text_field_embedder.token_embedder_elmo._elmo.scalar_mix_0."
    scalars = [float(state[f"{prefix}scalar_parameters.{k}"][0]) for k in range(layers.shape[1])]
    return mix(layers, scalars, float(state[prefix + "gamma"][0]), norm)


def linear(state: Mapping[str, Array], name: str, x: Array) -> Array:
    return x @ state[name + ".weight"].T.astype(float) + state[name + ".bias"]


def decomposable_attention(state: Mapping[str, Array], premise: Array, hypothesis: Array) -> Array:
    """Parikh et al. 2016, section 3, on ELMo's vectors: [K]."""

    def network(name: str, x: Array, last: bool) -> Array:
        x = np.maximum(linear(state, f"{name}._linear_layers.0", x), 0)
        x = linear(state, f"{name}._linear_layers.1", x)
        return np.maximum(x, 0) if last else x

    a, b = (network("_attend_feedforward._module", x, True) for x in (premise, hypothesis))
    e = a @ b.T
    beta, alpha = softmax(e, 1) @ hypothesis, softmax(e, 0).T @ premise
    v1 = network("_compare_feedforward._module", np.concatenate([premise, beta], -1), True).sum(0)
    v2 = network("_compare_feedforward._module", np.concatenate([hypothesis, alpha], -1), True).sum(0)
    return network("_aggregate_feedforward", np.concatenate([v1, v2]), False)


def letter_vectors(state: Mapping[str, Array], words: Sequence[str]) -> Array:
    """BiDAF's own character network over the words of one text: [T, filters]."""
    prefix = "_text_field_embedder.token_embedder_token_characters."
    table = state[prefix + "_embedding._module.weight"]
    kernel = state[prefix + "_encoder._module.conv_layer_0.weight"].astype(float)  # [filters, dim, width]
    bias = state[prefix + "_encoder._module.conv_layer_0.bias"]
    width = kernel.shape[2]
    rows = [[259, *(byte + 1 for byte in word.encode("utf-8")), 260] for word in words]
    places = max(5, *map(len, rows))
    found = []
    for row in rows:
        letters = np.zeros((places, table.shape[1]))
        letters[: len(row)] = table[row]
        sums = [
            np.einsum("wd,fdw->f", letters[begin : begin + width], kernel) + bias for begin in range(places - width + 1)
        ]
        found.append(np.maximum(np.array(sums), 0).max(0))
    return np.array(found)


def lstm(state: Mapping[str, Array], name: str, layer: int, x: Array) -> Array:
    """One bidirectional layer: [T, D] -> [T, 2H]."""
    sides = []
    for way, order in (("", slice(None)), ("_reverse", slice(None, None, -1))):
        end = f"_l{layer}{way}"
        w, u = (state[f"{name}._module.weight_{kind}{end}"].astype(float) for kind in ("ih", "hh"))
        bias = state[f"{name}._module.bias_ih{end}"].astype(float) + state[f"{name}._module.bias_hh{end}"]
        h = c = np.zeros(u.shape[1])
        outputs = []
        for step in x[order]:
            i, f, g, o = np.split(w @ step + u @ h + bias, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        sides.append(np.array(outputs)[order])
    return np.concatenate(sides, axis=-1)


def bidaf(
    state: Mapping[str, Array],
    vocabulary: Sequence[str],
    question: tuple[Sequence[str], Array],
    passage: tuple[Sequence[str], Array],
) -> Array:
    """Seo et al. 2017 on words and their ELMo vectors; `vocabulary` begins with padding: [T, 2] of the passage."""
    unknown = list(vocabulary).index("@@UNKNOWN@@")

    def embed(words: Sequence[str], elmo: Array) -> Array:
        known = [w.lower() if w.lower() in vocabulary else vocabulary[unknown] for w in words]
        glove = state["_text_field_embedder.token_embedder_tokens.weight"][[list(vocabulary).index(w) for w in known]]
        x = np.concatenate([elmo, letter_vectors(state, words), glove], axis=-1)
        for index in range(2):
            made, gate = np.split(linear(state, f"_highway_layer._module._layers.{index}", x), 2, axis=-1)
            x = sigmoid(gate) * x + (1 - sigmoid(gate)) * np.maximum(made, 0)
        return lstm(state, "_phrase_layer", 0, x)

    u, h = embed(*question), embed(*passage)
    w, d = state["_matrix_attention._weight_vector"].astype(float), u.shape[1]
    s = np.array([[w @ np.concatenate([x, y, x * y]) for y in u] for x in h]) + state["_matrix_attention._bias"]
    assert len(w) == 3 * d
    asked = softmax(s, 1) @ u
    matters = softmax(s.max(1)) @ h
    g = np.concatenate([h, asked, h * asked, h * matters], axis=-1)
    m = lstm(state, "_modeling_layer", 1, lstm(state, "_modeling_layer", 0, g))
    start = linear(state, "_span_start_predictor._module", np.concatenate([g, m], -1))[:, 0]
    likely = np.broadcast_to(softmax(start) @ m, m.shape)
    last = lstm(state, "_span_end_encoder", 0, np.concatenate([g, m, likely, m * likely], axis=-1))
    end = linear(state, "_span_end_predictor._module", np.concatenate([g, last], -1))[:, 0]
    return np.stack([start, end], axis=-1)
