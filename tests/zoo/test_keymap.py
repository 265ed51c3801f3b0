"""Key tables: every key finds one rule, every parameter is filled once, or one error lists all of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from zoo.errors import CheckpointMismatch
from zoo.weights.keymap import (
    Alias,
    Drop,
    Join,
    KeyTable,
    LoadReport,
    Rename,
    Rule,
    apply,
    modern_names,
    transpose,
)


def numbers(*shape: int, start: int = 0) -> Tensor:
    """Different numbers in every place."""
    size = int(torch.Size(shape).numel())
    return torch.arange(start, start + size, dtype=torch.float32).view(shape)


def fill(
    rules: list[Rule], tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], prefix: str = ""
) -> tuple[dict[str, Tensor], LoadReport]:
    """Apply a table to a file."""
    shapes = {name: torch.Size(shape) for name, shape in wanted.items()}
    return apply(KeyTable(tuple(rules), prefix), tensors, shapes, "the-file", "TOY")


def mismatch(
    rules: list[Rule], tensors: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], prefix: str = ""
) -> dict[str, list[str]]:
    """What the one error lists."""
    with pytest.raises(CheckpointMismatch) as error:
        fill(rules, tensors, wanted, prefix)
    assert error.value.code == "WEIGHT_MISMATCH"
    return error.value.details


def test_rename() -> None:
    filled, report = fill([Rename("a.b", "x")], {"a.b": numbers(2, 3)}, {"x": (2, 3)})
    assert torch.equal(filled["x"], numbers(2, 3))
    assert report.sources == {"x": "a.b"}
    assert report.dropped == {}


def test_placeholders() -> None:
    """The same number and leaf stand in the target; numbers may have several digits."""
    tensors = {f"h.{i}.part.{j}.{p}": numbers(2, start=i + j) for i in (0, 7, 12) for j in (0, 10) for p in PARTS}
    wanted = {f"block{i}.of{j}.{p}": (2,) for i in (0, 7, 12) for j in (0, 10) for p in PARTS}
    filled, report = fill([Rename("h.{i}.part.{j}.{p}", "block{i}.of{j}.{p}")], tensors, wanted)
    assert set(filled) == set(wanted)
    assert report.sources["block12.of10.bias"] == "h.12.part.10.bias"
    assert torch.equal(filled["block12.of0.weight"], numbers(2, start=12))


PARTS = ("weight", "bias")


@pytest.mark.parametrize("key", ["aXb", "xa.b", "a.bx", "a.b.c", "A.b"])
def test_a_source_is_no_pattern(key: str) -> None:
    """A dot is a dot, and the whole key must match."""
    found = mismatch([Rename("a.b", "x")], {key: numbers(1)}, {"x": (1,)})
    assert found == {"missing": ["x"], "unexpected": [key], "misshapen": []}


@pytest.mark.parametrize("key", ["h.x.weight", "h..weight", "h.1a.weight", "h.1.gamma", "h.-1.weight"])
def test_placeholders_match_what_they_say(key: str) -> None:
    """`{i}` is a number, `{p}` is weight or bias."""
    assert mismatch([Rename("h.{i}.{p}", "x{i}{p}")], {key: numbers(1)}, {})["unexpected"] == [key]


def test_the_first_rule_counts() -> None:
    rules: list[Rule] = [Rename("h.0.weight", "first"), Rename("h.{i}.weight", "other{i}")]
    filled, _ = fill(rules, {"h.0.weight": numbers(1), "h.1.weight": numbers(1)}, {"first": (1,), "other1": (1,)})
    assert set(filled) == {"first", "other1"}


def test_transpose() -> None:
    """Matrices turn, biases do not."""
    tensors = {"c.weight": numbers(2, 3), "c.bias": numbers(3)}
    filled, _ = fill([Rename("c.{p}", "x.{p}", transpose)], tensors, {"x.weight": (3, 2), "x.bias": (3,)})
    assert torch.equal(filled["x.weight"], numbers(2, 3).T)
    assert filled["x.weight"].data_ptr() == tensors["c.weight"].data_ptr(), "a view, no copy"
    assert torch.equal(filled["x.bias"], numbers(3))


QKV: list[Rule] = [Join(("q.{p}", "k.{p}", "v.{p}"), "qkv.{p}")]


def test_join_keeps_the_order_of_the_rule() -> None:
    """Whatever the order in the file."""
    tensors = {f"{name}.weight": numbers(2, 3, start=10 * n) for n, name in enumerate("qkv")}
    for order in ("qkv", "vkq", "kqv"):
        filled, report = fill(
            QKV, {f"{name}.weight": tensors[f"{name}.weight"] for name in order}, {"qkv.weight": (6, 3)}
        )
        assert torch.equal(filled["qkv.weight"], torch.cat(list(tensors.values())))
        assert report.sources["qkv.weight"] == "q.weight + k.weight + v.weight"


def test_join_lacks_a_part() -> None:
    tensors = {"q.weight": numbers(2, 3), "v.weight": numbers(2, 3)}
    found = mismatch(QKV, tensors, {"qkv.weight": (6, 3)})
    assert found == {"missing": ["qkv.weight"], "unexpected": [], "misshapen": []}


def test_join_of_no_place() -> None:
    """A whole one or a part of one that no parameter wants is not passed over in silence."""
    whole = {f"{name}.bias": numbers(2) for name in "qkv"}
    assert "q.bias + k.bias + v.bias" in mismatch(QKV, whole, {})["unexpected"][0]
    part = mismatch(QKV, {"k.bias": numbers(2)}, {})
    assert len(part["unexpected"]) == 1
    assert part["unexpected"][0].startswith("k.bias")


def test_join_of_parts_that_do_not_fit() -> None:
    """Parts of different width, or without any dimension, are listed, once."""
    for odd in (numbers(2, 4), numbers(2), torch.tensor(1.0)):
        tensors = {"q.weight": numbers(2, 3), "k.weight": odd, "v.weight": numbers(2, 3)}
        found = mismatch(QKV, tensors, {"qkv.weight": (6, 3)})
        assert found["missing"] == found["unexpected"] == []
        assert len(found["misshapen"]) == 1
        assert "k.weight" in found["misshapen"][0]


def test_join_of_the_wrong_length() -> None:
    tensors = {"q.weight": numbers(2, 3), "k.weight": numbers(1, 3), "v.weight": numbers(2, 3)}
    found = mismatch(QKV, tensors, {"qkv.weight": (6, 3)})
    assert found["misshapen"] == ["q.weight + k.weight + v.weight is [5, 3], qkv.weight is [6, 3]"]


def test_join_part_twice() -> None:
    """With and without the prefix, one part has two tensors."""
    tensors = {"q.bias": numbers(2), "k.bias": numbers(2), "v.bias": numbers(2), "toy.k.bias": numbers(2, start=9)}
    found = mismatch(QKV, tensors, {"qkv.bias": (6,)}, prefix="toy.")
    assert len(found["unexpected"]) == 1
    assert found["unexpected"][0].startswith("toy.k.bias")


def test_join_after_rename_to_the_same_place() -> None:
    rules = [*QKV, Rename("qkv.{p}", "qkv.{p}")]
    tensors = {f"{name}.bias": numbers(2) for name in ("q", "k", "v")} | {"qkv.bias": numbers(6)}
    assert len(mismatch(rules, tensors, {"qkv.bias": (6,)})["unexpected"]) == 3


def test_drop() -> None:
    """What is dropped is reported with its reason."""
    rules: list[Rule] = [Rename("a", "x"), Drop("b.{i}", "a buffer")]
    filled, report = fill(rules, {"a": numbers(1), "b.3": numbers(4)}, {"x": (1,)})
    assert set(filled) == {"x"}
    assert report.dropped == {"b.3": "a buffer"}


def test_drop_by_rank() -> None:
    """Only tensors of that many dimensions are dropped; others go on to the next rule, or are unexpected."""
    rules: list[Rule] = [Drop("attn.bias", "the mask", rank=4), Rename("attn.bias", "x")]
    _, report = fill(rules[:1], {"attn.bias": numbers(1, 1, 2, 2)}, {})
    assert report.dropped == {"attn.bias": "the mask"}
    filled, report = fill(rules, {"attn.bias": numbers(2)}, {"x": (2,)})
    assert set(filled) == {"x"}
    assert report.dropped == {}
    assert mismatch(rules[:1], {"attn.bias": numbers(2)}, {})["unexpected"] == ["attn.bias"]


TIED: list[Rule] = [Rename("in", "x"), Alias("out", "x")]


def test_alias_of_the_same_numbers() -> None:
    for order in (("in", "out"), ("out", "in")):
        filled, report = fill(TIED, {name: numbers(2, 3) for name in order}, {"x": (2, 3)})
        assert torch.equal(filled["x"], numbers(2, 3))
        assert report.sources == {"x": "in"}
        assert "in" in report.dropped["out"]


def test_alias_alone_fills() -> None:
    filled, report = fill(TIED, {"out": numbers(2, 3)}, {"x": (2, 3)})
    assert torch.equal(filled["x"], numbers(2, 3))
    assert report.sources == {"x": "out"}


def test_alias_of_other_numbers() -> None:
    """A file that says "tied" but is not would be loaded half."""
    for other in (numbers(2, 3, start=1), numbers(3, 2), numbers(6)):
        found = mismatch(TIED, {"in": numbers(2, 3), "out": other}, {"x": (2, 3)})
        assert found["missing"] == found["unexpected"] == []
        assert len(found["misshapen"]) == 1
        assert found["misshapen"][0].startswith("out")


def test_two_aliases_must_agree() -> None:
    rules = [*TIED, Alias("third", "x")]
    fill(rules, {"out": numbers(2), "third": numbers(2)}, {"x": (2,)})
    assert mismatch(rules, {"out": numbers(2), "third": numbers(2, start=1)}, {"x": (2,)})["misshapen"]


def test_alias_of_no_place() -> None:
    assert len(mismatch(TIED, {"out": numbers(2)}, {})["unexpected"]) == 1


def test_two_keys_for_one_parameter() -> None:
    """Two rules with one target, or one key with and without its prefix."""
    rules: list[Rule] = [Rename("a", "x"), Rename("b", "x")]
    found = mismatch(rules, {"a": numbers(1), "b": numbers(1)}, {"x": (1,)})
    assert found["missing"] == []
    assert len(found["unexpected"]) == 1
    assert found["unexpected"][0].startswith("b (fills x a second time")
    found = mismatch([Rename("a", "x")], {"a": numbers(1), "toy.a": numbers(1)}, {"x": (1,)}, prefix="toy.")
    assert len(found["unexpected"]) == 1
    assert found["unexpected"][0].startswith("toy.a")


def test_missing_unexpected_and_misshapen_in_one_error() -> None:
    rules: list[Rule] = [Rename("a", "x"), Rename("b", "y"), Rename("c", "z"), Rename("extra", "nowhere")]
    tensors = {"a": numbers(2), "c": numbers(3, 2), "strange": numbers(1), "extra": numbers(1)}
    found = mismatch(rules, tensors, {"x": (2,), "y": (2,), "z": (2, 3)})
    assert found["missing"] == ["y"]
    assert found["unexpected"] == ["strange", "extra (no place: nowhere)"]
    assert found["misshapen"] == ["c is [3, 2], z is [2, 3]"]


def test_an_empty_file() -> None:
    assert mismatch(TIED, {}, {"x": (2,)}) == {"missing": ["x"], "unexpected": [], "misshapen": []}


def test_the_error_says_how_many() -> None:
    with pytest.raises(CheckpointMismatch, match=r"the-file does not fit TOY: 9 missing .*and 3 more.*, 0 unexpected"):
        fill([], {}, {f"p{i}": (1,) for i in range(9)})


def test_prefix() -> None:
    """The prefix goes where it stands in front, once, and nowhere else."""
    names = modern_names(["toy.a", "b", "x.toy.c", "toy.toy.d", "toyish.e"], "toy.")
    assert names == {"toy.a": "a", "b": "b", "x.toy.c": "x.toy.c", "toy.toy.d": "toy.d", "toyish.e": "toyish.e"}
    filled, report = fill([Rename("a", "x")], {"toy.a": numbers(1)}, {"x": (1,)}, prefix="toy.")
    assert set(filled) == {"x"}
    assert report.sources == {"x": "toy.a"}, "the report names the key as the file has it"


def test_gamma_and_beta() -> None:
    """Norm names of before 2019, for LayerNorm only and at the end only."""
    keys = ["bert.e.LayerNorm.gamma", "e.LayerNorm.beta", "e.LayerNorm.gamma_x", "e.beta", "LayerNorm.beta.z"]
    wanted = ["e.LayerNorm.weight", "e.LayerNorm.bias", "e.LayerNorm.gamma_x", "e.beta", "LayerNorm.beta.z"]
    assert list(modern_names(keys, "bert.").values()) == wanted
    tensors = {"n.LayerNorm.gamma": numbers(2), "n.LayerNorm.beta": numbers(2, start=5)}
    filled, _ = fill([Rename("n.LayerNorm.{p}", "norm.{p}")], tensors, {"norm.weight": (2,), "norm.bias": (2,)})
    assert torch.equal(filled["norm.bias"], numbers(2, start=5))


def test_gamma_beside_weight() -> None:
    """Old and new name of one norm in one file."""
    tensors = {"n.LayerNorm.gamma": numbers(2), "n.LayerNorm.weight": numbers(2)}
    found = mismatch([Rename("n.LayerNorm.weight", "w")], tensors, {"w": (2,)})
    assert len(found["unexpected"]) == 1
