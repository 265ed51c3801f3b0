"""Other libraries with the same weights, each where it is installed: `pip install -r tests/bench/requirements.txt`.

The only file outside of the tests that knows them; nothing of the zoo depends on one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.bench.apart import Apart, Run

Rows = np.ndarray[Any, Any]
Batches = Sequence[tuple[Rows, Rows | None]]  # ids and mask [B, T], one after the other
Encoder = Callable[[Batches], Rows]  # -> rows of the last layer [B, T, D] of the last batch
Maker = Callable[[Batches], Callable[[], Rows]]  # of what is then run
FIRST, EAGER = "transformers sdpa", "transformers eager"


@contextlib.contextmanager
def encoders(
    folder: Path, apart: bool
) -> Iterator[tuple[dict[str, Callable[[Batches], Callable[[], Rows]]], list[str]]]:
    """BERT bodies by name, each to be given batches and then run as often as wanted; and the names of packages that
    are not installed. With `apart`, libraries that do not compute through torch have a process each."""
    if not installed("transformers"):
        yield {}, ["transformers"]
        return
    found = {name: _here(run) for name, run in _transformers_encoders(folder).items()}
    missing = [] if installed("nncf") or not installed("openvino") else ["nncf"]
    with contextlib.ExitStack() as over:
        for packages, build in ((("openvino",), _openvino), (("onnxruntime", "onnx"), _onnxruntime)):
            if absent := [name for name in packages if not installed(name)]:
                missing += absent
            elif apart:
                process = Apart(build, folder)
                over.callback(process.close)
                found |= {name: _there(process, name) for name in process.names}
            else:
                found |= {name: _here(run) for name, run in build(folder).items()}
        yield found, missing


def _here(run: Encoder) -> Maker:
    return lambda batches: partial(run, batches)


def _there(process: Apart, name: str) -> Maker:
    return lambda batches: Run(process, name, (batches,))


def installed(name: str) -> bool:
    """Whether a package can be imported, without doing so."""
    return importlib.util.find_spec(name) is not None


def transformers_quietly() -> Any:
    """The library without its advice."""
    import transformers  # noqa: TID251 (here it is a peer)

    transformers.logging.set_verbosity_error()
    return transformers


def opened(kind: str, folder: Path, **how: Any) -> Any:
    """A model of that class of transformers, in evaluation, opened without a progress bar."""
    with contextlib.redirect_stderr(io.StringIO()):  # its own switch would take the bars of downloads away, too
        return getattr(transformers_quietly(), kind).from_pretrained(folder, **how).eval()


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


def _transformers_encoders(folder: Path) -> dict[str, Encoder]:
    made = {}
    for name, how, dtype in (
        (FIRST, "sdpa", torch.float32),
        (EAGER, "eager", torch.float32),
        ("transformers bf16", "sdpa", torch.bfloat16),
    ):
        made[name] = _reading(_transformers(folder, how, dtype))
    return made


def _reading(module: torch.nn.Module) -> Encoder:
    def run(batches: Batches) -> Rows:
        for ids, mask in batches:
            given = None if mask is None else torch.from_numpy(mask)
            rows = module(torch.from_numpy(ids), attention_mask=given)[0]
        return rows.float().numpy()

    return run


def _transformers(folder: Path, how: str, dtype: torch.dtype) -> torch.nn.Module:
    made: torch.nn.Module = opened("BertModel", folder, attn_implementation=how, add_pooling_layer=False, dtype=dtype)
    return made


class _Plain(torch.nn.Module):
    """ids, mask -> rows, for exporters that want tensors on both sides."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        rows: Tensor = self.module(ids, attention_mask=mask).last_hidden_state
        return rows


def _mask(ids: Rows, mask: Rows | None) -> Rows:
    return np.ones_like(ids) if mask is None else mask


def _openvino(folder: Path) -> dict[str, Encoder]:
    """In float32, in bf16 where the processor has it, and with the weights in int8 if nncf is installed."""
    import openvino

    core = openvino.Core()
    with _quietly():
        module = _Plain(_transformers(folder, "sdpa", torch.float32)).eval()
        converted = openvino.convert_model(module, example_input=(torch.ones(1, 16, dtype=torch.long),) * 2)
        models = {"OpenVINO": (converted, "f32"), "OpenVINO bf16": (converted, "bf16")}
        if installed("nncf"):
            config: Any = module.module.config
            models["OpenVINO int8"] = (_in_int8(converted, config.vocab_size), "f32")
    made: dict[str, Encoder] = {}
    for name, (model, kind) in models.items():
        request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": kind}).create_infer_request()

        def run(batches: Batches, request: Any = request) -> Rows:
            for ids, mask in batches:
                rows: Rows = request.infer([ids, _mask(ids, mask)])[0]
            return rows.copy()

        made[name] = run
    return made


def _in_int8(converted: Any, vocabulary: int) -> Any:
    """Weights and what they are multiplied with, whose ranges are taken from a few texts of random ids."""
    import nncf

    chance = np.random.default_rng(0)
    texts = [chance.integers(vocabulary // 2, vocabulary, (1, size)) for size in (8, 16, 32, 64)]
    data = nncf.Dataset([[ids, np.ones_like(ids)] for ids in texts])
    return nncf.quantize(converted, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts))


def _onnxruntime(folder: Path) -> dict[str, Encoder]:
    """In float32, and with weights in int8 by its own dynamic quantization."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path, small = folder / "bench.onnx", folder / "small.onnx"
    ids = torch.ones(1, 16, dtype=torch.long)
    with _quietly():
        torch.onnx.export(
            _Plain(_transformers(folder, "sdpa", torch.float32)).eval(), (ids, ids), path, dynamo=False,
            input_names=["ids", "mask"], output_names=["rows"],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in ("ids", "mask", "rows")},
        )  # fmt: skip
        quantize_dynamic(path, small, per_channel=True, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()

    def opened(file: Path) -> Encoder:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

        def run(batches: Batches) -> Rows:
            for ids, mask in batches:
                rows: Rows = session.run(None, {"ids": ids, "mask": _mask(ids, mask)})[0]
            return rows

        return run

    return {"ONNX Runtime": opened(path), "ONNX Runtime int8": opened(small)}
