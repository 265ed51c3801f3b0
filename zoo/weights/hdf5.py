"""HDF5 files -> tensors by path, with the optional package h5py. For the weights of bilm-tf (ELMo).

The format can point at other files and claim numbers it does not hold; plain weight files do neither, and files that do
are refused before anything of them is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import BadCheckpoint, MissingPackage
from zoo.weights.guards import VIEWS

DEEPEST = 16  # groups within groups; ELMo has five
MOST = 10_000  # names in a file; ELMo has about thirty


def read_hdf5(path: Path) -> dict[str, Tensor]:
    """All arrays of a file, as "group/name". Raises BadCheckpoint for a broken or strange file, MissingPackage."""
    try:
        import h5py
    except ImportError:
        raise MissingPackage(f"Reading {path.name} needs the package h5py. Run `pip install h5py`.") from None
    if not path.is_file():
        raise BadCheckpoint(f"{path.parent} lacks {path.name}.")
    try:
        with h5py.File(path, "r") as file:
            arrays: dict[str, Any] = {}
            _collect(h5py, file, "", path, arrays)
            _check(arrays, path)
            return {name: torch.from_numpy(np.asarray(array[()])) for name, array in arrays.items()}
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise BadCheckpoint(
            f"{path} is no HDF5 file of weights, is broken, or was cut off ({error}). Delete it and download it again."
        ) from None


def _collect(h5py: Any, group: Any, prefix: str, path: Path, arrays: dict[str, Any]) -> None:
    if prefix.count("/") > DEEPEST or len(arrays) > MOST:
        raise BadCheckpoint(f"{path} holds groups within groups without end, and is no file of weights.")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise BadCheckpoint(f"{path}: {prefix}{name} points at another place or file. It is not opened.")
        item = group[name]
        if isinstance(item, h5py.Group):
            _collect(h5py, item, f"{prefix}{name}/", path, arrays)
        elif isinstance(item, h5py.Dataset):
            arrays[prefix + name] = item
        else:
            raise BadCheckpoint(f"{path}: {prefix}{name} is a type, not an array of weights.")


def _check(arrays: dict[str, Any], path: Path) -> None:
    for name, array in arrays.items():
        if array.dtype.kind != "f" or array.dtype.itemsize > 8 or array.shape is None:
            raise BadCheckpoint(f"{path}: {name} holds {array.dtype}, not the numbers of weights.")
        if array.external is not None or array.is_virtual:
            raise BadCheckpoint(f"{path}: {name} lies in another file, which is not opened.")
    claimed, size = sum(array.nbytes for array in arrays.values()), path.stat().st_size
    if claimed > VIEWS * max(size, 2**20):
        raise BadCheckpoint(
            f"{path} has {size:,} bytes, its arrays would take {claimed:,}. It would unfold in memory, so it is not "
            "opened. Look for the same model elsewhere."
        )
