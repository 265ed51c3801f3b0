"""How a checkpoint lies in a folder. Most have a config.json that names a model_type, as the Hub's own library writes
it; checkpoints of other programs (AllenNLP, fastai, bilm-tf) have other files, and a family says how those are read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Opened:
    """The files of a checkpoint, read: what its config says, and its tensors by their published names.

    `vocabulary` has the tokens by id where a weight file carries them; tokenizers read the rest from `folder`.
    `copy(name, room)` copies a tensor without leaving a mapped file in memory; None where no file is mapped.
    """

    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    vocabulary: tuple[str, ...] = ()
    copy: Callable[[str, Tensor], None] | None = None


@dataclass(frozen=True)
class Layout:
    """One way in which another program leaves checkpoints of a family.

    `claims(names, config)` says whether a folder with these file names, and this config.json ({} when there is none),
    is of this kind; `files(names)` which of them are needed; `read(folder)` opens them, raising BadCheckpoint for
    files that are absent or broken. Names have forward slashes.
    """

    title: str
    claims: Callable[[Collection[str], Mapping[str, Any]], bool]
    files: Callable[[Collection[str]], Sequence[str]]
    read: Callable[[Path], Opened]


def names_in(folder: Path) -> list[str]:
    """All files of a folder and its folders, as the Hub lists them."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
