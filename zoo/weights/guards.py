"""Looks at a weight file of a stranger before it is opened: is it larger than it seems, or made to keep us busy?

Opening pickles for tensors only keeps their code from running. It does not keep a megabyte from unfolding into a
terabyte, nor a key of nested tuples from being hashed for a year. What no program that saves weights writes is refused.
"""

from __future__ import annotations

import contextlib
import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from zoo.errors import BadCheckpoint

DEEPEST = 16  # tuples within tuples; saved tensors need three
PARTS = 100_000  # tuples in one tuple, in all
OPERATIONS = 3_000_000  # of a pickle; a tensor takes about thirty
VIEWS = 4  # bytes of all tensors over bytes of the file; two names of a tied matrix make it just under two

MOST_JSON = 64_000_000  # bytes; the largest vocabulary takes a tenth
STEPS = 10_000  # of building a network, and so many more a tensor of the file; a layer takes some twenty
STEPS_A_TENSOR = 100

ZIP = b"PK\3\4"

_DEPTHS = 64  # what is known of an object in one number: how many tuples it holds, times this, and how deep they are
_MARK = -1
_PUT = ("PUT", "BINPUT", "LONG_BINPUT")
_GET = ("GET", "BINGET", "LONG_BINGET")


def check_pickle(path: Path) -> None:
    """Look at a PyTorch pickle, of the zip format or the one before. Raises BadCheckpoint.

    A pickle that is broken passes: whoever opens it next says what is wrong with it.
    """
    with path.open("rb") as file:
        zipped = file.read(4) == ZIP  # as torch tells the two apart
        file.seek(0)
        with contextlib.suppress(OSError, EOFError, ValueError, IndexError, KeyError):
            for _ in range(0 if zipped else 5):  # magic number, version, machine, the tensors, names of the storages
                _check_operations(file, path)
    if not zipped:
        return
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.infolist(), path)
            for member in archive.infolist():
                if member.filename.endswith(".pkl"):
                    with archive.open(member) as part, contextlib.suppress(EOFError, ValueError, IndexError, KeyError):
                        _check_operations(part, path)
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise BadCheckpoint(
            f"{path} is broken or was cut off ({type(error).__name__}). Delete it and download or copy it again."
        ) from None


def check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    """Look at the parts of a zip file. Raises BadCheckpoint for parts that unfold, or point outside of it."""
    _check_members(archive.infolist(), path)


def check_stream(file: Any, path: Path) -> None:
    """Follow the pickle that begins here, to its end. Raises BadCheckpoint, and whatever a broken one runs into."""
    _check_operations(file, path)


class NoLargerThan(TorchFunctionMode):
    """Under it a network cannot be built with more parts than `tensors` tensors of a file could ever fill.

    A config.json that claims a thousand million layers is refused at once, instead of being built until memory ends.
    """

    def __init__(self, tensors: int, source: str) -> None:
        super().__init__()
        self.left = STEPS + STEPS_A_TENSOR * tensors
        self.tensors = tensors
        self.source = source

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take one step and count it. Raises BadCheckpoint after the one that is too many.

        After, because leaving torch.no_grad is a step, too: refusing it would leave gradients off for good.
        """
        made = func(*args, **(kwargs or {}))
        self.left -= 1
        if self.left < 0:
            raise BadCheckpoint(
                f"config.json of {self.source} claims far more layers than its weights hold ({self.tensors} tensors). "
                "Compare it with the published one."
            )
        return made


def check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that repeat a few numbers endlessly, or the same numbers under many names."""
    used = 0
    for name, tensor in tensors.items():
        if tensor.is_meta or tensor.is_sparse:
            continue
        bytes_ = tensor.numel() * tensor.element_size()
        held = tensor.untyped_storage().nbytes()
        used += bytes_
        if bytes_ > held:
            raise BadCheckpoint(
                f"{path}: {name} claims {bytes_:,} bytes, the file has {held:,} for it. It would unfold in memory, so "
                "it is not opened. Look for the same model elsewhere."
            )
    if used > VIEWS * max(path.stat().st_size, 2**20):
        raise BadCheckpoint(
            f"{path} has {path.stat().st_size:,} bytes, its tensors would take {used:,}. It would unfold in memory, so "
            "it is not opened. Look for the same model elsewhere."
        )


def _check_members(members: Iterable[zipfile.ZipInfo], path: Path) -> None:
    total = 0
    for member in members:
        total += member.file_size
        if member.compress_type != zipfile.ZIP_STORED:
            raise BadCheckpoint(
                f"{path} holds a compressed part ({member.filename}), which PyTorch never writes. It may unfold "
                "without end, so it is not opened. Look for the same model elsewhere."
            )
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise BadCheckpoint(f"{path} holds a part that points outside of it ({member.filename!r}).")
    if total > path.stat().st_size:
        raise BadCheckpoint(f"{path} claims to hold {total:,} bytes, more than it has. It is not opened.")


class _Within:
    """A file that is never asked for more bytes than there are: a pickle may claim a text of any length."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.size, self.readline = file, size, file.readline

    def read(self, count: int) -> bytes:
        """As many bytes, or those that are left."""
        return bytes(self.file.read(min(count, self.size)))


def _check_operations(file: Any, path: Path) -> None:
    """Follow one pickle without running it, keeping of each object only how many tuples it holds and how deep."""
    stack: list[int] = []
    memo: dict[Any, int] = {}
    within: Any = _Within(file, path.stat().st_size)
    for count, (operation, place, _) in enumerate(pickletools.genops(within)):
        name = operation.name
        if count > OPERATIONS:
            raise BadCheckpoint(f"{path} is a pickle of more than {OPERATIONS:,} steps, and no list of tensors.")
        if name in _PUT and int(place or 0) > OPERATIONS:  # a reader may make room for all numbers below it
            raise BadCheckpoint(f"{path} is a pickle that counts to {place:,}, and no list of tensors.")
        if name in _PUT:
            memo[place] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in _GET:
            stack.append(memo[place])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            count_ = len(stack) - 1 - _last_mark(stack) if name == "TUPLE" else int(name[-1])
            inside = [stack.pop() for _ in range(count_)]
            if name == "TUPLE":
                stack.pop()
            depth = 1 + max((value % _DEPTHS for value in inside), default=0)
            parts = 1 + sum(value // _DEPTHS for value in inside)  # a part is counted as often as it is referred to
            stack.append(parts * _DEPTHS + depth)
            if depth > DEEPEST:
                raise BadCheckpoint(
                    f"{path} holds tuples nested more than {DEEPEST} deep, as no list of tensors does. They would "
                    "take forever to compare, so it is not opened."
                )
            if parts > PARTS:
                raise BadCheckpoint(
                    f"{path} holds a tuple of more than {PARTS:,} tuples, as no list of tensors does. It would take "
                    "forever to compare, so it is not opened."
                )
        else:
            _follow(operation, stack)


def _follow(operation: Any, stack: list[int]) -> None:
    """Any other step: what it takes from the stack and how much it leaves there."""
    before, after = operation.stack_before, operation.stack_after
    if pickletools.markobject in before:
        del stack[_last_mark(stack) :]
        taken = before.index(pickletools.markobject)
    else:
        taken = len(before)
    if taken > len(stack):
        raise IndexError(operation.name)
    kept = stack[len(stack) - taken :][: len(after)] if operation.name == "DUP" else []
    del stack[len(stack) - taken :]
    stack += kept + [kept[0] if kept else 0] * (len(after) - len(kept))


def _last_mark(stack: list[int]) -> int:
    return len(stack) - 1 - stack[::-1].index(_MARK)
