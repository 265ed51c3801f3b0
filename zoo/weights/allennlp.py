"""Models saved by AllenNLP: config.json with the whole experiment, weights.th, and vocabulary/ with a file a namespace.

Original: allennlp models/archival.py, data/vocabulary.py. What the experiment means is up to a family.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import BadCheckpoint
from zoo.weights.formats import read_json, read_tensors

WEIGHTS = "weights.th"
VOCABULARY = "vocabulary/"
NOT_PADDED = "non_padded_namespaces.txt"
PADDING, UNKNOWN = "@@PADDING@@", "@@UNKNOWN@@"


@dataclass(frozen=True)
class Archive:
    """The files of one model: the experiment, the tensors, and the words of each namespace by id."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    vocabulary: Mapping[str, tuple[str, ...]]

    def words(self, namespace: str) -> tuple[str, ...]:
        """The words of a namespace. Raises BadCheckpoint when there are none."""
        if not self.vocabulary.get(namespace):
            raise BadCheckpoint(f"{self.folder} lacks {VOCABULARY}{namespace}.txt, or it is empty.")
        return self.vocabulary[namespace]


def claims(names: Collection[str], config: Mapping[str, Any]) -> bool:
    """Whether these files are a model of AllenNLP."""
    return WEIGHTS in names and "model" in config


def files(names: Collection[str]) -> list[str]:
    """Which of the files are needed."""
    inside = sorted(n for n in names if n.startswith(VOCABULARY) and n.endswith(".txt") and n.count("/") == 1)
    return ["config.json", WEIGHTS, *inside]


def read_archive(folder: Path) -> Archive:
    """Open the files. Raises BadCheckpoint for absent or broken ones."""
    config = read_json(folder / "config.json")
    if not (folder / WEIGHTS).is_file():
        raise BadCheckpoint(f"{folder} lacks {WEIGHTS}.")
    return Archive(folder, config, read_tensors([folder / WEIGHTS]), _vocabulary(folder / VOCABULARY))


def _vocabulary(folder: Path) -> dict[str, tuple[str, ...]]:
    """Namespace -> words by id: number 0 is padding, but for namespaces that non_padded_namespaces.txt names."""
    found: dict[str, tuple[str, ...]] = {}
    if not folder.is_dir():
        return found
    patterns = [line.strip() for line in lines(folder / NOT_PADDED)]
    for path in sorted(folder.glob("*.txt")):
        if path.name == NOT_PADDED:
            continue
        words = tuple(line.replace("@@NEWLINE@@", "\n") for line in lines(path))
        plain = any(_matches(pattern, path.stem) for pattern in patterns)
        found[path.stem] = words if plain else (PADDING, *words)
    return found


def _matches(pattern: str, namespace: str) -> bool:
    """A pattern is a name, or * and the end of one."""
    return namespace.endswith(pattern[1:]) if pattern.startswith("*") else namespace == pattern


def lines(path: Path) -> list[str]:
    """Lines of a UTF-8 file, with and without a last line break. Raises BadCheckpoint."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise BadCheckpoint(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadCheckpoint(f"{path} is not UTF-8 text.") from None
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
