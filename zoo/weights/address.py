"""How a checkpoint on the Hub is named, `owner/name` or `owner/name@revision`, and what the environment says of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

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


def endpoint() -> str:
    """The Hub that HF_ENDPOINT names. Raises BadParameter when it is no address."""
    address = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address in them, a port that is no number
        good = False
    if not good:
        raise BadParameter("HF_ENDPOINT is no address of a Hub. It must look like https://huggingface.co, or be unset.")
    return address.rstrip("/")


def cache_folder() -> Path:
    """The folder of the Hub's cache, by the same rules as the Hub's own client."""
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(cache)).expanduser().absolute()


def is_set(name: str) -> bool:
    """Whether a variable says yes, in the words that the Hub's own client takes."""
    return os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
