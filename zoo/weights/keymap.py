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

PLACEHOLDERS = {"{i}": r"(?P<i>\d+)", "{j}": r"(?P<j>\d+)", "{p}": r"(?P<p>weight|bias)"}


@dataclass(frozen=True)
class Rename:
    """The tensor goes to `target`, through `op` when there is one."""

    source: str
    target: str
    op: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Join:
    """Several tensors, concatenated along the first dimension, go to `target`."""

    sources: tuple[str, ...]
    target: str


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
    """Conv1D of the original GPT code stores [in, out]; a linear map wants [out, in]. Biases stay as they are."""
    return tensor.t().contiguous() if tensor.dim() == 2 else tensor


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
    table: KeyTable, tensors: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], source: str, family: str
) -> tuple[dict[str, Tensor], LoadReport]:
    """Tensors of a file as parameters of ours.

    `wanted` holds the shape of every parameter. Raises CheckpointMismatch with the whole list unless every key finds
    one rule, every parameter is filled once, and all shapes agree.
    """
    report = LoadReport()
    names = modern_names(tensors, table.prefix)
    compiled = [(rule, _patterns(rule)) for rule in table.rules]
    filled: dict[str, Tensor] = {}
    pending: dict[str, dict[int, tuple[str, Tensor]]] = {}  # target of a Join -> part -> (file key, tensor)
    parts: dict[str, int] = {}
    aliases: list[tuple[str, str, Tensor]] = []
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
            aliases.append((key, _fill(rule.of, values), tensor))
        elif isinstance(rule, Join):
            target = _fill(rule.target, values)
            pieces = pending.setdefault(target, {})
            if part in pieces:
                unexpected.append(f"{key} (fills a part of {target} a second time)")
                continue
            pieces[part] = (key, tensor)
            parts[target] = len(rule.sources)
        else:
            target = _fill(rule.target, values)
            if target in filled:
                unexpected.append(f"{key} (fills {target} a second time)")
                continue
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
            shapes = [list(tensor.shape) for _, tensor in ordered]
            if all(shape and shape[1:] == shapes[0][1:] for shape in shapes):
                filled[target] = torch.cat([tensor for _, tensor in ordered])
            else:
                misshapen.append(f"{report.sources[target]} are {shapes}, which do not join to {target}")
                broken.add(target)
    for key, target, tensor in aliases:
        if target not in filled:
            filled[target], report.sources[target] = tensor, key
        elif filled[target].shape != tensor.shape or not torch.equal(filled[target], tensor):
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
