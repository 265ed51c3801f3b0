"""What is refused of ELMo's published files, and how the words of a text are found in them."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from tests.published import elmo as published
from zoo.errors import BadCheckpoint, CheckpointMismatch, MissingPackage, ZooError
from zoo.family import Model
from zoo.models import elmo
from zoo.models.elmo_files import LAYOUTS
from zoo.weights.hdf5 import read_hdf5
from zoo.weights.layout import names_in
from zoo.weights.load import load_folder


def load(folder: Path) -> Model:
    return load_folder(folder, (elmo.FAMILY,))


def refused(folder: Path, *says: str, error: type[ZooError] = BadCheckpoint) -> None:
    with pytest.raises(error) as found:
        load(folder)
    for words in says:
        assert words in found.value.message, found.value.message


def edited(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("kind", published.KINDS)
def test_every_kind_loads(kind: str, tmp_path: Path) -> None:
    heads = {"softmax": {"features", "lm"}, "nli": {"nli"}, "qa": {"qa"}}
    model = load(published.repository(tmp_path, kind))
    assert set(model.heads) == heads.get(kind, {"features"})
    assert [name for name, _ in model.mixes] == [next(iter(model.heads))]
    mixed = [source for name, source in model.report.sources.items() if ".mix." in name]
    assert {source.startswith("(not in the file)") for source in mixed} == {kind not in ("nli", "qa")}


def test_only_what_is_needed_is_fetched(tmp_path: Path) -> None:
    names = names_in(published.repository(tmp_path / "tiny", "tiny"))
    assert LAYOUTS[0].claims(names, {}) and LAYOUTS[0].files(names) == ["options.json", "lm_weights.hdf5"]
    names = names_in(published.repository(tmp_path / "softmax", "softmax"))
    assert set(LAYOUTS[0].files(names)) == {
        "options.json", "weights.hdf5", "softmax_weights.hdf5", "vocab-2016-09-10.txt",
    }  # fmt: skip
    folder = published.repository(tmp_path / "nli", "nli")
    names = names_in(folder)
    config = json.loads((folder / "config.json").read_text())
    assert LAYOUTS[1].claims(names, config) and not LAYOUTS[0].claims(names, config)
    assert set(LAYOUTS[1].files(names)) == set(names)


def test_labels_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    labels = ("neutral", "contradiction", "entailment")
    assert load(published.repository(tmp_path, "nli", labels)).heads["nli"].labels == labels


# --- options.json


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("lstm", "lacks lstm"),
        ("lstm.dim", "lacks lstm.dim"),
        ("lstm.use_skip_connections", "lacks lstm.use_skip_connections"),
        ("char_cnn.filters", "lacks char_cnn.filters"),
        ("char_cnn.embedding.dim", "lacks char_cnn.embedding.dim"),
        ("char_cnn.max_characters_per_token", "lacks char_cnn.max_characters_per_token"),
    ],
)
def test_missing_options(path: str, says: str, tmp_path: Path) -> None:
    published.repository(tmp_path, "hdf5")
    *parents, last = path.split(".")

    def drop(value: Any) -> None:
        for parent in parents:
            value = value[parent]
        del value[last]

    edited(tmp_path / "options.json", drop)
    refused(tmp_path, "options.json", says)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("activation", "gelu", "activation = 'gelu' (this zoo computes 'relu' or 'tanh')"),
        ("n_characters", 261, "Set it to 262"),
        ("n_characters", 300, "n_characters = 300"),
        ("n_layers", 0, "from 1 to 64"),
        ("n_layers", 10**9, "from 1 to 64"),
        ("n_highway", 10**9, "n_highway = 1000000000; it must be from 0 to 64"),
        ("cell_clip", 0, "cell_clip = 0"),
        ("proj_clip", "3", "proj_clip = '3'"),
        ("filters", [[51, 4]], "filters"),
        ("filters", [], "filters"),
        ("filters", [[1]], ""),
        ("max_characters_per_token", 2, "3 to 1000"),
        ("max_characters_per_token", 10**9, "3 to 1000"),
        ("use_skip_connections", "yes", "use_skip_connections = 'yes'"),
        ("dim", -3, ""),
    ],
)
def test_strange_options(name: str, value: Any, says: str, tmp_path: Path) -> None:
    published.repository(tmp_path, "hdf5")
    other = published.options(**{name: value})
    if name == "filters" and value == [[51, 4]]:
        other["char_cnn"]["filters"] = [[1, 4], [2, 5], [51, 7]]
    (tmp_path / "options.json").write_text(json.dumps(other))
    refused(tmp_path, says)


def test_options_that_bilm_leaves_out(tmp_path: Path) -> None:
    published.repository(tmp_path, "hdf5", n_layers=1, n_highway=0, cell_clip=None, proj_clip=None)

    def drop(value: Any) -> None:
        for name in ("n_layers", "cell_clip", "proj_clip"):
            del value["lstm"][name]
        del value["char_cnn"]["n_highway"]

    edited(tmp_path / "options.json", drop)
    model = load(tmp_path)
    assert model.config.n_layers == 1 and model.config.cell_clip is None and model.config.n_highway == 0
    assert sum("the format's own value" in note for note in model.report.notes) == 4


def test_options_and_weights_disagree(tmp_path: Path) -> None:
    published.repository(tmp_path, "hdf5")
    (tmp_path / "options.json").write_text(json.dumps(published.options(dim=21, n_layers=3)))
    refused(tmp_path, "does not fit ELMo", "missing", "of the wrong shape", error=CheckpointMismatch)


# --- HDF5


def test_truncated(tmp_path: Path) -> None:
    path = published.repository(tmp_path, "hdf5") / "weights.hdf5"
    whole = path.read_bytes()
    for size in (0, 7, 600, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(tmp_path, str(path), "broken, or was cut off")
    path.write_bytes(whole)
    load(tmp_path)


def test_no_hdf5_at_all(tmp_path: Path) -> None:
    path = published.repository(tmp_path, "hdf5") / "weights.hdf5"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refused(tmp_path, "is no HDF5 file of weights")


def test_another_hdf5(tmp_path: Path) -> None:
    path = published.repository(tmp_path, "hdf5") / "weights.hdf5"
    published.write_hdf5(path, {"model_weights/dense/kernel": np.zeros((3, 4), "float32")})
    refused(tmp_path, "model_weights/dense/kernel", error=CheckpointMismatch)


def _external(file: h5py.File) -> None:
    file["char_embed2"] = h5py.ExternalLink("/etc/passwd", "/")


def _soft(file: h5py.File) -> None:
    file["char_embed2"] = h5py.SoftLink("/char_embed")


def _cycle(file: h5py.File) -> None:
    file["CNN/again"] = file["CNN"]


def _elsewhere(file: h5py.File) -> None:
    file.create_dataset("more", (4,), "float32", external=[("/etc/passwd", 0, 16)])


def _unfolding(file: h5py.File) -> None:
    file.create_dataset("more", (10**7,), "float32", compression="gzip", fillvalue=1.0)


def _sparse(file: h5py.File) -> None:
    file.create_dataset("more", (10**6, 10**6), "float32", chunks=(64, 64))


def _words(file: h5py.File) -> None:
    file.create_dataset("more", data=["a", "b"], dtype=h5py.string_dtype())


def _integers(file: h5py.File) -> None:
    file.create_dataset("more", data=np.zeros(3, "int64"))


@pytest.mark.parametrize(
    "change", [_external, _soft, _cycle, _elsewhere, _unfolding, _sparse, _words, _integers], ids=lambda f: f.__name__
)
def test_hostile(change: Callable[[h5py.File], None], tmp_path: Path) -> None:
    path = published.repository(tmp_path, "hdf5") / "weights.hdf5"
    with h5py.File(path, "a") as file:
        change(file)
    refused(tmp_path, str(path))


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = published.repository(tmp_path, "hdf5") / "weights.hdf5"
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "h5py")
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingPackage, match="pip install h5py"):
        read_hdf5(path)


def test_misshapen_arrays(tmp_path: Path) -> None:
    """Every array in turn with one dimension less, and with one number less: a list of what is wrong, no crash."""
    weights = published.bilm_arrays(published.options())
    published.repository(tmp_path, "hdf5")
    for name, array in weights.items():
        for wrong in (array[0], array[..., :-1]):
            published.write_hdf5(tmp_path / "weights.hdf5", weights | {name: wrong})
            refused(tmp_path, "of the wrong shape", name, error=CheckpointMismatch)


# --- Softmax and words


def test_softmax_without_words(tmp_path: Path) -> None:
    published.repository(tmp_path, "softmax")
    (tmp_path / "vocab-2016-09-10.txt").unlink()
    refused(tmp_path, "no list of the words")


def test_words_of_another_softmax(tmp_path: Path) -> None:
    published.repository(tmp_path, "softmax")
    path = tmp_path / "vocab-2016-09-10.txt"
    path.write_text(path.read_text() + "more\n")
    refused(tmp_path, "softmax/W", error=CheckpointMismatch)
    path.write_text("the\na\n")
    refused(tmp_path, "lacks <S>, </S>, <UNK>")
    path.write_bytes(b"<S>\n\xff\xfe\n")
    refused(tmp_path, "not UTF-8")


def test_a_mark_that_bilm_skips(tmp_path: Path) -> None:
    published.repository(tmp_path, "softmax")
    path = tmp_path / "vocab-2016-09-10.txt"
    words = path.read_text().split()
    path.write_text("\n".join([*words[:4], "!!!MAXTERMID", *words[4:]]))
    model = load(tmp_path)
    assert [model.tokenizer.token(i) for i in range(len(words))] == words


# --- AllenNLP


def _set(*path: str, value: Any) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        for name in path[:-1]:
            config = config[name]
        config[path[-1]] = value

    return change


ELMO = ("model", "text_field_embedder", "token_embedders", "elmo")


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("nli", _set("model", "type", value="crf_tagger"), "type 'crf_tagger', which is not in this zoo"),
        ("nli", _set("model", "type", value=["bidaf"]), "not in this zoo"),
        ("nli", _set("model", value="bidaf"), "model"),
        ("nli", _set("model", "premise_encoder", value={"type": "lstm"}), "premise_encoder"),
        ("nli", _set("model", "matrix_attention", "type", value="bilinear"), "matrix_attention.type = 'bilinear'"),
        ("nli", _set("model", "attend_feedforward", "activations", value="tanh"), "tanh"),
        ("nli", _set("model", "attend_feedforward", "num_layers", value=10**10), "num_layers"),
        ("nli", _set("model", "attend_feedforward", "hidden_dims", value=12), "of the wrong shape"),
        ("nli", _set(*ELMO, "projection_dim", value=3), "projection_dim is not known here"),
        ("nli", _set(*ELMO, "options_file", value="/home/me/options.json"), "options.json, which is not among"),
        ("nli", _set(*ELMO[:-1], "tokens", value={"type": "embedding"}), "tokens is not known here"),
        ("nli", _set("dataset_reader", "tokenizer", "type", value="character"), "tokenizer.type = 'character'"),
        ("qa", _set("model", "phrase_layer", "bidirectional", value=False), "phrase_layer.bidirectional = False"),
        ("qa", _set("model", "modeling_layer", "type", value="gru"), "modeling_layer.type = 'gru'"),
        ("qa", _set("model", "matrix_attention", "combination", value="x,y"), "combination = 'x,y'"),
        ("qa", _set("model", "mask_lstms", value=False), "mask_lstms = False"),
        ("qa", _set("model", "num_highway_layers", value=10**10), "num_highway_layers"),
        ("qa", _set(*ELMO[:-1], "tokens", "projection_dim", value=3), "projection_dim is not known here"),
        ("qa", _set(*ELMO[:-1], "token_characters", "encoder", "output_dim", value=3), "output_dim"),
        ("qa", _set("dataset_reader", "token_indexers", "tokens", "lowercase_tokens", value=False), "lowercase_tokens"),
    ],
)  # fmt: skip
def test_other_models_of_allennlp(kind: str, change: Callable[[Any], None], says: str, tmp_path: Path) -> None:
    published.repository(tmp_path, kind)
    edited(tmp_path / "config.json", change)
    refused(tmp_path, says, error=ZooError)


def test_without_vocabulary(tmp_path: Path) -> None:
    for kind, name in (("nli", "labels"), ("qa", "tokens")):
        folder = published.repository(tmp_path / kind, kind)
        (folder / "vocabulary" / f"{name}.txt").unlink()
        refused(folder, f"vocabulary/{name}.txt")


def test_weights_of_another_model(tmp_path: Path) -> None:
    published.repository(tmp_path, "nli")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.th")
    refused(tmp_path, "holds no ELMo")
    (tmp_path / "weights.th").write_bytes(b"PK\x03\x04 cut off")
    refused(tmp_path, "weights.th")


# --- Words as rows


def test_rows_of_bidaf(tmp_path: Path) -> None:
    """ELMo's characters, the number of the word in lower case, and all of its bytes, however many."""
    tokenizer = load(published.repository(tmp_path, "qa")).tokenizer
    long = "x" * 60
    rows = tokenizer.pieces(f"The CAT {long} ü").ids
    assert [row[50] for row in rows] == [2, 4, 1, 1]
    assert rows[0][50:] == (2, 259, ord("T") + 1, ord("h") + 1, ord("e") + 1, 260)
    assert rows[2][:3] == (259, ord("x") + 1, ord("x") + 1) and rows[2][49] == 260 and len(rows[2]) == 50 + 1 + 62
    assert rows[3][51:] == (259, 0xC3 + 1, 0xBC + 1, 260)


def test_sentences_of_nli_end_in_null(tmp_path: Path) -> None:
    """Both sentences get the word @@NULL@@, which words may align with."""
    tokenizer = load(published.repository(tmp_path, "nli")).tokenizer
    encoding = tokenizer.assemble(tokenizer.pieces("A cat"), tokenizer.pieces("x"))
    assert encoding.sources == (-1, 0, 0, -1, -1, -1, 1, -1, -1)
    assert encoding.segments == (0,) * 5 + (1,) * 4
    null = (259, *(byte + 1 for byte in b"@@NULL@@"), 260)
    assert encoding.ids[3][:10] == encoding.ids[7][:10] == null
    assert tokenizer.extras(True) == 6
