"""Weight files -> tensors, whatever format they are in. No file is ever run as code.

Read are safetensors (single or sharded), and PyTorch pickles (`.bin`, of before and after the zip format of torch 1.6,
single or sharded) through `torch.load(weights_only=True)`.

Our own checkpoints use two conventions on top of sharded safetensors, so that every file stays under 10 MB:
`NAME.scale` beside an int8 `NAME` holds one factor a row, and `NAME@0`, `NAME@1`, ... are row ranges of one tensor.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.errors import BadCheckpoint
from zoo.weights.guards import MOST_JSON, check_pickle, check_tensors

SINGLE = ("model.safetensors", "pytorch_model.bin")
SHARDED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHT_FILES = (SINGLE[0], SHARDED[0], SINGLE[1], SHARDED[1])  # in order of preference


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint folder. Raises BadCheckpoint when there is none, or a shard is missing."""
    for name in WEIGHT_FILES:
        path = folder / name
        if not path.is_file():
            continue
        if name not in SHARDED:
            return [path]
        shards = [folder / shard for shard in shard_names(path)]
        absent = [shard.name for shard in shards if not shard.is_file()]
        if absent:
            raise BadCheckpoint(
                f"{folder} lacks {', '.join(absent)}, which {name} names. Copy or download the missing files again."
            )
        return shards
    raise BadCheckpoint(f"{folder} holds no weights: none of {', '.join(WEIGHT_FILES)} is there.")


def shard_names(index: Path) -> list[str]:
    """The files an index names, each once, in order. Raises BadCheckpoint when the index is broken."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise BadCheckpoint(f"{index} has no weight_map of tensor names to files.")
    names = list(dict.fromkeys(weight_map.values()))
    outside = [n for n in names if not _is_plain_name(n)]
    if outside:
        raise BadCheckpoint(f"{index} names files outside its folder: {', '.join(map(repr, outside))}.")
    return names


def read_tensors(files: list[Path]) -> dict[str, Tensor]:
    """All tensors of `files`, mapped where the format allows it. Raises BadCheckpoint on a broken file."""
    tensors: dict[str, Tensor] = {}
    for path in files:
        more = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
        twice = [key for key in more if key in tensors]
        if twice:
            raise BadCheckpoint(f"{path} holds {twice[0]}, which another file of the checkpoint holds, too.")
        tensors |= more
    return unpack(tensors)


def copier(files: Sequence[Path], tensors: Mapping[str, Tensor]) -> Callable[[str, Tensor], None]:
    """What copies one of the `tensors` that were read from `files` into memory that is there: copy(name, room).

    It reads the file, not the mapped tensor, whose pages would stay in memory beside the copy as long as any tensor of
    the file does. Tensors of other formats, and those that `unpack` put together, are copied from where they are.
    """
    places = {key: place for path in files if path.suffix == ".safetensors" for key, place in _places(path).items()}

    def copy(key: str, room: Tensor) -> None:
        path, start, size = places.get(key, (None, 0, 0))
        if path is None or size != room.nbytes:
            room.copy_(tensors[key])
        else:
            _read_into(room, path, start)

    return copy


def unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo our own conventions: join row ranges, multiply int8 rows by their factors. Others pass unchanged.

    Raises BadCheckpoint for ranges with a gap, and for ranges or factors that do not fit together.
    """
    plain: dict[str, Tensor] = {}
    ranges: dict[str, dict[int, Tensor]] = {}
    for key, tensor in tensors.items():
        name, mark, number = key.rpartition("@")
        if mark and number.isdecimal():
            ranges.setdefault(name, {})[int(number)] = tensor
        else:
            plain[key] = tensor
    for name, parts in ranges.items():
        if sorted(parts) != list(range(len(parts))):
            raise BadCheckpoint(f"The row ranges of {name} have a gap: found {sorted(parts)}.")
        ordered = [parts[i] for i in range(len(parts))]
        kinds = {(part.shape[1:], part.dtype) for part in ordered}
        if name in plain or len(kinds) > 1 or any(part.dim() == 0 for part in ordered):
            raise BadCheckpoint(f"The row ranges of {name} do not fit together, or stand beside a whole {name}.")
        plain[name] = torch.cat(ordered)
    for key in [k for k in plain if k.endswith(".scale") and _is_int8(plain, k.removesuffix(".scale"))]:
        name, scale = key.removesuffix(".scale"), plain.pop(key)
        rows = plain[name]
        if rows.dim() != 2 or scale.shape != rows.shape[:1]:
            raise BadCheckpoint(f"{key} is {list(scale.shape)}; it must be one factor a row of {list(rows.shape)}.")
        plain[name] = rows.float() * scale.float()[:, None]
    return plain


def read_json(path: Path) -> dict:
    """A JSON object. Raises BadCheckpoint when the file is absent or no JSON object."""
    try:
        if path.stat().st_size > MOST_JSON:
            raise BadCheckpoint(f"{path} has {path.stat().st_size:,} bytes, at most {MOST_JSON:,} are read as JSON.")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadCheckpoint(f"{path.parent} lacks {path.name}.") from None
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, or a number of thousands of digits
        raise BadCheckpoint(f"{path} is not readable as JSON ({error}). Download or copy it again.") from None
    if not isinstance(value, dict):
        raise BadCheckpoint(f"{path} holds no JSON object.")
    return value


def is_inside(name: str) -> bool:
    """Whether a listed name, with forward slashes, stays inside its folder on every system."""
    return bool(name) and all(_is_plain_name(part) for part in name.split("/"))


def _is_plain_name(name: str) -> bool:
    """Whether it names a file right here, on every system: no folder, no drive, no way up."""
    here = PurePosixPath(name).name == name == PureWindowsPath(name).name
    return here and name not in ("", "..") and name.isprintable()


def _is_int8(tensors: Mapping[str, Tensor], name: str) -> bool:
    return name in tensors and tensors[name].dtype == torch.int8


@contextmanager
def _file_at_fault(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"{path} is broken or was cut off ({error}). Delete it and download it again.") from None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with _file_at_fault(path), safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)


def _places(path: Path) -> dict[str, tuple[Path, int, int]]:
    """Where in a safetensors file that was opened before each tensor lies: first byte, and how many there are."""
    with _file_at_fault(path), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    spans = {key: said["data_offsets"] for key, said in header.items() if key != "__metadata__"}
    return {key: (path, 8 + length + start, end - start) for key, (start, end) in spans.items()}


def _read_into(room: Tensor, path: Path, start: int) -> None:
    left = room.view(-1).view(torch.uint8).numpy().data
    with _file_at_fault(path), path.open("rb", buffering=0) as file:
        file.seek(start)
        while left:
            count = file.readinto(left)
            if not count:
                raise OSError("it ends too early")
            left = left[count:]


def _read_pickle(path: Path) -> dict[str, Tensor]:
    check_pickle(path)
    try:
        with path.open("rb") as file:
            mapped = file.read(4) == b"PK\3\4"  # a zip, as torch tells it; files of the time before cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # noqa: BLE001 (torch.load passes on whatever a broken file makes it run into)
        found = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if found:
            raise BadCheckpoint(
                f"{path} holds objects other than tensors ({found[1]}). They are not opened, because opening them "
                "would run their code. Look for the same model with a model.safetensors."
            ) from None
        raise BadCheckpoint(
            f"{path} is broken or was cut off ({type(error).__name__}). Delete it and download or copy it again."
        ) from None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(t, Tensor) for k, t in state.items()):
        raise BadCheckpoint(f"{path} holds no plain dictionary of tensors by name.")
    check_tensors(state, path)
    return state
