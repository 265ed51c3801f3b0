"""TensorFlow checkpoints (.index and .data-00000-of-00001) without TensorFlow: only float32, one data file, no snappy.

The index is a table of LevelDB: blocks of sorted keys, each key without the part it shares with the one before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def read(stem: Path) -> dict[str, Tensor]:
    """All tensors by name."""
    index = Path(f"{stem}.index").read_bytes()
    data = Path(f"{stem}.data-00000-of-00001").read_bytes()
    assert index[-8:] == bytes.fromhex("57fb808b247547db"), "no LevelDB table"
    footer = index[-48:]
    _, at = _number(footer, 0)  # where the meta index is: offset and size
    _, at = _number(footer, at)
    start, at = _number(footer, at)
    size, at = _number(footer, at)
    tensors = {}
    for _, handle in _block(index, start, size):
        at_block, after = _number(handle, 0)
        for key, value in _block(index, at_block, _number(handle, after)[0]):
            if key:  # the empty one is a header
                tensors[key.decode()] = _tensor(value, data)
    return tensors


def _block(table: bytes, start: int, size: int) -> list[tuple[bytes, bytes]]:
    assert table[start + size] == 0, "a compressed block"
    block = table[start : start + size]
    restarts = int.from_bytes(block[-4:], "little")
    entries, at, key = [], 0, b""
    while at < len(block) - 4 * (restarts + 1):
        shared, at = _number(block, at)
        fresh, at = _number(block, at)
        length, at = _number(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        entries.append((key, block[at : at + length]))
        at += length
    return entries


def _tensor(entry: bytes, data: bytes) -> Tensor:
    fields = dict(_fields(entry))
    if fields[1] != 1:  # not float32
        return torch.empty(0)
    shape = [dict(_fields(dim)).get(1, 0) for number, dim in _fields(fields.get(2, b"")) if number == 2]
    begin = fields.get(4, 0)
    values = np.frombuffer(data[begin : begin + fields[5]], dtype="<f4")
    return torch.from_numpy(values.copy()).reshape(shape)


def _fields(message: bytes) -> list[tuple[int, int | bytes]]:
    found, at = [], 0
    while at < len(message):
        key, at = _number(message, at)
        if key & 7 == 0:
            value, at = _number(message, at)
        else:
            size, at = (4, at) if key & 7 == 5 else _number(message, at)
            value = message[at : at + size]
            at += size
        found.append((key >> 3, value))
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
