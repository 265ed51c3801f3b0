"""Other libraries with the same weights, each where it is installed: `pip install -r tests/bench/requirements.txt`.

The only file outside of the tests that knows them; nothing of the zoo depends on one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Encoder = Callable[[Tensor, Tensor | None], Tensor]  # ids, mask [B, T] -> rows of the last layer [B, T, D]
FIRST, EAGER = "transformers sdpa", "transformers eager"


def encoders(folder: Path) -> tuple[dict[str, Encoder], list[str]]:
    """BERT bodies by name, and the names of packages that are not installed."""
    found: dict[str, Encoder] = {}
    if not installed("transformers"):
        return found, ["transformers"]
    module = _transformers(folder, "sdpa", torch.float32)
    found[FIRST] = _bound(module)
    for name, how, dtype in (
        (EAGER, "eager", torch.float32),
        ("transformers bf16", "sdpa", torch.bfloat16),
    ):
        found[name] = _bound(_transformers(folder, how, dtype))
    missing = []
    with _quietly():
        if installed("openvino"):
            found |= _openvino(module)
            missing += [] if installed("nncf") else ["nncf"]
        else:
            missing.append("openvino")
        if installed("onnxruntime") and installed("onnx"):
            found |= _onnxruntime(module, folder)
        else:
            missing.append("onnxruntime")
    return found, missing


def installed(name: str) -> bool:
    """Whether a package can be imported, without doing so."""
    return importlib.util.find_spec(name) is not None


def transformers_quietly() -> Any:
    """The library without its advice."""
    import transformers  # noqa: TID251 (here it is a peer)

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Converters warn of what does not matter here, and show their progress."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _bound(module: torch.nn.Module) -> Encoder:
    return lambda ids, mask: module(ids, attention_mask=mask)[0]


def _transformers(folder: Path, how: str, dtype: torch.dtype) -> torch.nn.Module:
    transformers = transformers_quietly()
    made = transformers.BertModel.from_pretrained(folder, attn_implementation=how, add_pooling_layer=False, dtype=dtype)
    module: torch.nn.Module = made.eval()
    return module


class _Plain(torch.nn.Module):
    """ids, mask -> rows, for exporters that want tensors on both sides."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        rows: Tensor = self.module(ids, attention_mask=mask).last_hidden_state
        return rows


def _ids_and_mask(ids: Tensor, mask: Tensor | None) -> tuple[Any, Any]:
    return ids.numpy(), (torch.ones_like(ids) if mask is None else mask).numpy()


def _openvino(module: torch.nn.Module) -> dict[str, Encoder]:
    """In float32, in bf16 where the processor has it, and with the weights in int8 if nncf is installed."""
    import openvino

    core = openvino.Core()
    converted = openvino.convert_model(_Plain(module).eval(), example_input=(torch.ones(1, 16, dtype=torch.long),) * 2)
    models = {"OpenVINO": (converted, "f32"), "OpenVINO bf16": (converted, "bf16")}
    if installed("nncf"):
        models["OpenVINO int8"] = (_in_int8(converted), "f32")
    made: dict[str, Encoder] = {}
    for name, (model, kind) in models.items():
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind})
        request = compiled.create_infer_request()

        def run(ids: Tensor, mask: Tensor | None, request: Any = request) -> Tensor:
            return torch.from_numpy(request.infer(list(_ids_and_mask(ids, mask)))[0].copy())

        made[name] = run
    return made


def _in_int8(converted: Any) -> Any:
    """Weights and what they are multiplied with, whose ranges are taken from a few texts of random ids."""
    import nncf

    chance = torch.Generator().manual_seed(0)
    texts = [list(_ids_and_mask(torch.randint(5, 90, (1, size), generator=chance), None)) for size in (8, 16, 32, 64)]
    return nncf.quantize(converted, nncf.Dataset(texts), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts))


def _onnxruntime(module: torch.nn.Module, folder: Path) -> dict[str, Encoder]:
    """In float32, and with weights in int8 by its own dynamic quantization."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path, small = folder / "bench.onnx", folder / "small.onnx"
    ids = torch.ones(1, 16, dtype=torch.long)
    torch.onnx.export(
        _Plain(module).eval(), (ids, ids), path, dynamo=False, input_names=["ids", "mask"], output_names=["rows"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in ("ids", "mask", "rows")},
    )  # fmt: skip
    quantize_dynamic(path, small, per_channel=True, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()

    def opened(file: Path) -> Encoder:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

        def run(ids: Tensor, mask: Tensor | None) -> Tensor:
            given = dict(zip(("ids", "mask"), _ids_and_mask(ids, mask), strict=True))
            return torch.from_numpy(session.run(None, given)[0])

        return run

    return {"ONNX Runtime": opened(path), "ONNX Runtime int8": opened(small)}
