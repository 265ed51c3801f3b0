"""The blocks of an encoder by ONNX Runtime, for one short text: `pip install -r requirements-fast.txt`.

torch asks for some thirty operations a block, and oneDNN makes kernels for each length of text that is new; for a text
of a few tokens both cost more than the products. ONNX Runtime goes through a whole graph at once. `python -m zoo bench
short` on an Intel Xeon (2026-11-30, two cores), texts of 6 to 16, 17 to 32 and 33 to 64 tokens, times as fast as torch:
BERT-base in int8 1.9, 1.5 and 1.4, in float32 1.2, 1.2 and 1.1; bert-mini 2.4, 1.9 and 1.8, and 1.5, 1.4 and 1.1. From
about 100 tokens on, and for many texts at once, torch is faster. So where it is installed each has its part, which a
trial of both decides on, once a process for each shape of model. In bf16 there is nothing to gain.

It needs the weights a second time, in an order of its own (those of torch stay for everything else), so a model has it
only where they are a small part of the machine's memory.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import threading
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from zoo.contracts import Batch
from zoo.layers import onnx_blocks
from zoo.layers.blocks import PostNormBlock
from zoo.layers.trial import trial
from zoo.processor import give_memory_back, physical_memory, use_cores

NEEDS = ("onnx", "onnxruntime")
LENGTHS = (64, 32, 16)  # tokens to try with: the first at which it is faster is the longest text that it is given
FASTER = 0.87  # of the time, to be taken
TRIES = 5
PART = 16  # of the machine's memory, at most: of BERT-base there are 85 MB of weights in int8, 340 in float32
AFTER = 8  # short texts, it is made
LOG = logging.getLogger(__name__)
_found: dict[tuple[Any, ...], int] = {}  # the longest text by shape of a model, 0 where torch is faster


class ShortTexts(nn.Module):
    """The blocks for one text, in a session of ONNX Runtime with as many threads as torch has.

    To make it takes up to a second, so it is made in a thread of its own, once some short texts have come.
    """

    def __init__(self, blocks: Sequence[PostNormBlock]) -> None:
        super().__init__()
        self.longest = LENGTHS[0]  # tokens of a text that it reads; 0 where torch is faster
        self.cores = 0  # that torch had, at most
        self.weight: nn.Parameter | None = None
        self._blocks = tuple(blocks)
        self._read = count(1)  # by torch, with so many cores
        self._session: Any = None

    def takes(self, batch: Batch) -> bool:
        """Whether it is for this one: a short text alone, where no derivatives are asked for and no other pass has a
        part of the cores."""
        if len(batch.lengths) > 1 or batch.lengths[0] > self.longest or torch.is_grad_enabled():
            return False
        cores = torch.get_num_threads()
        if self._session is not None:
            return cores == self.cores
        if cores > self.cores:
            self.cores, self._read = cores, count(1)
        if cores == self.cores and next(self._read) == AFTER:
            threading.Thread(target=self._chosen, name="zoo-short-texts").start()
        return False

    def forward(self, x: Tensor) -> Tensor:
        """[T, D] -> [T, D]."""
        return _through(self._session, x)

    def make(self) -> None:
        """Make it, whether it is faster or not. Raises what ONNX Runtime raises, of another version for example."""
        self._keep(self._made())

    def choose(self) -> None:
        """Find out for which texts it is faster, and make it if there are any. Raises what `make` raises."""
        shape = onnx_blocks.shape(self._blocks)
        assert shape is not None, "there is a graph for it"
        session = self._made() if _found.get(shape) != 0 else None
        if shape not in _found:
            use_cores(self.cores)
            _found[shape] = next((length for length in LENGTHS if self._gain(session, length) < FASTER), 0)
        self.longest = _found[shape]
        if self.longest:
            self._keep(session)
        LOG.info("texts of up to %d tokens are read by ONNX Runtime", self.longest)

    def _chosen(self) -> None:
        try:
            self.choose()
        except Exception:  # whatever it is, torch goes on
            self.longest = 0
            LOG.warning("ONNX Runtime cannot read short texts here; torch does.", exc_info=True)

    def _made(self) -> Any:
        import onnxruntime

        self.cores = self.cores or torch.get_num_threads()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = self.cores
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch needs the cores right after
        # given in memory it would be there several times, and the bytes of it would stay
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = onnx_blocks.write(self._blocks, Path(folder))
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _keep(self, session: Any) -> None:
        # what it counts as: a number of a byte for each byte of its weights
        one = torch.zeros(1, dtype=torch.int8)
        self.weight = nn.Parameter(one.expand(onnx_blocks.size(self._blocks)), requires_grad=False)
        self._session = session
        give_memory_back()  # of what it was made from

    def _gain(self, session: Any, length: int) -> float:
        """Its time for a text of this length, divided by that of torch."""
        batch = Batch.continuing([[0] * length], [0])

        def plain(x: Tensor) -> Tensor:
            for block in self._blocks:
                x = block(x, batch)
            return x

        x = torch.ones(length, *self._blocks[0].attention_norm.normalized_shape)
        return trial([lambda x: _through(session, x)], [plain], x, TRIES)


@runtime_checkable
class HasShortTexts(Protocol):
    """A body that lets another one read short texts, if it has one."""

    blocks: nn.ModuleList
    short_texts: ShortTexts | None


def installed() -> bool:
    """Whether what it needs is."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDS)


def reader(blocks: nn.ModuleList) -> ShortTexts | None:
    """For the blocks of a model as they are laid out; None where it is not installed, too large, or of a kind that
    there is no graph for."""
    these = [cast(PostNormBlock, block) for block in blocks]
    if not installed() or onnx_blocks.shape(these) is None or onnx_blocks.size(these) > physical_memory() // PART:
        return None
    return ShortTexts(these)


def _through(session: Any, x: Tensor) -> Tensor:
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
