"""Tiny random ELMo repositories in the layouts in which they are published; tensors and configs written by hand.

Kinds: `hdf5` (lysandre/elmo: options.json and weights.hdf5 of bilm-tf); `tiny` (lysandre/test-elmo-tiny:
lm_weights.hdf5 beside sentences, a word list and arrays of reference outputs, none of which is needed); `softmax`
(`hdf5` with the softmax file and the vocabulary of the training, as they lie on the authors' server); `nli`
(allenai/elmo_decomposable-attention_snli) and `qa` (lysandre/bidaf-elmo-model-2020.03.19): config.json, weights.th and
vocabulary/ of AllenNLP, whose config points at ELMo's published options by their address.
The form of the weights belongs to the kind. `vocabulary` is a list of words, one a line: of `softmax` all words, of
`qa` those of GloVe; of other kinds it is left aside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

Arrays = dict[str, np.ndarray]

KINDS = ("hdf5", "tiny", "softmax", "nli", "qa")
SNLI = ("entailment", "contradiction", "neutral")
WORDS = ("the", "a", "cat", "sat", "on", "mat", "who", "is", "it", ",", ".", "?", "river", "bank", "n't", "do")
ADDRESS = (
    "https://allennlp.s3.amazonaws.com/models/elmo/2x4096_512_2048cnn_2xhighway/elmo_2x4096_512_2048cnn_2xhighway_"
)
GATES = 4
SEED = 20180215


def options(**values: Any) -> dict[str, Any]:
    """options.json as published, but small; `values` replace those of either level."""
    small: dict[str, Any] = {
        "lstm": {
            "use_skip_connections": True,
            "projection_dim": 8,
            "cell_clip": 3,
            "proj_clip": 3,
            "dim": 20,
            "n_layers": 2,
        },
        "char_cnn": {
            "activation": "relu",
            "filters": [[1, 4], [2, 5], [3, 7]],
            "n_highway": 2,
            "embedding": {"dim": 6},
            "n_characters": 262,
            "max_characters_per_token": 50,
        },
    }
    for part in small.values():
        part |= {name: values[name] for name in part if name in values}
    return small


def repository(
    folder: Path, kind: str, labels: Sequence[str] = (), form: str = "", vocabulary: Path | None = None, **values: Any
) -> Path:
    """Write a repository of one kind; `values` go to `options`, and to nli() or qa() as far as they know them."""
    assert kind in KINDS, kind
    folder.mkdir(parents=True, exist_ok=True)
    seed = values.pop("seed", SEED)
    opts = options(**values)
    weights = bilm_arrays(opts, seed)
    if kind in ("nli", "qa"):
        inside = allennlp_elmo(weights, opts)
        if kind == "nli":
            nli(folder, inside, opts, labels or SNLI, seed, values.get("norm", False))
        else:
            qa(folder, inside, opts, _words(vocabulary) or WORDS, seed)
        return folder
    (folder / "options.json").write_text(json.dumps(opts), encoding="utf-8")
    write_hdf5(folder / ("lm_weights.hdf5" if kind == "tiny" else "weights.hdf5"), weights)
    if kind == "tiny":
        (folder / "sentences.json").write_text(json.dumps([["The cat sat ."]]), encoding="utf-8")
        (folder / "vocab_test.txt").write_text("\n".join(("cat", "<S>", "</S>", "<UNK>")), encoding="utf-8")
        for name in ("elmo_token_embeddings", "lm_embeddings_0", "lm_embeddings_1", "lm_embeddings_2"):
            write_hdf5(folder / f"{name}.hdf5", {"0": np.zeros((2, 4, 8), "float32")})
    if kind == "softmax":
        words = _words(vocabulary) or ("<S>", "</S>", "<UNK>", *WORDS)
        chance = np.random.RandomState(seed + 1)
        width = opts["lstm"]["projection_dim"]
        arrays = {"softmax/W": _random(chance, len(words), width), "softmax/b": _random(chance, len(words))}
        write_hdf5(folder / "softmax_weights.hdf5", arrays)
        (folder / "vocab-2016-09-10.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return folder


def bilm_arrays(opts: Mapping[str, Any], seed: int = SEED) -> Arrays:
    """Random weights under the names and in the shapes of bilm-tf."""
    chance = np.random.RandomState(seed)
    cnn, lstm = opts["char_cnn"], opts["lstm"]
    filters, width, cells = cnn["filters"], lstm["projection_dim"], lstm["dim"]
    total = sum(number for _, number in filters)
    found = {"char_embed": _random(chance, 261, cnn["embedding"]["dim"], scale=1.0)}
    for index, (places, number) in enumerate(filters):
        found[f"CNN/W_cnn_{index}"] = _random(chance, 1, places, cnn["embedding"]["dim"], number)
        found[f"CNN/b_cnn_{index}"] = _random(chance, number)
    for index in range(cnn.get("n_highway") or 0):
        for name in ("transform", "carry"):
            found[f"CNN_high_{index}/W_{name}"] = _random(chance, total, total)
            found[f"CNN_high_{index}/b_{name}"] = _random(chance, total)
    found |= {"CNN_proj/W_proj": _random(chance, total, width), "CNN_proj/b_proj": _random(chance, width)}
    for way in (0, 1):
        for layer in range(lstm.get("n_layers", 1)):
            cell = f"RNN_{way}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            found[cell + "W_0"] = _random(chance, 2 * width, GATES * cells)
            found[cell + "B"] = _random(chance, GATES * cells)
            found[cell + "W_P_0"] = _random(chance, cells, width)
    return found


def write_hdf5(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An HDF5 file of arrays by path."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)


def allennlp_elmo(weights: Arrays, opts: Mapping[str, Any]) -> Arrays:
    """The same weights as AllenNLP keeps them in memory and saves them: `_elmo_lstm.` of its class Elmo."""
    cnn, lstm = opts["char_cnn"], opts["lstm"]
    width, cells = lstm["projection_dim"], lstm["dim"]
    embedding = np.zeros((262, cnn["embedding"]["dim"]), "float32")
    embedding[1:] = weights["char_embed"]
    words, found = "_elmo_lstm._token_embedder.", {}
    found[words + "_char_embedding_weights"] = embedding
    for index in range(len(cnn["filters"])):
        found[f"{words}char_conv_{index}.weight"] = weights[f"CNN/W_cnn_{index}"].squeeze(0).transpose(2, 1, 0)
        found[f"{words}char_conv_{index}.bias"] = weights[f"CNN/b_cnn_{index}"]
    for index in range(cnn["n_highway"]):
        high = f"CNN_high_{index}/"
        for name, turned in (("weight", lambda a: a.T), ("bias", lambda a: a)):
            letter = "W" if name == "weight" else "b"
            made, gate = turned(weights[f"{high}{letter}_transform"]), turned(weights[f"{high}{letter}_carry"])
            found[f"{words}_highways._layers.{index}.{name}"] = np.concatenate([made, -gate])
    found[words + "_projection.weight"] = weights["CNN_proj/W_proj"].T
    found[words + "_projection.bias"] = weights["CNN_proj/b_proj"]
    for way, name in enumerate(("forward", "backward")):
        for layer in range(lstm["n_layers"]):
            cell = f"RNN_{way}/RNN/MultiRNNCell/Cell{layer}/LSTMCell/"
            ours = f"_elmo_lstm._elmo_lstm.{name}_layer_{layer}."
            i, j, f, o = np.split(weights[cell + "W_0"].T, GATES)
            matrix = np.concatenate([i, f, j, o])
            i, j, f, o = np.split(weights[cell + "B"], GATES)
            found[ours + "input_linearity.weight"] = matrix[:, :width]
            found[ours + "state_linearity.weight"] = matrix[:, width:]
            found[ours + "state_linearity.bias"] = np.concatenate([i, f + np.float32(1), j, o])
            found[ours + "state_projection.weight"] = weights[cell + "W_P_0"].T
            assert len(f) == cells
    return found


def _mixed(chance: np.random.RandomState, opts: Mapping[str, Any]) -> Arrays:
    """A learned mix of the layers."""
    names = [f"scalar_mix_0.scalar_parameters.{layer}" for layer in range(opts["lstm"]["n_layers"] + 1)]
    return {name: _random(chance, 1, scale=1.0) for name in names} | {"scalar_mix_0.gamma": _random(chance, 1) + 1}


def nli(
    folder: Path, inside: Arrays, opts: Mapping[str, Any], labels: Sequence[str], seed: int, norm: bool = False
) -> None:
    """Decomposable attention, as `allennlp train` of 2020 left it."""
    chance = np.random.RandomState(seed + 2)
    width, hidden = 2 * opts["lstm"]["projection_dim"], 11
    elmo = {"type": "elmo_token_embedder", "do_layer_norm": norm, "dropout": 0.2}
    network = {"num_layers": 2, "hidden_dims": hidden, "activations": "relu", "dropout": 0.2}
    config = {
        "dataset_reader": {
            "type": "snli",
            "token_indexers": {"elmo": {"type": "elmo_characters"}},
            "tokenizer": {"end_tokens": ["@@NULL@@"]},
        },
        "model": {
            "type": "decomposable_attention",
            "text_field_embedder": {"token_embedders": {"elmo": elmo}},
            "attend_feedforward": {"input_dim": width, **network},
            "matrix_attention": {"type": "dot_product"},
            "compare_feedforward": {"input_dim": 2 * width, **network},
            "aggregate_feedforward": {
                "input_dim": 2 * hidden,
                "num_layers": 2,
                "hidden_dims": [hidden, len(labels)],
                "activations": ["relu", "linear"],
                "dropout": [0.2, 0.0],
            },
            "initializer": {"regexes": [[".*linear_layers.*weight", {"type": "xavier_normal"}]]},
        },
        "train_data_path": "https://allennlp.s3.amazonaws.com/datasets/snli/snli_1.0_train.jsonl",
        "data_loader": {"batch_sampler": {"type": "bucket", "batch_size": 64}},
        "trainer": {"num_epochs": 140, "optimizer": {"type": "adagrad"}},
    }
    prefix = "_text_field_embedder.token_embedder_elmo._elmo."
    state = {prefix + name: array for name, array in (inside | _mixed(chance, opts)).items()}
    for part, before, middle in (
        ("_attend_feedforward._module", width, hidden),
        ("_compare_feedforward._module", 2 * width, hidden),
        ("_aggregate_feedforward", 2 * hidden, len(labels)),
    ):
        shapes = ((hidden, before), (middle, hidden))
        for index, shape in enumerate(shapes):
            state[f"{part}._linear_layers.{index}.weight"] = _random(chance, *shape, scale=0.2)
            state[f"{part}._linear_layers.{index}.bias"] = _random(chance, shape[0])
    _write_allennlp(folder, config, state, {"labels": labels})


def qa(folder: Path, inside: Arrays, opts: Mapping[str, Any], words: Sequence[str], seed: int) -> None:
    """BiDAF, as AllenNLP's own training configuration makes it."""
    chance = np.random.RandomState(seed + 3)
    glove, letter, filters, size = 5, 3, 7, 6
    elmo = {
        "type": "elmo_token_embedder",
        "options_file": ADDRESS + "options.json",
        "weight_file": ADDRESS + "weights.hdf5",
        "do_layer_norm": False,
        "dropout": 0.0,
    }
    embedded = 2 * opts["lstm"]["projection_dim"] + filters + glove
    indexer = {
        "type": "characters",
        "character_tokenizer": {"byte_encoding": "utf-8", "end_tokens": [260], "start_tokens": [259]},
        "min_padding_length": 5,
    }
    network = {
        "type": "character_encoding",
        "dropout": 0.2,
        "embedding": {"embedding_dim": letter, "num_embeddings": 262},
        "encoder": {"type": "cnn", "embedding_dim": letter, "ngram_filter_sizes": [5], "num_filters": filters},
    }
    lstms = {
        "phrase_layer": (embedded, 1),
        "modeling_layer": (8 * size, 2),
        "span_end_encoder": (14 * size, 1),
    }
    lowered = {"type": "single_id", "lowercase_tokens": True}
    config = {
        "dataset_reader": {
            "type": "squad",
            "token_indexers": {
                "elmo": {"type": "elmo_characters"},
                "token_characters": indexer,
                "tokens": lowered,
            },
        },
        "model": {
            "type": "bidaf",
            "dropout": 0.2,
            "text_field_embedder": {
                "token_embedders": {
                    "elmo": elmo,
                    "token_characters": network,
                    "tokens": {
                        "type": "embedding",
                        "embedding_dim": glove,
                        "pretrained_file": "https://allennlp.s3.amazonaws.com/datasets/glove/glove.6B.100d.txt.gz",
                        "trainable": False,
                    },
                }
            },
            "num_highway_layers": 2,
            "matrix_attention": {
                "type": "linear",
                "combination": "x,y,x*y",
                "tensor_1_dim": 2 * size,
                "tensor_2_dim": 2 * size,
            },
            **{
                name: {
                    "type": "lstm",
                    "bidirectional": True,
                    "hidden_size": size,
                    "input_size": width,
                    "num_layers": layers,
                }
                for name, (width, layers) in lstms.items()
            },
        },
        "train_data_path": "https://allennlp.s3.amazonaws.com/datasets/squad/squad-train-v1.1.json",
        "trainer": {"num_epochs": 20, "optimizer": {"type": "adam", "betas": [0.9, 0.9]}},
    }
    embedders = "_text_field_embedder.token_embedder_"
    state = {f"{embedders}elmo._elmo.{name}": array for name, array in (inside | _mixed(chance, opts)).items()}
    letters = embedders + "token_characters."
    state[letters + "_embedding._module.weight"] = _random(chance, 262, letter, scale=1.0)
    state[letters + "_encoder._module.conv_layer_0.weight"] = _random(chance, filters, letter, 5)
    state[letters + "_encoder._module.conv_layer_0.bias"] = _random(chance, filters)
    state[embedders + "tokens.weight"] = _random(chance, len(words) + 2, glove)
    for index in range(2):
        state[f"_highway_layer._module._layers.{index}.weight"] = _random(chance, 2 * embedded, embedded)
        state[f"_highway_layer._module._layers.{index}.bias"] = _random(chance, 2 * embedded)
    for name, (width, layers) in lstms.items():
        for layer in range(layers):
            for way in ("", "_reverse"):
                before = width if not layer else 2 * size
                cell, end = f"_{name}._module.", f"_l{layer}{way}"
                state[f"{cell}weight_ih{end}"] = _random(chance, GATES * size, before)
                state[f"{cell}weight_hh{end}"] = _random(chance, GATES * size, size)
                state[f"{cell}bias_ih{end}"] = _random(chance, GATES * size)
                state[f"{cell}bias_hh{end}"] = _random(chance, GATES * size)
    state["_matrix_attention._weight_vector"] = _random(chance, 6 * size)
    state["_matrix_attention._bias"] = _random(chance, 1)
    for name in ("start", "end"):
        state[f"_span_{name}_predictor._module.weight"] = _random(chance, 1, 10 * size)
        state[f"_span_{name}_predictor._module.bias"] = _random(chance, 1)
    _write_allennlp(folder, config, state, {"tokens": ("@@UNKNOWN@@", *words)})


def _write_allennlp(
    folder: Path, config: Mapping[str, Any], state: Arrays, vocabulary: Mapping[str, Sequence[str]]
) -> None:
    (folder / "config.json").write_text(json.dumps(config, indent=4), encoding="utf-8")
    torch.save({name: torch.tensor(array) for name, array in state.items()}, folder / "weights.th")
    (folder / "vocabulary").mkdir(exist_ok=True)
    (folder / "vocabulary" / "non_padded_namespaces.txt").write_text("*labels\n*tags\n", encoding="utf-8")
    for name, words in vocabulary.items():
        (folder / "vocabulary" / f"{name}.txt").write_text("\n".join(words) + "\n", encoding="utf-8")


def _random(chance: np.random.RandomState, *shape: int, scale: float = 0.3) -> np.ndarray:
    return (chance.standard_normal(shape) * scale).astype("float32")


def _words(path: Path | None) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").split("\n")) if path is not None else ()
