"""How a checkpoint on the Hub is named: `owner/name`, or `owner/name@revision`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from zoo.errors import BadParameter, UnknownModel, did_you_mean

CHOOSE = "Choose one of `python -m zoo list`, or give a folder or a Hub name such as google-bert/bert-base-uncased."

_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,199}")


@dataclass(frozen=True)
class Address:
    """Where a checkpoint lies on the Hub."""

    repository: str  # owner/name
    revision: str = "main"  # branch, tag or commit

    def __str__(self) -> str:
        return self.repository if self.revision == "main" else f"{self.repository}@{self.revision}"


def parse(source: str, known: Iterable[str] = ()) -> Address:
    """Read `owner/name` or `owner/name@revision`.

    `known` are names to suggest. Raises BadParameter for an empty name or an impossible revision, UnknownModel for
    what cannot be the name of a repository.
    """
    repository, mark, revision = source.strip().partition("@")
    if not repository:
        raise BadParameter(f"No model is named in {source!r}. {CHOOSE}")
    parts = repository.split("/")
    if len(parts) != 2:
        raise UnknownModel(f"No model is called {source!r}.{did_you_mean(source, known)} {CHOOSE}", model=source)
    if not all(_PART.fullmatch(part) for part in parts) or re.search(r"--|\.\.|\.git$", repository):
        raise UnknownModel(
            f"{repository!r} cannot be a repository of the Hub: owner and name are made of letters, digits, '-', '_' "
            f"and '.', begin and end with a letter or digit, and have no '--' or '..'. {CHOOSE}",
            model=source,
        )
    if mark and (not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith("/")):
        raise BadParameter(
            f"{revision!r} cannot be a revision. Write {repository}@REVISION with a branch, a tag or a commit, or "
            f"{repository} alone for its main branch."
        )
    return Address(repository, revision) if mark else Address(repository)
