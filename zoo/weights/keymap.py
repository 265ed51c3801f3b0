"""Key tables: how the names of a published file become the names of our parameters. Data, not code.

A table is a list of rules. Every key of a file matches exactly one rule, every parameter is filled exactly once, and
all shapes agree; otherwise one error lists everything that is missing, unexpected and misshapen. `{i}` in a source
matches a number; `{p}` matches `weight` or `bias`; both stand for the same text in the target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.errors import CheckpointMismatch

# A single row times a matrix is added up in another order where the matrix begins at an odd place of a mapped file. So
# that a checkpoint says the same to the last bit whatever file it comes from, the small matrices of heads (a pooler, a
# classifier) move. Those of a body meet all rows of a text, or are transposed: for both the place does not matter.
HEADS = "heads."  # how names of parameters outside of the body begin, see Network
ALIGNED = 64  # bytes
SMALL = 4 * 2**20  # bytes: as much as the pooler of a large model has

PLACEHOLDERS = {"{i}": r"(?P<i>\d+)", "{j}": r"(?P<j>\d+)", "{p}": r"(?P<p>weight|bias)"}


@dataclass(frozen=True)
class Rename:
    """The tensor goes to `target`, through `op` when there is one."""

    source: str
    target: str
    op: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Join:
    """Several tensors, each through `op` when there is one, concatenated along the first dimension, go to `target`."""

    sources: tuple[str, ...]
    target: str
    op: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Drop:
    """The tensor is no parameter. `why` says what it is; with `rank`, only tensors of that many dimensions."""

    source: str
    why: str
    rank: int | None = None


@dataclass(frozen=True)
class Alias:
    """A second name of a tensor that `of` names: it must hold the same numbers, or fills `of` if that is absent."""

    source: str
    of: str


Rule = Rename | Join | Drop | Alias


@dataclass(frozen=True)
class KeyTable:
    """The rules of one family for one set of heads; `prefix` is put before body keys by some classes, not by others."""

    rules: tuple[Rule, ...]
    prefix: str = ""


@dataclass
class LoadReport:
    """Tensor by tensor, what came from where; printed by `python -m zoo check`."""

    sources: dict[str, str] = field(default_factory=dict)  # our parameter -> the file's tensor or tensors
    dropped: dict[str, str] = field(default_factory=dict)  # the file's tensor -> why it is no parameter
    notes: list[str] = field(default_factory=list)  # values that the format itself supplies


def transpose(tensor: Tensor) -> Tensor:
    """Conv1D of the original GPT code stores [in, out]; a linear map wants [out, in]. Biases stay as they are.

    A view: the numbers stay in the mapped file. Linear maps compute the same from it, one row faster, many as fast.
    """
    return tensor.t() if tensor.dim() == 2 else tensor


def modern_names(keys: Iterable[str], prefix: str) -> dict[str, str]:
    """File key -> key without `prefix`, and with the norm names of today (`LayerNorm.gamma` is from before 2019)."""
    names = {}
    for key in keys:
        name = key.removeprefix(prefix)
        if "LayerNorm." in name:
            name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
            name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        names[key] = name
    return names


def apply(
    table: KeyTable,
    tensors: Mapping[str, Tensor],
    wanted: Mapping[str, torch.Size],
    source: str,
    family: str,
    copy: Callable[[str, Tensor], None] | None = None,
) -> tuple[dict[str, Tensor], LoadReport]:
    """Tensors of a file as parameters of ours, in float32.

    `wanted` holds the shape of every parameter. What needs no copy stays where it lies; what is moved, joined or
    converted goes through `copy(key, room)`, which can do so without leaving the mapped file in memory beside it.
    Raises CheckpointMismatch with the whole list unless every key finds one rule, every parameter is filled once, and
    all shapes agree.
    """

    def copy_to(room: Tensor, key: str) -> Tensor:
        if copy is not None:
            copy(key, room)
        else:
            room.copy_(tensors[key])
        return room

    def take(key: str, target: str) -> Tensor:
        tensor = tensors[key]
        moves = target.startswith(HEADS) and tensor.data_ptr() % ALIGNED and tensor.nbytes <= SMALL
        if not _is_plain(tensor) or (tensor.dtype == torch.float32 and not moves):
            return tensor.contiguous()  # pickles keep the strides of a transposed tensor
        return copy_to(torch.empty(tensor.shape, dtype=tensor.dtype), key).float()

    def join(keys: list[str], op: Callable[[Tensor], Tensor] | None, target: str) -> Tensor:
        parts = [tensors[key] for key in keys]
        if op is not None or any(not _is_plain(part) or part.dtype != torch.float32 for part in parts):
            return torch.cat([op(take(key, target)) if op else take(key, target) for key in keys])
        lengths = [len(part) for part in parts]
        joined = torch.empty(sum(lengths), *parts[0].shape[1:])
        for key, room in zip(keys, joined.split(lengths), strict=True):
            copy_to(room, key)
        return joined

    report = LoadReport()
    names = modern_names(tensors, table.prefix)
    compiled = [(rule, _patterns(rule)) for rule in table.rules]
    filled: dict[str, Tensor] = {}
    pending: dict[str, dict[int, tuple[str, Tensor]]] = {}  # target of a Join -> part -> (file key, tensor)
    parts: dict[str, int] = {}
    ops: dict[str, Callable[[Tensor], Tensor] | None] = {}
    aliases: list[tuple[str, str]] = []
    unexpected: list[str] = []
    misshapen: list[str] = []
    broken: set[str] = set()  # targets that are misshapen before they are filled
    for key, name in names.items():
        tensor = tensors[key]
        found = _match(name, tensor, compiled)
        if found is None:
            unexpected.append(key)
            continue
        rule, part, values = found
        if isinstance(rule, Drop):
            report.dropped[key] = rule.why
        elif isinstance(rule, Alias):
            aliases.append((key, _fill(rule.of, values)))
        elif isinstance(rule, Join):
            target = _fill(rule.target, values)
            pieces = pending.setdefault(target, {})
            if part in pieces:
                unexpected.append(f"{key} (fills a part of {target} a second time)")
                continue
            pieces[part] = (key, tensor)
            parts[target] = len(rule.sources)
            ops[target] = rule.op
        else:
            target = _fill(rule.target, values)
            if target in filled:
                unexpected.append(f"{key} (fills {target} a second time)")
                continue
            tensor = take(key, target)
            filled[target] = rule.op(tensor) if rule.op else tensor
            report.sources[target] = key
    for target, pieces in pending.items():
        keys = [key for key, _ in pieces.values()]
        if target in filled:
            unexpected += [f"{key} (fills {target} a second time)" for key in keys]
        elif len(pieces) < parts[target]:
            unexpected += [f"{key} (no place: {target})" for key in keys if target not in wanted]
        else:
            ordered = [pieces[i] for i in range(parts[target])]
            report.sources[target] = " + ".join(key for key, _ in ordered)
            op = ops[target]
            shapes = [list((op(tensor) if op else tensor).shape) for _, tensor in ordered]
            if all(shape and shape[1:] == shapes[0][1:] for shape in shapes):
                filled[target] = join([key for key, _ in ordered], op, target)
            else:
                misshapen.append(f"{report.sources[target]} are {shapes}, which do not join to {target}")
                broken.add(target)
    for key, target in aliases:
        tensor = take(key, target)
        if target not in filled:
            filled[target], report.sources[target] = tensor, key
        elif not _same(filled[target], tensor):
            misshapen.append(f"{key} (a second name of {report.sources[target]}, but with other numbers)")
        else:
            report.dropped[key] = f"a second name of {report.sources[target]}, same numbers"
    unexpected += [f"{report.sources[t]} (no place: {t})" for t in filled if t not in wanted]
    missing = [t for t in wanted if t not in filled and t not in broken]
    misshapen += [
        f"{report.sources[t]} is {list(filled[t].shape)}, {t} is {list(shape)}"
        for t, shape in wanted.items()
        if t in filled and filled[t].shape != shape
    ]
    if missing or unexpected or misshapen:
        raise CheckpointMismatch(source, family, missing, unexpected, misshapen)
    return filled, report


def _is_plain(tensor: Tensor) -> bool:
    """Whether it holds numbers that a parameter may have. Others are passed on as they are; the loader refuses them."""
    return tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_meta


def _same(a: Tensor, b: Tensor) -> bool:
    """The same numbers; a tied pair of a pickle is the same memory, and nothing of it has to be read."""
    return a.dtype == b.dtype and a.shape == b.shape and (a.is_set_to(b) or torch.equal(a, b))


def _patterns(rule: Rule) -> list[re.Pattern[str]]:
    sources = rule.sources if isinstance(rule, Join) else (rule.source,)
    patterns = []
    for source in sources:
        pattern = re.escape(source).replace(r"\{", "{").replace(r"\}", "}")
        for placeholder, expression in PLACEHOLDERS.items():
            pattern = pattern.replace(placeholder, expression)
        patterns.append(re.compile(pattern))
    return patterns


def _match(
    name: str, tensor: Tensor, compiled: list[tuple[Rule, list[re.Pattern[str]]]]
) -> tuple[Rule, int, dict[str, str]] | None:
    for rule, patterns in compiled:
        if isinstance(rule, Drop) and rule.rank is not None and tensor.dim() != rule.rank:
            continue
        for part, pattern in enumerate(patterns):
            match = pattern.fullmatch(name)
            if match:
                return rule, part, match.groupdict()
    return None


def _fill(target: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        target = target.replace("{" + name + "}", value)
    return target
