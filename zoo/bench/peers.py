"""Other libraries with the same weights, each where it is installed: `pip install -r tests/bench/requirements.txt`.

The only file outside of the tests that knows them; nothing of the zoo depends on one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Encoder = Callable[[Tensor], Tensor]  # ids [B, T] -> rows of the last layer [B, T, D]
PaddedEncoder = Callable[[Tensor, Tensor], Tensor]  # ids, mask [B, T] -> rows of the last layer [B, T, D]
FIRST = "transformers sdpa"


def encoders(folder: Path) -> tuple[dict[str, Encoder], list[str]]:
    """BERT bodies by name, and the names of packages that are not installed."""
    found: dict[str, Encoder] = {}
    if not installed("transformers"):
        return found, ["transformers"]
    module = _transformers(folder, "sdpa", torch.float32)
    found[FIRST] = lambda ids: module(ids)[0]
    for name, how, dtype in (
        ("transformers eager", "eager", torch.float32),
        ("transformers bf16", "sdpa", torch.bfloat16),
    ):
        found[name] = _bound(_transformers(folder, how, dtype))
    missing = []
    if installed("openvino"):
        found |= _openvino(module)
    else:
        missing.append("openvino")
    if installed("onnxruntime") and installed("onnx"):
        found |= _onnxruntime(module, folder)
    else:
        missing.append("onnxruntime")
    return found, missing


def padded_encoders(folder: Path) -> tuple[dict[str, PaddedEncoder], list[str]]:
    """BERT bodies that read texts of different length filled up to the longest, and what is not installed."""
    if not installed("transformers"):
        return {}, ["transformers"]

    def bound(module: torch.nn.Module) -> PaddedEncoder:
        return lambda ids, mask: module(ids, attention_mask=mask)[0]

    kinds = (("transformers", torch.float32), ("transformers bf16", torch.bfloat16))
    return {name: bound(_transformers(folder, "sdpa", dtype)) for name, dtype in kinds}, []


def installed(name: str) -> bool:
    """Whether a package can be imported, without doing so."""
    return importlib.util.find_spec(name) is not None


def transformers_quietly() -> Any:
    """The library without its advice."""
    import transformers  # noqa: TID251 (here it is a peer)

    transformers.logging.set_verbosity_error()
    return transformers


def _bound(module: torch.nn.Module) -> Encoder:
    return lambda ids: module(ids)[0]


def _transformers(folder: Path, how: str, dtype: torch.dtype) -> torch.nn.Module:
    transformers = transformers_quietly()
    made = transformers.BertModel.from_pretrained(folder, attn_implementation=how, add_pooling_layer=False, dtype=dtype)
    module: torch.nn.Module = made.eval()
    return module


class _Plain(torch.nn.Module):
    """ids -> rows, for exporters that want tensors on both sides."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.module(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return rows


def _openvino(module: torch.nn.Module) -> dict[str, Encoder]:
    """In float32, and in bf16 where the processor has it."""
    import openvino

    core = openvino.Core()
    converted = openvino.convert_model(_Plain(module).eval(), example_input=torch.ones(1, 16, dtype=torch.long))
    made: dict[str, Encoder] = {}
    for name, kind in (("OpenVINO", "f32"), ("OpenVINO bf16", "bf16")):
        compiled = core.compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": kind})
        request = compiled.create_infer_request()

        def run(ids: Tensor, request: object = request) -> Tensor:
            return torch.from_numpy(request.infer([ids.numpy()])[0].copy())  # type: ignore[attr-defined]

        made[name] = run
    return made


def _onnxruntime(module: torch.nn.Module, folder: Path) -> dict[str, Encoder]:
    """In float32, and with weights in int8 by its own dynamic quantization."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path, small = folder / "bench.onnx", folder / "small.onnx"
    ids = torch.ones(1, 16, dtype=torch.long)
    torch.onnx.export(
        _Plain(module).eval(), (ids,), path, dynamo=False, input_names=["ids"], output_names=["rows"],
        dynamic_axes={"ids": {0: "texts", 1: "tokens"}, "rows": {0: "texts", 1: "tokens"}},
    )  # fmt: skip
    quantize_dynamic(path, small, per_channel=True, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()

    def opened(file: Path) -> Encoder:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return lambda ids: torch.from_numpy(session.run(None, {"ids": ids.numpy()})[0])

    return {"ONNX Runtime": opened(path), "ONNX Runtime int8": opened(small)}
