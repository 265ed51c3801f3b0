"""Weight files: five formats hold the same tensors, our two conventions are undone, and no file is trusted."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests import tiny
from zoo.errors import BadCheckpoint
from zoo.models import bert, gpt2
from zoo.weights.formats import read_json, read_tensors, shard_names, unpack, weight_files
from zoo.weights.load import load_folder

FAMILIES = (bert.FAMILY, gpt2.FAMILY)
FORMS = ("safetensors", "bin", "old bin")


def parameters(folder: Path) -> dict[str, Tensor]:
    return dict(load_folder(folder, FAMILIES).network.named_parameters())


def write(path: Path, state: dict[str, Tensor], form: str) -> Path:
    if form == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(state, path)
    else:
        path = path.with_suffix(".bin")
        torch.save(state, path, _use_new_zipfile_serialization=form == "bin")
    return path


# --- All formats give the same numbers


@pytest.mark.parametrize("make", [tiny.bert, tiny.gpt2])
@pytest.mark.parametrize("layout", tiny.LAYOUTS)
def test_layouts_hold_equal_tensors(tmp_path: Path, make: Any, layout: str) -> None:
    checkpoint = make()
    folder = checkpoint.write(tmp_path, layout)
    read = read_tensors(weight_files(folder))
    assert set(checkpoint.plain()) <= set(read)
    assert all(torch.equal(read[name], tensor) for name, tensor in checkpoint.plain().items())
    assert all(torch.equal(tensor, checkpoint.state[name]) for name, tensor in read.items())


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (tiny.bert, tiny.old_norms),
        (tiny.bert, lambda c: tiny.without_prefix(c, "bert.")),
        (tiny.bert, tiny.with_buffers),
        (tiny.gpt2, lambda c: tiny.without_prefix(c, "transformer.")),
        (tiny.gpt2, tiny.with_buffers),
        (tiny.gpt2, lambda c: tiny.without_prefix(tiny.with_buffers(c), "transformer.")),
    ],
)
@pytest.mark.parametrize("form", ["safetensors", "old bin"])
def test_names_of_all_times_load_the_same(tmp_path: Path, make: Any, change: Any, form: str) -> None:
    expected = parameters(make().write(tmp_path / "today"))
    found = parameters(change(make()).write(tmp_path / "then", form))
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_names_in_the_tiny_files_are_what_they_say() -> None:
    assert any(key.endswith("LayerNorm.gamma") for key in tiny.old_norms(tiny.bert()).state)
    assert not any(key.startswith("bert.") for key in tiny.without_prefix(tiny.bert(), "bert.").state)
    assert tiny.with_buffers(tiny.gpt2()).state["transformer.h.0.attn.bias"].dim() == 4
    assert "lm_head.weight" in tiny.gpt2().state


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    checkpoint = tiny.gpt2().with_state({name: t.to(dtype) for name, t in tiny.gpt2().state.items()})
    for name, parameter in parameters(checkpoint.write(tmp_path)).items():
        assert parameter.dtype == torch.float32, name
        assert not parameter.requires_grad


def test_safetensors_win_over_pickles(tmp_path: Path) -> None:
    tiny.bert().write(tmp_path, "bin")
    tiny.bert().write(tmp_path, "sharded safetensors")
    assert [path.name for path in weight_files(tmp_path)] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    tiny.bert().write(tmp_path, "safetensors")
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


def test_links_to_a_cache_are_followed(tmp_path: Path) -> None:
    blob = tiny.bert().write(tmp_path / "blobs") / "model.safetensors"
    folder = tiny.bert().write(tmp_path / "snapshot", "bin")
    (folder / "pytorch_model.bin").unlink()
    (folder / "model.safetensors").symlink_to(blob)
    assert parameters(folder)


# --- Our own two conventions


def test_row_ranges_are_joined_in_the_order_of_their_numbers() -> None:
    whole = torch.arange(24.0).view(12, 2)
    parts = {f"a@{i}": whole[i : i + 1] for i in random.Random(0).sample(range(12), 12)}
    joined = unpack(parts | {"mail@home": whole[:1]})
    assert joined.keys() == {"a", "mail@home"}
    assert torch.equal(joined["a"], whole)


def test_int8_rows_are_multiplied_by_their_factors() -> None:
    rows = torch.tensor([[1, -2], [3, 127]], dtype=torch.int8)
    factors = torch.tensor([0.5, 2.0], dtype=torch.float16)
    read = unpack({"a": rows, "a.scale": factors, "b.scale": factors})
    assert read.keys() == {"a", "b.scale"}, "a factor with no int8 tensor beside it is a tensor of its own"
    assert torch.equal(read["a"], torch.tensor([[0.5, -1.0], [6.0, 254.0]]))


def test_both_conventions_together() -> None:
    rows, factors = torch.arange(8, dtype=torch.int8).view(4, 2), torch.tensor([1.0, 2.0, 3.0, 4.0])
    read = unpack({"a@0": rows[:1], "a@1": rows[1:], "a.scale": factors})
    assert torch.equal(read["a"], rows.float() * factors[:, None])


ONE = torch.ones(2, 2)
INT8 = torch.ones(2, 2, dtype=torch.int8)


@pytest.mark.parametrize(
    "tensors",
    [
        {"a@0": ONE, "a@2": ONE},
        {"a@1": ONE},
        {"a@0": ONE, "a@1": torch.ones(2, 3)},
        {"a@0": ONE, "a@1": INT8},
        {"a@0": torch.tensor(1.0)},
        {"a@0": ONE, "a": ONE},
        {"a": INT8, "a.scale": torch.ones(3)},
        {"a": INT8, "a.scale": torch.tensor(1.0)},
        {"a": INT8[0], "a.scale": torch.ones(2)},
    ],
)
def test_conventions_that_do_not_fit_together(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(BadCheckpoint, match=r"gap|fit together|one factor a row"):
        unpack(tensors)


# --- Broken files


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.99])
def test_half_a_file(tmp_path: Path, form: str, kept: float) -> None:
    path = write(tmp_path / "weights", {"a": torch.randn(40, 40), "b": torch.randn(40)}, form)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(BadCheckpoint, match=r"weights\.\w+ is broken or was cut off.*download"):
        read_tensors([path])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", FORMS)
def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "weights", {f"a.{i}": torch.randn(4, 3) for i in range(3)}, form)
    data, chance, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(chance.choice([1, 3, 10])):
            damaged[chance.randrange(min(900, len(data)))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            read_tensors([path])
        except BadCheckpoint:
            refused += 1
    assert refused > 75


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_web_page_instead_of_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html>Please log in</html>")
    with pytest.raises(BadCheckpoint, match="broken or was cut off"):
        read_tensors([tmp_path / name])


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"holds no weights: none of model\.safetensors, .* is there"):
        weight_files(tmp_path)


def test_shards_that_are_missing_are_all_named(tmp_path: Path) -> None:
    for path in weight_files(tiny.bert().write(tmp_path, "sharded safetensors")):
        path.unlink()
    with pytest.raises(BadCheckpoint, match=r"lacks model-00001-of-00002\.safetensors, model-00002-of-00002"):
        weight_files(tmp_path)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, {"a": ONE}, "safetensors") for name in ("one", "two"))
    with pytest.raises(BadCheckpoint, match=r"two\.safetensors holds a, which another file"):
        read_tensors([first, second])


@pytest.mark.parametrize(
    "index", ["{", "[]", "{}", '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}', "\xff", "[" * 100_000, "1" * 5000]
)
def test_a_broken_index(tmp_path: Path, index: str) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(index.encode("latin-1"))
    with pytest.raises(BadCheckpoint, match=r"index\.json"):
        shard_names(path)


@pytest.mark.parametrize(
    "shard",
    ["../weights.bin", "/etc/passwd", "..", ".", "", "sub/weights.bin", "..\\weights.bin", "C:weights.bin", "a\x00b"],
)
def test_an_index_that_names_files_outside_its_folder(tmp_path: Path, shard: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(BadCheckpoint, match="names files outside its folder"):
        weight_files(tmp_path)


def test_json_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(BadCheckpoint, match=r"config\.json cannot be read: Is a directory"):
        read_json(tmp_path / "config.json")
    with pytest.raises(BadCheckpoint, match=r"lacks other\.json"):
        read_json(tmp_path / "other.json")


# --- Hostile files


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("form", ["bin", "old bin", "plain pickle", "bare object"])
def test_a_pickle_that_would_run_a_command_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    trace = tmp_path / "it-ran"
    hostile: Any = {"weight": ONE, "more": Evil(trace)}
    path = tmp_path / "pytorch_model.bin"
    if form == "plain pickle":
        path.write_bytes(pickle.dumps({"more": Evil(trace)}, protocol=2))
    elif form == "bare object":
        path.write_bytes(pickle.dumps(Evil(trace), protocol=2))
    else:
        torch.save(hostile, path, _use_new_zipfile_serialization=form == "bin")
    with pytest.raises(BadCheckpoint, match=r"objects other than tensors \(posix\.system\)") as refused:
        read_tensors([path])
    assert not trace.exists()
    assert "weights_only" not in str(refused.value), "advice to open the file all the same"


def test_the_hostile_pickle_of_these_tests_is_hostile(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "it-ran")))  # noqa: S301 (our own)
    assert (tmp_path / "it-ran").exists()


def test_a_hostile_pickle_in_a_shard(tmp_path: Path) -> None:
    folder = tiny.bert().write(tmp_path / "bert", "sharded bin")
    torch.save({"weight": Evil(tmp_path / "it-ran")}, folder / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(BadCheckpoint, match="objects other than tensors"):
        load_folder(folder, FAMILIES)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("content", [[ONE], ONE, {"a": 1}, {"a": {"b": ONE}}, {1: ONE}, None])
def test_a_pickle_that_is_no_dictionary_of_tensors(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadCheckpoint, match="no plain dictionary of tensors"):
        read_tensors([tmp_path / "pytorch_model.bin"])


def test_ordered_dictionaries_of_parameters_are_fine(tmp_path: Path) -> None:
    torch.save(OrderedDict(a=torch.nn.Parameter(ONE)), tmp_path / "pytorch_model.bin")
    assert torch.equal(read_tensors([tmp_path / "pytorch_model.bin"])["a"], ONE)
