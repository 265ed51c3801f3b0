"""What the tests of the Hub share: one small repository, and how it is fetched."""

from __future__ import annotations

from typing import Any

from zoo.models import bert, gpt2
from zoo.weights.fetch import Fetched, fetch

FAMILIES = (bert.FAMILY, gpt2.FAMILY)
NAME = "owner/tiny-bert"
WEIGHTS = "model.safetensors"


def get(source: str = NAME, **options: Any) -> Fetched:
    return fetch(source, FAMILIES, progress=False, **options)


def files(fetched: Fetched) -> set[str]:
    return {path.name for path in fetched.folder.iterdir()}
