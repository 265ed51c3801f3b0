"""How ELMo was published: options.json beside an HDF5 file (bilm-tf), or inside a model of AllenNLP.

Each way becomes an Opened whose config has the fields of ElmoConfig. Every value that is not computed here is refused
by name, whether a file asks for it or leaves out what must be known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import BadCheckpoint
from zoo.tokenizers.chars import BEGIN, END, UNKNOWN
from zoo.weights import allennlp
from zoo.weights.formats import read_json
from zoo.weights.hdf5 import read_hdf5
from zoo.weights.layout import Layout, Opened, names_in

MOST_LAYERS = 64
OPTIONS = "options.json"
WEIGHTS = ("weights.hdf5", "lm_weights.hdf5")
SOFTMAX = ("softmax_weights.hdf5", "elmo_softmax_weights.hdf5")
VOCABULARIES = ("vocab-2016-09-10.txt", "vocab-enwiki-news-500000.txt", "vocab.txt", "vocab_test.txt")
MIX = {  # no published file of the language model alone has a mix; this is where every training of one starts
    "(not in the file) equal weights of all layers": 0.0,
    "(not in the file) gamma 1": 1.0,
}
PUBLISHED = {  # what all options.json of AllenNLP's published models say, and no shape of a tensor shows
    "n_characters": 262,
    "max_characters_per_token": 50,
    "activation": "relu",
    "use_skip_connections": True,
    "cell_clip": 3,
    "proj_clip": 3,
}
PUBLISHED_OPTIONS = tuple(
    f"elmo_{name}_options.json"
    for name in (
        "2x1024_128_2048cnn_1xhighway",
        "2x2048_256_2048cnn_1xhighway",
        "2x4096_512_2048cnn_2xhighway",
        "2x4096_512_2048cnn_2xhighway_5.5B",
    )
)
ELMO = "_text_field_embedder.token_embedder_elmo._elmo."
CNN = ELMO + "_elmo_lstm._token_embedder."
LSTM = ELMO + "_elmo_lstm._elmo_lstm."


class Said:
    """A part of a JSON file: values by name, with the file and the path to them in every complaint."""

    def __init__(self, values: Any, where: str, path: str = "") -> None:
        if not isinstance(values, Mapping):
            raise BadCheckpoint(f"{where}: {path or 'the file'} is no object of named values.")
        self._values, self._where, self._path = values, where, path

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> Any:
        """A value that must be there."""
        if name not in self._values:
            raise BadCheckpoint(f"{self._where} lacks {self._path}{name}, which ELMo needs.")
        return self._values[name]

    def count(self, name: str, most: int = 1000) -> int:
        """A number of things, from 1 to `most`, that must be there."""
        value = self.get(name)
        if not isinstance(value, int) or not 1 <= value <= most:
            raise BadCheckpoint(f"{self._where} says {self._path}{name} = {value!r}; it must be from 1 to {most}.")
        return value

    def part(self, name: str) -> Said:
        """An object that must be there."""
        return Said(self.get(name), self._where, f"{self._path}{name}.")

    def must(self, **allowed: tuple[Any, ...]) -> None:
        """Refuse other values than these; None among them allows that the value is left out."""
        for name, values in allowed.items():
            said = self._values.get(name)
            if said not in values:
                known = " or ".join(repr(value) for value in values)
                raise BadCheckpoint(
                    f"{self._where} says {self._path}{name} = {said!r}; this zoo computes {known} and nothing else."
                )

    def only(self, *names: str) -> None:
        """Refuse names that this zoo does not know, because they may change what is computed."""
        strange = sorted(set(self._values) - set(names))
        if strange:
            raise BadCheckpoint(f"{self._where}: {self._path}{strange[0]} is not known here, so nothing is computed.")


def read_options(path: Path) -> dict[str, Any]:
    """options.json as fields of ElmoConfig. Raises BadCheckpoint naming the file and what it lacks."""
    said = Said(read_json(path), str(path))
    lstm, cnn = said.part("lstm"), said.part("char_cnn")
    fields = {name: lstm.get(name) for name in ("dim", "projection_dim", "use_skip_connections")}
    fields |= {name: lstm.get(name) for name in ("cell_clip", "proj_clip") if name in lstm}
    fields |= {"n_layers": lstm.count("n_layers", MOST_LAYERS)} if "n_layers" in lstm else {}
    cnn_names = ("n_characters", "max_characters_per_token", "filters", "activation")
    fields |= {name: cnn.get(name) for name in cnn_names}
    fields |= {"n_highway": cnn.get("n_highway")} if "n_highway" in cnn else {}
    return fields | {"char_dim": cnn.part("embedding").get("dim")}


def _bilm_claims(names: Collection[str], config: Mapping[str, Any]) -> bool:
    return OPTIONS in names and "model" not in config and any(name in names for name in WEIGHTS)


def _bilm_files(names: Collection[str]) -> list[str]:
    chosen = [OPTIONS, next(name for name in WEIGHTS if name in names)]
    softmax, words = _softmax(names)
    return chosen + ([softmax, words] if softmax and words else [])


def _softmax(names: Collection[str]) -> tuple[str | None, str | None]:
    """The file with the softmax and the one with its words, if both are there."""
    softmax = next((name for name in SOFTMAX if name in names), None)
    return softmax, next((name for name in VOCABULARIES if name in names), None) if softmax else None


def _read_bilm(folder: Path) -> Opened:
    names = names_in(folder)
    config = read_options(folder / OPTIONS)
    tensors = read_hdf5(folder / next(name for name in WEIGHTS if name in names))
    layers = config.get("n_layers", 1)
    tensors |= {name: Tensor([value] * (1 if value else layers + 1)) for name, value in MIX.items()}
    softmax, words = _softmax(names)
    if softmax is None:
        return Opened(folder, config, tensors)
    if words is None:
        raise BadCheckpoint(
            f"{folder} has {softmax}, but no list of the words it scores. Put the vocabulary file of the same training "
            f"beside it under one of the names {', '.join(VOCABULARIES)}."
        )
    listed = [line.strip() for line in allennlp.lines(folder / words)]
    vocabulary = tuple(word for word in listed if word != "!!!MAXTERMID")  # which bilm-tf leaves out, too
    absent = [mark for mark in (BEGIN, END, UNKNOWN) if mark not in vocabulary]
    if absent:
        raise BadCheckpoint(f"{folder / words} lacks {', '.join(absent)} and is no vocabulary of bilm-tf.")
    tensors |= read_hdf5(folder / softmax)
    return Opened(folder, config | {"vocab_size": len(vocabulary)}, tensors, vocabulary)


def _read_allennlp(folder: Path) -> Opened:
    archive = allennlp.read_archive(folder)
    where = f"{folder.name}/config.json"
    said = Said(archive.config, where)
    kind = said.part("model").get("type")
    readers = {"decomposable_attention": _nli, "bidaf": _qa}
    if not isinstance(kind, str) or kind not in readers:
        raise BadCheckpoint(
            f"{folder} is a model of AllenNLP of the type {kind!r}, which is not in this zoo. It has the types "
            f"{' and '.join(readers)}, with ELMo inside."
        )
    config, vocabulary = readers[kind](archive, said)
    return Opened(folder, config, archive.tensors, vocabulary)


def _nli(archive: allennlp.Archive, said: Said) -> tuple[dict[str, Any], tuple[str, ...]]:
    model, reader = said.part("model"), said.part("dataset_reader")
    model.must(premise_encoder=(None,), hypothesis_encoder=(None,))
    model.part("matrix_attention").must(type=("dot_product",))
    tokenizer = reader.part("tokenizer") if "tokenizer" in reader else Said({}, "config.json")
    tokenizer.only("type", "end_tokens", "start_tokens", "language", "pos_tags", "parse", "ner")
    tokenizer.must(type=(None, "spacy", "word"), language=(None, "en_core_web_sm"))
    nli: dict[str, Any] = {
        name: tokenizer.get(name) if name in tokenizer else [] for name in ("start_tokens", "end_tokens")
    }
    for name, last in (("attend", "relu"), ("compare", "relu"), ("aggregate", "linear")):
        nli[name] = _widths(model.part(f"{name}_feedforward"), last)
    embedders = model.part("text_field_embedder")
    config = _elmo(archive, _embedders(embedders, "elmo").part("elmo"))
    return config | {"nli": nli, "labels": list(archive.words("labels"))}, ()


def _qa(archive: allennlp.Archive, said: Said) -> tuple[dict[str, Any], tuple[str, ...]]:
    model, indexers = said.part("model"), said.part("dataset_reader").part("token_indexers")
    embedders = _embedders(model.part("text_field_embedder"), "elmo", "token_characters", "tokens")
    indexers.part("tokens").must(type=("single_id",), lowercase_tokens=(True,))
    indexers.part("elmo").must(type=("elmo_characters",), tokens_to_add=(None,))
    letters = indexers.part("token_characters")
    cut = letters.part("character_tokenizer")
    letters.must(type=("characters",), start_tokens=(None,), end_tokens=(None,))
    cut.must(byte_encoding=("utf-8",), lowercase_characters=(None, False))
    network = embedders.part("token_characters")
    network.must(type=("character_encoding",))
    encoder = network.part("encoder")
    encoder.must(type=("cnn",), output_dim=(None,), conv_layer_activation=(None, "relu"))
    embedders.part("tokens").only("type", "embedding_dim", "pretrained_file", "trainable", "vocab_namespace")
    model.part("matrix_attention").must(type=("linear",), combination=("x,y,x*y",), activation=(None, "linear"))
    model.must(mask_lstms=(None, True))
    words = archive.words("tokens")
    qa = {
        "vocab_size": len(words),
        "embedding_dim": embedders.part("tokens").get("embedding_dim"),
        "letters": network.part("embedding").get("num_embeddings"),
        "letter_dim": network.part("embedding").get("embedding_dim"),
        "letter_filters": encoder.get("num_filters"),
        "letter_widths": encoder.get("ngram_filter_sizes"),
        "letter_padding": letters.count("min_padding_length"),
        "letter_start": cut.get("start_tokens") if "start_tokens" in cut else [],
        "letter_end": cut.get("end_tokens") if "end_tokens" in cut else [],
        "num_highway_layers": model.count("num_highway_layers", MOST_LAYERS),
    }
    for name, part in (("phrase", "phrase_layer"), ("modeling", "modeling_layer"), ("span_end", "span_end_encoder")):
        lstm = model.part(part)
        lstm.must(type=("lstm",), bidirectional=(True,), bias=(None, True))
        qa |= {f"{name}_size": lstm.get("hidden_size"), f"{name}_layers": lstm.count("num_layers", MOST_LAYERS)}
    return _elmo(archive, embedders.part("elmo")) | {"qa": qa}, words


def _embedders(said: Said, *names: str) -> Said:
    """The embedders by name, which older files keep one level deeper."""
    found = said.part("token_embedders") if "token_embedders" in said else said
    found.only(*names, "type")
    return found


def _widths(said: Said, last: str) -> list[int]:
    """The widths of a feed-forward network whose layers have ReLU, the last one `last`."""
    layers = said.count("num_layers", MOST_LAYERS)
    widths, activations = said.get("hidden_dims"), said.get("activations")
    widths = widths if isinstance(widths, list) else [widths] * layers
    activations = activations if isinstance(activations, list) else [activations] * layers
    wanted = ["relu"] * (layers - 1) + [last]
    if activations != wanted or len(widths) != layers:
        raise BadCheckpoint(f"config.json has a network with {activations}; this zoo computes {wanted}.")
    return widths


def _elmo(archive: allennlp.Archive, said: Said) -> dict[str, Any]:
    """The ELMo inside: by options.json if it is there, else its shapes from the tensors and PUBLISHED."""
    known = ("type", "options_file", "weight_file", "do_layer_norm", "dropout", "requires_grad")
    said.only(*known, "scalar_mix_parameters")
    said.must(type=("elmo_token_embedder",))
    norm = {"do_layer_norm": said.get("do_layer_norm") if "do_layer_norm" in said else False}
    beside = archive.folder / OPTIONS
    if beside.is_file():
        return read_options(beside) | norm
    named = str(said.get("options_file")).rpartition("/")[2] if "options_file" in said else PUBLISHED_OPTIONS[2]
    if named not in PUBLISHED_OPTIONS:
        raise BadCheckpoint(
            f"config.json takes ELMo's options from {named}, which is not among the published ones and not here. Put "
            f"that file into {archive.folder} as {OPTIONS}."
        )
    shapes = {name: list(tensor.shape) for name, tensor in archive.tensors.items()}
    filters: list[list[int]] = []
    while (shape := shapes.get(f"{CNN}char_conv_{len(filters)}.weight")) is not None:
        filters.append(_dims(shape, 3)[::-2])  # [number, dim, width] -> [width, number]
    projection = _dims(shapes.get(f"{LSTM}forward_layer_0.state_projection.weight"), 2)
    return {
        **PUBLISHED,
        **norm,
        "filters": filters,
        "char_dim": _dims(shapes.get(f"{CNN}_char_embedding_weights"), 2)[1],
        "n_highway": _count(shapes, CNN + "_highways._layers.{}.weight"),
        "n_layers": _count(shapes, LSTM + "forward_layer_{}.state_projection.weight"),
        "projection_dim": projection[0],
        "dim": projection[1],
    }


def _count(shapes: Collection[str], pattern: str) -> int:
    return next(i for i in range(len(shapes) + 1) if pattern.format(i) not in shapes)


def _dims(shape: Sequence[int] | None, rank: int) -> list[int]:
    if shape is None or len(shape) != rank:
        raise BadCheckpoint(f"weights.th holds no ELMo under the names that AllenNLP gives it ({CNN}..., {LSTM}...).")
    return list(shape)


def _allennlp_files(names: Collection[str]) -> list[str]:
    return allennlp.files(names) + [name for name in (OPTIONS,) if name in names]


LAYOUTS = (
    Layout("options.json and weights.hdf5 (bilm-tf)", _bilm_claims, _bilm_files, _read_bilm),
    Layout("AllenNLP", allennlp.claims, _allennlp_files, _read_allennlp),
)
