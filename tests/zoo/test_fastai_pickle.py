"""Pickles of whole objects: nothing in them runs, what they hold of a Learner is found, what is not read is refused."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.parity.ulmfit_numpy import Shape, weights
from tests.published import ulmfit as published
from zoo.contracts import Batch
from zoo.errors import BadCheckpoint, CheckpointMismatch
from zoo.family import Model
from zoo.models.shelf import FAMILIES
from zoo.training.export import export
from zoo.weights.load import load_folder, slots
from zoo.weights.stones import Stone, kind_of, read_objects, walk

TEXT = "The cat sat on the MAT!!!! It's great, no no no no."


def load(folder: Path) -> Model:
    return load_folder(folder, FAMILIES)


def scores(model: Model, text: str = TEXT) -> torch.Tensor:
    batch = Batch.of([model.tokenizer.assemble(model.tokenizer.pieces(text))])
    with torch.no_grad():
        return model.network(batch, next(iter(model.heads)))


def learner(folder: Path, labels: tuple[Any, ...] = ("neg", "pos"), form: str = "zip", **more: Any) -> Path:
    """A folder with a classifier's Learner of which `more` replaces parts."""
    shape = Shape(labels=max(len(labels), 2))
    folder.mkdir(exist_ok=True)
    with published.fastai() as classes:
        model = published.build(classes, shape, "classifier", weights(shape, 1))
        more.get("change", lambda *_: None)(classes, model)
        whole = published.learner_2(classes, model, list(published.words(shape)), labels, **more)
        published.save(whole, folder / "export.pkl", form)
    return folder


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        load(folder)
    assert all(word in caught.value.message for word in words), caught.value.message


# Nothing runs.


class Calls:
    """Unpickling it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("form", ["zip", "old", "plain"])
@pytest.mark.parametrize("where", ["alone", "inside"])
def test_a_call_of_the_system_does_nothing(where: str, form: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for function, argument in ((os.system, f"touch {trace}"), (eval, f"open({str(trace)!r}, 'w')"), (exec, "1/0")):
        evil = Calls(function, argument)
        whole = evil if where == "alone" else {"model": nn.Linear(1, 1), "dls": [evil, {"key": evil}]}
        path = tmp_path / "export.pkl"
        if form == "plain":
            path.write_bytes(pickle.dumps(evil if where == "alone" else [evil]))
        else:
            published.save(whole, path, form)
        refused(tmp_path, "export.pkl")
        found = [part for part in walk(read_objects(path)) if isinstance(part, Stone) and part.arguments == (argument,)]
        assert [kind_of(part).rpartition(".")[2] for part in found] == [function.__name__]
    assert not trace.exists()


def test_the_control_runs(tmp_path: Path) -> None:
    """The same pickle does run where it is opened as pickles are: the test above proves something."""
    trace = tmp_path / "trace"
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {trace}")))  # noqa: S301
    assert trace.exists()


def test_a_working_learner_with_a_call_in_its_data_loads_and_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    def change(_: Any, model: nn.Module) -> None:
        model.__dict__["hook"] = Calls(os.system, f"touch {trace}")
        model.__dict__["attribute"] = Calls(getattr, "", "join")

    assert load(learner(tmp_path, change=change)).heads["classifier"].labels == ("neg", "pos")
    assert not trace.exists()


def test_modules_are_not_imported(tmp_path: Path) -> None:
    """Names of a pickle are never looked up, not even to see whether they exist."""
    (tmp_path / "x.pkl").write_bytes(b"cantigravity_no_such_module\nevil\n(S'x'\ntR.")
    (tmp_path / "y.pkl").write_bytes(b"cwsgiref.handlers\nCGIHandler\n.")
    sys.modules.pop("wsgiref.handlers", None)
    assert kind_of(read_objects(tmp_path / "x.pkl")) == "antigravity_no_such_module.evil"
    assert kind_of(read_objects(tmp_path / "y.pkl")) == "wsgiref.handlers.CGIHandler"
    assert "wsgiref.handlers" not in sys.modules


def test_no_file_leaves_a_trace_on_the_next(tmp_path: Path) -> None:
    """A pickle may set attributes of what it was given; the next file gets things made anew."""
    poison = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}U\x0c__defaults__(K\x01ts\x86b"
        b"cfastai.learner\nLearner\n."
    )  # fmt: skip
    (tmp_path / "poison.pkl").write_bytes(poison)
    read_objects(tmp_path / "poison.pkl")
    assert load(learner(tmp_path / "good"))
    assert not hasattr(Stone, "poison")


# What is broken, or made to keep us busy.


def resaved(path: Path, change: Any) -> None:
    """The same zip file with `change(name, bytes)` for every part."""
    with zipfile.ZipFile(path) as archive:
        parts = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            new = change(name, data)
            if new is not None:
                archive.writestr(name, new)


def test_storages_that_are_not_there(tmp_path: Path) -> None:
    learner(tmp_path)
    resaved(tmp_path / "export.pkl", lambda name, data: data[:-4] if name.endswith("/data/0") else data)
    refused(tmp_path, "export.pkl", "claims")
    learner(tmp_path)
    resaved(tmp_path / "export.pkl", lambda name, data: None if name.endswith("/data/1") else data)
    refused(tmp_path, "export.pkl", "not there")


@pytest.mark.parametrize("key", ["../../../etc/passwd", "/etc/passwd", "..\\x"])
def test_parts_are_never_looked_for_on_the_disk(key: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    whole = (
        b"\x80\x02(U\x07storagectorch\nFloatStorage\nU" + bytes([len(key)]) + key.encode() + b"U\x03cpuK\x01tQ."
    )  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("x/data.pkl", whole)
    with pytest.raises(BadCheckpoint, match="not there"):
        read_objects(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"x/data/{key}", b"1234")
    if ".." in key:
        with pytest.raises(BadCheckpoint, match="outside"):
            read_objects(path)


def test_a_zip_that_unfolds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export.pkl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"N." + b"\0" * 10_000_000)
    refused(tmp_path, "compressed")


@pytest.mark.parametrize("where", [1, 100, 3000, -300, -5])
@pytest.mark.parametrize("form", ["zip", "old"])
def test_a_file_that_was_cut_off(form: str, where: int, tmp_path: Path) -> None:
    path = learner(tmp_path, form=form) / "export.pkl"
    path.write_bytes(path.read_bytes()[:where])
    refused(tmp_path, "export.pkl")


WIDE = b"".join(b"0(" + bytes([ord("h"), depth]) * 100 + b"tq" + bytes([depth + 1]) for depth in range(8))
BOMBS = {
    "memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "text memo": b"Np2147483647\n.",
    "tuples": b"\x80\x02}K\x01" + b"\x86".join([b"2"] * 60) + b"\x86NsN.",
    "wide tuples": b"\x80\x02}K\x01q\x00" + WIDE + b"Ns.",
    "bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b".",
    "string": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b".",
    "no stop": b"\x80\x02" + b"N0" * 50,
    "extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_pickle_that_wants_memory_or_time(bomb: str, tmp_path: Path) -> None:
    (tmp_path / "export.pkl").write_bytes(BOMBS[bomb])
    refused(tmp_path, "export.pkl")


def test_an_old_file_whose_storage_is_larger_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "export.pkl"
    torch.save(torch.zeros(200, dtype=torch.uint8), path, _use_new_zipfile_serialization=False)
    assert len(read_objects(path)) == 200
    data = path.read_bytes()
    count = b"K\xc8"  # 200, as the storage claims it and as the size of the tensor
    assert data.count(count) == 2
    path.write_bytes(data.replace(count, b"J\xff\xff\xff\x7f", 1))
    refused(tmp_path, "claims 2,147,483,647 bytes")


def test_modules_without_end(tmp_path: Path) -> None:
    def change(_: Any, model: nn.Module) -> None:
        model._modules["again"] = model

    refused(learner(tmp_path, change=change), "no tree of modules")


def test_numbers_that_repeat(tmp_path: Path) -> None:
    """A tensor that shows four bytes a billion times."""
    state = {"0.encoder.weight": torch.zeros(1, 1).expand(50_000, 20_000)}
    torch.save(state, tmp_path / "model.pth")
    (tmp_path / "itos.json").write_text("[]", encoding="utf-8")
    refused(tmp_path, "model.pth")


# What is in it, and what this zoo does not read.


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"transforms": ["reverse_text"]}, ("from their end",)),
        ({"language": "de.German"}, ("another language",)),
        ({"cutter": "SentencePieceTokenizer"}, ("SentencePieceTokenizer",)),
        ({"rules": ("fix_html", "shout")}, ("shout",)),
        ({"categories": "MultiCategorize"}, ("any number of labels",)),
    ],
)
def test_learners_that_are_not_read(more: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    refused(learner(tmp_path, **more), *words)


def test_a_score_within_a_range_is_no_category(tmp_path: Path) -> None:
    def change(classes: Any, model: Any) -> None:
        model[1].layers.add_module("2", classes.get("fastai.layers", "SigmoidRange", nn.Module)())

    refused(learner(tmp_path, change=change), "within a range")


def test_labels_that_are_no_plain_values_are_numbered(tmp_path: Path) -> None:
    assert load(learner(tmp_path, (Calls(str, "x"), "pos"))).heads["classifier"].labels == ("LABEL_0", "LABEL_1")
    assert load(learner(tmp_path, (0, 1, 2))).heads["classifier"].labels == ("0", "1", "2")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"0.rnns.0.layers.0.linear.weight_raw": torch.zeros(2, 2)}, ("QRNN",)),
        ({"0.rnns.0.module.weight_ih_l0_reverse": torch.zeros(2, 2)}, ("both directions",)),
        ({"0.layers.0.attention.weight": torch.zeros(2, 2)}, ("no AWD-LSTM",)),
        ({}, ("no AWD-LSTM",)),
    ],
)
def test_networks_that_are_not_read(state: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "model.pth")
    (tmp_path / "itos.pkl").write_bytes(pickle.dumps(list(published.words(Shape()))))
    refused(tmp_path, *words)


def test_one_tensor_more_or_less(tmp_path: Path) -> None:
    for key, value in (("0.rnns.1.module.bias_ih_l0", None), ("0.rnns.9.extra", torch.zeros(1))):
        published.repository(tmp_path, "lm")
        state = dict(torch.load(tmp_path / "model.pth"))
        state.pop(key, None)
        torch.save(state | ({key: value} if value is not None else {}), tmp_path / "model.pth")
        with pytest.raises(CheckpointMismatch):
            load(tmp_path)


def test_vocabularies_that_do_not_fit(tmp_path: Path) -> None:
    published.repository(tmp_path, "lm")
    path = tmp_path / "itos_wt103.pkl"
    for words in (published.words(Shape())[:-1], (*published.words(Shape()), "more")):
        path.write_bytes(pickle.dumps(list(words)))
        refused(tmp_path, f"{len(words)} words", "30 rows")
    path.write_bytes(pickle.dumps(["a"] * 30))
    refused(tmp_path, "no vocabulary of fastai")
    path.write_bytes(pickle.dumps([*published.SPECIALS["2"], *(f"▁{i}" for i in range(21))]))
    refused(tmp_path, "SentencePiece")
    path.write_bytes(pickle.dumps({"the": 0}))
    refused(tmp_path, "no list of words")


def test_several_candidates(tmp_path: Path) -> None:
    learner(tmp_path)
    (tmp_path / "other.pkl").write_bytes(b"N.")
    refused(tmp_path, "export.pkl", "other.pkl")
    published.repository(tmp_path / "two", "lm")
    (tmp_path / "two" / "bwd.pth").write_bytes(b"")
    refused(tmp_path / "two", "bwd.pth", "model.pth")


def test_folders_of_other_programs_are_not_claimed() -> None:
    from zoo.models.ulmfit import FAMILY

    for names in (
        ["options.json", "weights.hdf5"],
        ["config.json", "weights.th", "vocabulary/tokens.txt"],
        ["config.json", "pytorch_model.bin", "vocab.txt"],
        ["model.safetensors"],
        ["tf_model.h5", "config.json"],
        ["data/export.pkl"],
        ["itos.pkl"],
    ):
        assert not any(layout.claims(names, {}) for layout in FAMILY.layouts), names
    assert [layout.files(["README.md", "x.pkl"]) for layout in FAMILY.layouts if layout.claims(["x.pkl"], {})] == [
        ("x.pkl",)
    ]


KINDS = ["learner lm", "learner classifier", "learner 1 lm", "learner 1 classifier", "lm", "classifier", "lm 1",
         "classifier 1", "lm 0.7", "classifier 0.7", "encoder", "encoder 1", "encoder 0.7"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_written_in_our_own_layout_it_is_the_same(kind: str, tmp_path: Path) -> None:
    """Numbers to the last bit, ids, labels, and the statistics of the norms."""
    model = load(published.repository(tmp_path / "fastai", kind))
    export(tmp_path / "ours", model.family, model.config, model.network, model.heads, model.tokenizer, quantized=False)
    again = load(tmp_path / "ours")
    assert (again.config, again.heads) == (model.config, model.heads)
    assert again.tokenizer.pieces(TEXT) == model.tokenizer.pieces(TEXT)
    ours, theirs = slots(again.network), slots(model.network)
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)
    for tensor in (*ours.values(), *theirs.values()):  # where a matrix lies decides in which order it is multiplied
        tensor.data = tensor.data.clone()
    assert torch.equal(scores(again), scores(model))


def test_ordered_dictionaries_and_sets_are_themselves(tmp_path: Path) -> None:
    torch.save([OrderedDict(a=1), {1, 2}, torch.arange(3, dtype=torch.int16), nn.Parameter(torch.ones(2, 3).T)],
               tmp_path / "x.pkl")  # fmt: skip
    first, second, third, fourth = read_objects(tmp_path / "x.pkl")
    assert (first, second, third.tolist(), fourth.tolist()) == (OrderedDict(a=1), {1, 2}, [0, 1, 2], [[1.0, 1.0]] * 3)
