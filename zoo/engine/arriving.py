"""How much of a checkpoint has been fetched, told to whoever waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

from zoo.weights.hub import Progress

PAUSE = 0.25  # seconds between two reports


class Arriving:
    """The bytes that are here, by file, of the checkpoints that are being fetched. Safe to call from many threads."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, int]] = {}

    def listener(self, name: str) -> Progress:
        """What is to be called with every piece that comes; a new one counts from nothing."""
        files = self._files[name] = {}

        def heard(file: str, here: int, total: int | None) -> None:
            files[file] = here

        return heard

    def bytes(self, name: str) -> int:
        """What is here of all files together; 0 of a checkpoint that was never fetched."""
        return sum(list(self._files.get(name, {}).values()))


def waiting(future: Future[Any]) -> Iterator[None]:
    """Come back at once and every PAUSE until it is done; never if it is done already. Raises what it raises."""
    try:
        while not future.done():
            yield
            wait([future], timeout=PAUSE)
        future.result()
    finally:
        del future  # or it and an error that it holds keep each other, and half a model, in memory
