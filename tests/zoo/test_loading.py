"""Loading keeps one copy of the numbers: what needs no operation stays in the mapped file, what is copied leaves it."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests import tiny
from zoo.bench.fullsize import MODELS
from zoo.contracts import Batch
from zoo.errors import BadCheckpoint
from zoo.family import Model, empty_network
from zoo.models.shelf import FAMILIES
from zoo.weights import formats, keymap
from zoo.weights.load import load_folder

MAPS = Path("/proc/self/smaps")
linux = pytest.mark.skipif(not MAPS.is_file(), reason="needs /proc/self/smaps, where Linux says what is mapped")
ROOT = Path(__file__).resolve().parents[2]


def load(folder: Path) -> Model:
    """Load a folder with all families."""
    return load_folder(folder, FAMILIES)


def mapped(path: Path) -> list[tuple[int, int, int]]:
    """Where a file is mapped in this process: first and last address, and the bytes of it that are in memory."""
    found: list[tuple[int, int, int]] = []
    inside = False
    for line in MAPS.read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):  # the head of a part
            inside = line.endswith(str(path))
            start, end = (int(place, 16) for place in words[0].split("-"))
        elif inside and words[0] == "Rss:":
            found.append((start, end, int(words[1]) * 1024))
    return found


def lies_in(tensor: Tensor, path: Path) -> bool:
    """Whether the numbers of a tensor are those of the mapped file."""
    return any(start <= tensor.data_ptr() < end for start, end, _ in mapped(path))


# --- Where parameters lie


@linux
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_float32_parameters_lie_in_the_mapped_file(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but BERT's joined queries, keys and values, and what is small."""
    monkeypatch.setattr(keymap, "SMALL", 0)
    folder = tiny.bert().write(tmp_path, "safetensors" if file == "model.safetensors" else "bin")
    parameters = dict(load(folder).network.named_parameters())
    copied = {name for name, tensor in parameters.items() if not lies_in(tensor, folder / file)}
    assert copied == {name for name in parameters if ".qkv." in name}
    assert len(copied) == 4


@linux
def test_transposed_matrices_lie_in_the_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2's [in, out] is seen as [out, in], and nothing is copied."""
    monkeypatch.setattr(keymap, "SMALL", 0)
    folder = tiny.gpt2().write(tmp_path)
    parameters = dict(load(folder).network.named_parameters())
    assert all(lies_in(tensor, folder / "model.safetensors") for tensor in parameters.values())
    assert torch.equal(parameters["body.blocks.0.feed_forward.up.weight"], tiny.gpt2().state[UP].t())


def test_answers_do_not_depend_on_where_a_file_begins(tmp_path: Path) -> None:
    """A header of any length lies before the numbers; one row through a matrix gives the same bits after each."""
    tiny_bert, scores = tiny.bert("BertForSequenceClassification"), []
    for odd in range(0, 64, 8):
        folder = tiny_bert.write(tmp_path / str(odd))
        save_file(tiny_bert.plain(), folder / "model.safetensors", {"format": "pt", "padding": " " * odd})
        model = load(folder)
        assert not [n for n, tensor in model.network.heads.named_parameters() if tensor.data_ptr() % keymap.ALIGNED]
        batch = Batch.of([model.tokenizer.assemble(model.tokenizer.pieces("the cat sat."))])
        scores.append(model.network(batch, "classifier"))
    assert all(torch.equal(each, scores[0]) for each in scores)


UP = "transformer.h.0.mlp.c_fc.weight"


def test_tied_tensors_stay_one(tmp_path: Path) -> None:
    """With one name or two in the file, there is one parameter, and the head holds the embedding."""
    for layout in ("safetensors", "bin"):  # the second has both names
        network = load(tiny.gpt2().write(tmp_path / layout, layout)).network
        assert network.heads["lm"].embedding is network.body.word
        assert len([p for p in network.parameters() if len(p) == 260]) == 1


def test_equal_second_names_are_not_compared_number_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tied pair of a pickle is the same memory."""
    monkeypatch.setattr(torch, "equal", lambda a, b: pytest.fail("read the numbers"))
    one = torch.ones(2, 3)
    rules = (keymap.Rename("in", "x"), keymap.Alias("out", "x"))
    filled, _ = keymap.apply(keymap.KeyTable(rules), {"in": one, "out": one[:]}, {"x": one.shape}, "file", "TOY")
    assert filled["x"].data_ptr() == one.data_ptr()


def test_a_second_name_of_another_dtype() -> None:
    """Half precision beside float32 is compared as numbers; other numbers are refused, not run into."""
    rules = (keymap.Rename("in", "x"), keymap.Alias("out", "x"))
    tensors = {"in": torch.ones(2), "out": torch.ones(2).half()}
    filled, report = keymap.apply(keymap.KeyTable(rules), tensors, {"x": torch.Size([2])}, "file", "TOY")
    assert filled["x"].dtype == torch.float32
    assert "same numbers" in report.dropped["out"]


# --- What is copied


@linux
def test_pages_of_joined_tensors_are_given_back(tmp_path: Path) -> None:
    """After joining queries, keys and values next to nothing of the file is in memory, though all of it is mapped."""
    width = 512
    weights = {f"{part}.weight": torch.randn(width, width) for part in ("q", "k", "v")}
    path = tmp_path / "model.safetensors"
    save_file(weights, path)
    tensors = formats.read_tensors([path])
    table = keymap.KeyTable((keymap.Join(tuple(weights), "qkv.weight"),))
    wanted = {"qkv.weight": torch.Size([3 * width, width])}
    filled, _ = keymap.apply(table, tensors, wanted, "file", "TOY", formats.copier([path], tensors))
    assert torch.equal(filled["qkv.weight"], torch.cat(list(weights.values())))
    assert len(mapped(path)) == 1, "only what `tensors` holds is still mapped"
    assert sum(resident for *_, resident in mapped(path)) < path.stat().st_size / 10


@linux
def test_pages_of_half_precision_are_given_back(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.randn(512, 1024).half()}, path)
    tensors = formats.read_tensors([path])
    table = keymap.KeyTable((keymap.Rename("a", "x", keymap.transpose),))
    wanted = {"x": torch.Size([1024, 512])}
    filled, _ = keymap.apply(table, tensors, wanted, "file", "TOY", formats.copier([path], tensors))
    assert sum(resident for *_, resident in mapped(path)) < path.stat().st_size / 10
    assert torch.equal(filled["x"], tensors["a"].float().t())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("layout", tiny.LAYOUTS)
@pytest.mark.parametrize("make", [tiny.bert, tiny.gpt2])
def test_other_precisions_are_converted(tmp_path: Path, make: type, layout: str, dtype: torch.dtype) -> None:
    """To the numbers that the file has; the report is that of float32."""
    exact = make()
    rounded = exact.with_state({key: tensor.to(dtype) for key, tensor in exact.state.items()})
    model = load(rounded.write(tmp_path / "a", layout))
    back = rounded.with_state({key: tensor.float() for key, tensor in rounded.state.items()})
    same = load(back.write(tmp_path / "b", layout))
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}
    assert model.report == same.report
    for (name, a), (_, b) in zip(model.network.named_parameters(), same.network.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_copies_are_the_same(tmp_path: Path) -> None:
    """Of shards, and of tensors that were put together out of ranges and factors."""
    state = {"a@0": torch.ones(2, 3), "a@1": torch.zeros(1, 3), "b": torch.ones(2, 2, dtype=torch.int8)}
    state |= {"b.scale": torch.tensor([2.0, 3.0]), "c": torch.rand(4)}
    paths = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    save_file({key: state[key] for key in ("a@0", "b")}, paths[0])
    save_file({key: state[key] for key in ("a@1", "b.scale", "c")}, paths[1])
    tensors = formats.read_tensors(paths)
    copy = formats.copier(paths, tensors)
    assert set(tensors) == {"a", "b", "c"}
    for key, tensor in tensors.items():
        room = torch.full_like(tensor, -1)
        copy(key, room)
        assert torch.equal(room, tensor), key


def test_a_file_that_ends_while_it_is_copied(tmp_path: Path) -> None:
    """Is refused; nothing is left half filled."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.rand(64, 64)}, path)
    tensors = formats.read_tensors([path])
    copy = formats.copier([path], tensors)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 100)
    with pytest.raises(BadCheckpoint, match="cut off"):
        copy("a", torch.empty(64, 64))


def test_joined_integers_are_still_refused() -> None:
    """Conversion is for precision; numbers of another kind are passed on as they are, for the loader to refuse."""
    tensors = {name: torch.ones(2, dtype=torch.int32) for name in "qkv"}
    table = keymap.KeyTable((keymap.Join(("q", "k", "v"), "x"),))
    filled, _ = keymap.apply(table, tensors, {"x": torch.Size([6])}, "file", "TOY")
    assert filled["x"].dtype == torch.int32


# --- What loading does not do


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """Neither the compiler of torch, which first values on the meta device would import, nor the Hub's client."""
    MODELS["bert-base"].write(tmp_path, tiny=True)
    program = """
import sys, torch
before = set(sys.modules)
import zoo
zoo.load(sys.argv[1])
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
print([name for name in set(sys.modules) - before if name.startswith("torch._")])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    heavy = {"transformers", "gradio", "pandas", "huggingface_hub", "h5py", "spacy", "sympy", "numpy", "requests"}
    assert heavy.isdisjoint(json.loads(out[0].replace("'", '"')))
    assert out[1] == "[]"


def test_no_first_values_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*_: object, **__: object) -> None:
        raise AssertionError("drew first values")

    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, draw)
    built = empty_network(TOY, None, {})
    assert all(p.is_meta for p in built.parameters())


class _Toy:
    """As much of a family as building needs."""

    @staticmethod
    def build(config: None, heads: object) -> nn.ModuleList:
        bare = nn.Linear(2, 3)
        nn.init.normal_(tensor=bare.weight)
        return nn.ModuleList([bare, nn.Embedding(4, 2), nn.LayerNorm(2), nn.LSTM(2, 3), nn.Conv1d(1, 2, 3)])


TOY: Any = _Toy()


@pytest.fixture
def collecting() -> Iterator[None]:
    """Collections are on before and after."""
    gc.enable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collecting")
def test_collections_go_on_after_loading(tmp_path: Path) -> None:
    """Also when loading fails; who had switched them off finds them off."""
    load(tiny.bert().write(tmp_path / "a"))
    assert gc.isenabled()
    with pytest.raises(Exception, match="config"):
        load(tmp_path)
    assert gc.isenabled()
    gc.disable()
    load(tmp_path / "a")
    assert not gc.isenabled()


# --- The same numbers


def test_one_row_and_many_give_the_same_from_a_view(tmp_path: Path) -> None:
    """GPT-2's matrices as views of the file compute what copies in the usual order of memory compute."""
    MODELS["gpt2"].write(tmp_path, tiny=True)
    view, copy = load(tmp_path), load(tmp_path)
    for module in copy.network.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.contiguous(), requires_grad=False)
    strides = {m.weight.is_contiguous() for m in view.network.modules() if isinstance(m, nn.Linear)}
    assert strides == {False}
    for text in ("a", "some words of a text"):
        batch = Batch.of([view.tokenizer.assemble(view.tokenizer.pieces(text))])
        with torch.inference_mode():
            a, b = (model.network(batch, "lm") for model in (view, copy))
        assert (a - b).abs().max() <= 1e-6
