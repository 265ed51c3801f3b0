"""What the tests of hostile files share: how files are made that run, unfold or lie, and how a refusal is judged."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from zoo.errors import BadCheckpoint, ZooError
from zoo.models.shelf import FAMILIES
from zoo.weights.load import load_folder


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


def folder_with(tmp_path: Path, **config: Any) -> Path:
    return tiny.bert("BertForSequenceClassification").but(**config).write(tmp_path / "bert")


def refused(folder: Path, *words: str, error: type[ZooError] = BadCheckpoint) -> None:
    with pytest.raises(error) as caught:
        load_folder(folder, FAMILIES)
    for word in words:
        assert word in caught.value.message, caught.value.message


class Claim:
    """A tensor of any shape over a storage that claims `numbers` of float32."""

    def __init__(self, numbers: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.numbers, self.size, self.stride = numbers, size, stride

    def __reduce__(self) -> tuple[Any, ...]:
        rest = (Storage(self.numbers), 0, self.size, self.stride, False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, rest


class Storage:
    def __init__(self, numbers: int) -> None:
        self.numbers = numbers


class Pickler(pickle._Pickler):
    def persistent_id(self, value: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", value.numbers) if isinstance(value, Storage) else None


def pickled(value: Any) -> bytes:
    out = io.BytesIO()
    Pickler(out, 2).dump(value)
    return out.getvalue()


def zipped(path: Path, data: bytes, storage: bytes = bytes(64), how: int = zipfile.ZIP_STORED, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        parts = {"a/data.pkl": data, "a/byteorder": b"little", "a/data/0": storage, "a/version": b"3\n"}
        for name, content in (parts | more).items():
            archive.writestr(name, content)
    return path


def nested(levels: int) -> bytes:
    """{t: 1} where t is a pair of pairs of pairs ...: two to the power of `levels` steps to hash."""
    steps = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(1, levels + 1))
    return b"\x80\x02}q\x00K\x01" + steps + b"K\x01s."


GOOD = Claim(16, (4, 4), (4, 1))
