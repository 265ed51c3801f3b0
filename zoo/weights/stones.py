"""Pickles of whole objects, opened without running anything: what a closed list does not know turns to stone.

A pickle names classes and functions, and says with what to call them. Here only tensors, ordered dictionaries and sets
are what they say. Every other name becomes a class of its own that does nothing but keep what it was given: arguments,
state, items. Such stones are then walked like a tree. Read are both formats of torch.save, and plain pickles.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import torch
from torch import Tensor

from zoo.errors import BadCheckpoint
from zoo.weights.guards import check_archive, check_stream

MAGIC = 0x1950A86A20F9469CFC6C  # the first number of a file of torch.save before its zip format
CHUNK = 2**20
BROKEN = (  # what a pickle that is cut off, or makes no sense, runs into
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, OSError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, RuntimeError, MemoryError, AssertionError,
)  # fmt: skip

DTYPES = {
    "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16, "Double": torch.float64,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool,
}  # fmt: skip
STORAGES = {f"torch.{place}{name}Storage": dtype for name, dtype in DTYPES.items() for place in ("", "cuda.")}
STORAGES |= {"torch.storage.UntypedStorage": torch.uint8, "torch.UntypedStorage": torch.uint8}


class Stone:
    """An object of a class that is not known here; `kind` is the name of the class. It keeps what it is given."""

    kind: ClassVar[str] = ""
    arguments: tuple[Any, ...]
    state: Any
    items: list[Any]
    entries: list[tuple[Any, Any]]

    def __new__(cls, *arguments: Any, **named: Any) -> Stone:
        """Keep the arguments, whatever they are."""
        stone = object.__new__(cls)
        stone.arguments, stone.state, stone.items, stone.entries = (*arguments, *named.values()), None, [], []
        return stone

    def __init__(self, *arguments: Any, **named: Any) -> None: ...

    def __call__(self, *arguments: Any) -> Stone:
        """What a call gives is a stone, too."""
        return _Result(self, *arguments)

    def __setstate__(self, state: Any) -> None:
        """What would be the object's attributes."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """An entry of what would be a dictionary."""
        self.entries.append((key, value))

    def append(self, item: Any) -> None:
        """An item of what would be a list."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """Items of what would be a list."""
        self.items.extend(items)

    add = append

    def get(self, name: str) -> Any:
        """One of its attributes; None when it has no such attribute."""
        states = self.state if isinstance(self.state, tuple) else (self.state,)
        return next((state[name] for state in states if isinstance(state, dict) and name in state), None)


class _Result(Stone):
    kind = "the result of a call"


def kind_of(value: Any) -> str:
    """The name of the class of a stone, or of a class or function that is itself a value; "" for anything else."""
    if isinstance(value, Stone) or (isinstance(value, type) and issubclass(value, Stone)):
        return value.kind
    return ""


def walk(root: Any) -> Iterator[Any]:
    """`root` and everything below it, each object once, the nearest first."""
    level, seen = [root], {id(root)}
    while level:
        below: list[Any] = []
        for value in level:
            yield value
            for child in _children(value):
                if id(child) not in seen and not isinstance(child, (str, bytes, int, float, type(None))):
                    seen.add(id(child))
                    below.append(child)
        level = below


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, Stone):
        yield from value.arguments
        yield value.state
        yield from value.items
        for pair in value.entries:
            yield from pair
    elif isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, (list, tuple, set)):
        yield from value


def read_objects(path: Path) -> Any:
    """The object in a pickle: tensors and plain values as they are, all others as stones.

    Raises BadCheckpoint for a file that is broken, claims more than it holds, or is no pickle.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return _read_zip(path)
            file.seek(0)
            first = _load(file, path)
            return _read_old(file, path) if first == MAGIC and type(first) is int else first
    except BROKEN as error:
        raise BadCheckpoint(
            f"{path} is broken, was cut off, or is no pickle ({type(error).__name__}: {error}). Delete it and download "
            "or copy it again."
        ) from None


class _Unpickler(pickle.Unpickler):
    """Knows a closed list of names. What it gives out is made anew for each file, so that no file leaves a trace."""

    def __init__(self, file: IO[bytes], storage: Callable[[Any], Any]) -> None:
        super().__init__(file)
        self._storage = storage
        self._stones: dict[str, type[Stone]] = {}
        make, keep = lambda *given: _tensor(*given), lambda data, *_: data
        self._known: dict[str, Any] = {
            "collections.OrderedDict": OrderedDict,
            "builtins.set": set,
            "__builtin__.set": set,
            "torch._utils._rebuild_tensor": make,
            "torch._utils._rebuild_tensor_v2": make,
            "torch._utils._rebuild_parameter": keep,
            "torch._utils._rebuild_parameter_with_state": keep,
        }
        of_type = lambda function, kind, given, *_: function(*given) if function in (make, keep) else kind  # noqa: E731
        for name in ("fastai.torch_core", "fastai2.torch_core"):
            self._known[f"{name}._rebuild_from_type"] = of_type
        self._known["torch._tensor._rebuild_from_type_v2"] = of_type
        self._known |= STORAGES

    def find_class(self, module: str, name: str) -> Any:
        """What a name stands for: itself if it is on the list, else a class of stones."""
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        if full not in self._stones:
            self._stones[full] = type("Stone", (Stone,), {"kind": full})
        return self._stones[full]

    def persistent_load(self, pid: Any) -> Any:
        """Numbers that lie outside of the pickle. Of a class with its source code beside it, the class."""
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":
            return pid[1]
        return self._storage(pid)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor over its numbers; what lies outside of them is refused by torch, what repeats them here."""
    if not isinstance(storage, Tensor):
        raise TypeError("a tensor without numbers")
    tensor = storage.as_strided(tuple(size), tuple(stride), offset)
    if tensor.numel() > storage.numel():
        raise ValueError(f"a tensor of {tensor.numel():,} numbers out of {storage.numel():,}")
    return tensor


def _load(file: IO[bytes], path: Path, storage: Callable[[Any], Any] | None = None) -> Any:
    """The object of the pickle that begins here; `file` stands behind it then."""
    begin = file.tell()
    check_stream(file, path)
    file.seek(begin)
    return _Unpickler(file, storage or _no_storage).load()


def _no_storage(pid: Any) -> Any:
    raise ValueError("numbers outside of a plain pickle")


def _claim(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and count of a storage."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
        raise ValueError("a reference to something other than numbers")
    dtype, key, count = pid[1], str(pid[2]), pid[4]
    if not isinstance(dtype, torch.dtype) or type(count) is not int or count < 0:
        raise ValueError("a storage of no known type or size")
    return dtype, key, count


def _read_zip(path: Path) -> Any:
    """torch.save since 1.6: NAME/data.pkl, and the numbers of each storage in NAME/data/KEY."""
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        members = {member.filename: member for member in archive.infolist()}
        pickles = [name for name in members if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} data.pkl in the archive")
        root = pickles[0].removesuffix("data.pkl")
        order = members.get(f"{root}byteorder")
        if order is not None and archive.read(order) != b"little":
            raise ValueError("numbers in the byte order of another machine")
        read: dict[str, Tensor] = {}

        def storage(pid: Any) -> Tensor:
            dtype, key, count = _claim(pid)
            member = members.get(f"{root}data/{key}")
            if member is None or member.file_size != count * dtype.itemsize:
                raise ValueError(f"storage {key!r} claims {count * dtype.itemsize:,} bytes that are not there")
            if key not in read:
                numbers = read[key] = torch.empty(member.file_size, dtype=torch.uint8)
                with archive.open(member) as file:
                    _fill(numbers, file)
            return read[key].view(dtype)

        with archive.open(pickles[0]) as file:
            return _load(file, path, storage)


def _read_old(file: IO[bytes], path: Path) -> Any:
    """torch.save before 1.6: three pickles about the file, the object, the keys of its storages, their numbers."""
    _version, machine = (_load(file, path) for _ in range(2))
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise ValueError("numbers in the byte order of another machine")
    made: dict[str, Tensor] = {}
    room = path.stat().st_size

    def storage(pid: Any) -> Tensor:
        nonlocal room
        dtype, key, count = _claim(pid)
        if key not in made:
            room -= count * dtype.itemsize
            if room < 0:
                raise ValueError(f"storage {key!r} claims {count * dtype.itemsize:,} bytes that are not there")
            made[key] = torch.empty(count, dtype=dtype)
        if made[key].dtype != dtype or len(made[key]) != count:
            raise ValueError(f"storage {key!r} has two sizes")
        view = pid[5] if len(pid) > 5 else None
        return made[key] if view is None else made[key][view[1] : view[1] + view[2]]

    found = _load(file, path, storage)
    keys = _load(file, path)
    if sorted(map(str, keys)) != sorted(made):
        raise ValueError("another list of storages than the tensors name")
    for key in map(str, keys):
        (count,) = struct.unpack("<q", file.read(8))
        if count != len(made[key]):
            raise ValueError(f"storage {key!r} has two sizes")
        _fill(made[key].view(torch.uint8), file)
    return found


def _fill(numbers: Tensor, file: IO[bytes]) -> None:
    """Read bytes into a tensor of bytes, piece by piece, so that they are in memory once."""
    into = memoryview(numbers.numpy().data)
    while into:
        part = file.read(min(CHUNK, len(into)))
        if not part:
            raise EOFError("the numbers end early")
        into[: len(part)] = part
        into = into[len(part) :]
