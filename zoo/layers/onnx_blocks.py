"""The blocks of an encoder as a graph of ONNX, for one text: what zoo/layers/short_texts.py gives to ONNX Runtime.

It computes what the blocks do: in float32, or with the same weights in int8 and steps of its own for each row (see
int8.py), so answers are as near to those of `exact` as by torch. Operators of ONNX Runtime's own do several steps at
once: attention, activations behind a bias, products of int8 that end in float32. (Its norm of a sum takes twice as long
as a sum and a norm.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from zoo.layers.activations import Activation, gelu_erf, gelu_tanh, relu
from zoo.layers.attention import SelfAttention
from zoo.layers.blocks import FeedForward, PostNormBlock
from zoo.layers.int8 import STEPS, Int8Linear

OPSET, OWN = 18, "com.microsoft"  # of ONNX, and what ONNX Runtime calls its own operators
FILE_FORMAT = 9  # of ONNX
MUCH = 2**16  # bytes of a tensor that has a file of its own


def shape(blocks: Sequence[PostNormBlock]) -> tuple[Any, ...] | None:
    """What is computed for a token, and in which type; None where it is not one that there is a graph for."""
    kinds = {one.weight.dtype for block in blocks for one in _linears(block)}
    known = all(_activation(block) in (gelu_erf, gelu_tanh, relu) for block in blocks)
    if len(kinds) != 1 or not kinds <= {torch.float32, torch.int8} or not known:
        return None
    heads = cast(SelfAttention, blocks[0].attention).heads
    return len(blocks), heads, *kinds, *(one.weight.shape for one in _linears(blocks[0]))


def size(blocks: Sequence[PostNormBlock]) -> int:
    """Bytes of the weights of linear maps."""
    return sum(one.weight.numel() * one.weight.element_size() for block in blocks for one in _linears(block))


def write(blocks: Sequence[PostNormBlock], folder: Path) -> Path:
    """The file with the graph, [T, D] -> [T, D] of float32, in an empty folder; weights lie beside it."""
    graph = _Nodes(folder)
    own = partial(graph.add, domain=OWN)
    width = blocks[0].attention_norm.normalized_shape[0]
    text, rows = (graph.constant(shape, torch.int64) for shape in ([1, -1, 3 * width], [-1, width]))
    thirds = graph.constant([width] * 3, torch.int64)
    product: Callable[[str, Any], str]
    product = _Rounded(graph) if isinstance(_linears(blocks[0])[0], Int8Linear) else partial(_product, graph)

    def norm(x: str, layer: nn.LayerNorm, more: str, bias: str) -> str:
        total = graph.add("Add", graph.add("Add", more, bias), x)
        weights = graph.constant(layer.weight), graph.constant(layer.bias)
        return cast(str, graph.add("LayerNormalization", total, *weights, epsilon=layer.eps))

    x = "x"
    for block in blocks:
        qkv, out, up, down = _linears(block)
        joined = graph.add("Reshape", product(x, qkv), text)
        q, k, v = graph.add("Split", joined, thirds, outputs=3, axis=-1)
        heads = cast(SelfAttention, block.attention).heads
        mixed = own("MultiHeadAttention", q, k, v, graph.constant(qkv.bias), num_heads=heads)
        mixed = graph.add("Reshape", mixed, rows)
        x = norm(x, block.attention_norm, product(mixed, out), graph.constant(out.bias))
        inner = _activated(graph, product(x, up), graph.constant(up.bias), _activation(block))
        x = norm(x, block.feed_forward_norm, product(inner, down), graph.constant(down.bias))
    return graph.write("x", x, width)


class _Nodes:
    """A graph of ONNX as it grows; what weighs much goes to a file beside it at once, from which it is mapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def constant(self, value: Any, dtype: torch.dtype = torch.float32) -> str:
        """The name of a tensor, or of numbers that become one."""
        from onnx import TensorProto, numpy_helper

        name = f"w{len(self.weights)}"
        values = torch.as_tensor(value, dtype=dtype).detach().contiguous().numpy()
        made = numpy_helper.from_array(values[:0] if values.nbytes > MUCH else values, name)
        if values.nbytes > MUCH:
            values.tofile(self.folder / name)
            made.dims[:] = values.shape
            made.ClearField("raw_data")
            made.data_location = TensorProto.EXTERNAL
            made.external_data.add(key="location", value=name)
        self.weights.append(made)
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **how: Any) -> Any:
        """The name of what comes out of an operator, or their names."""
        from onnx import helper

        names = [f"x{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, domain=domain, **how))
        return names if outputs > 1 else names[0]

    def write(self, given: str, made: str, width: int) -> Path:
        """The file of [T, width] -> [T, width]."""
        from onnx import TensorProto, helper, save

        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["tokens", width]) for name in (given, made)]
        graph = helper.make_graph(self.nodes, "blocks", ends[:1], ends[1:], self.weights)
        domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(OWN, 1)]
        path = self.folder / "blocks.onnx"
        save(helper.make_model(graph, opset_imports=domains, ir_version=FILE_FORMAT), path)
        return path


def _activated(graph: _Nodes, x: str, bias: str, activation: Activation) -> str:
    if activation is relu:
        return cast(str, graph.add("Relu", graph.add("Add", x, bias)))
    return cast(str, graph.add("BiasGelu" if activation is gelu_erf else "FastGelu", x, bias, domain=OWN))


def _product(graph: _Nodes, x: str, linear: Any) -> str:
    """Of rows [T, D] with the weights of a linear map, without its bias -> [T, E]."""
    weight = linear.weight.to_dense() if linear.weight.is_mkldnn else linear.weight
    return cast(str, graph.add("MatMul", x, graph.constant(weight.t())))


class _Rounded:
    """The same in int8, with steps of its own for each row."""

    def __init__(self, graph: _Nodes) -> None:
        from onnx import TensorProto, helper

        self.graph = graph
        self.last, self.column = (graph.constant(shape, torch.int64) for shape in ([-1], [-1, 1]))
        self.step, self.one = graph.constant(1 / STEPS), graph.constant(1.0)
        self.zero = graph.constant(128, torch.uint8)
        tokens, zero = graph.add("Shape", "x", end=1), helper.make_tensor("zero", TensorProto.UINT8, [1], [128])
        self.zeros = graph.add("ConstantOfShape", tokens, value=zero)

    def __call__(self, x: str, linear: Int8Linear) -> str:
        """As above. What a row of zeros is rounded to does not matter: it is multiplied with its step, 0."""
        add = self.graph.add
        steps = add("Mul", add("ReduceMax", add("Abs", x), self.last, keepdims=0), self.step)  # [T]
        rounded = add("QuantizeLinear", x, steps, self.zeros, axis=0)
        weight = self.graph.constant(linear.rounded().t(), torch.int8)
        scales = self.one, self.graph.constant(linear.scales)
        y = add("MatMulIntegerToFloat", rounded, weight, *scales, self.zero, domain=OWN)
        return cast(str, add("Mul", y, add("Reshape", steps, self.column)))


def _linears(block: PostNormBlock) -> tuple[Any, ...]:
    attention, feed_forward = cast(SelfAttention, block.attention), cast(FeedForward, block.feed_forward)
    return attention.qkv, attention.out, feed_forward.up, feed_forward.down


def _activation(block: PostNormBlock) -> Activation:
    """That of its feed-forward part, which packing has made a part of the product before."""
    feed_forward = cast(FeedForward, block.feed_forward)
    after = getattr(feed_forward.up, "after", None)
    return cast(Activation, after or feed_forward.activation)
