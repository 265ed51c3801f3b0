"""How much of a checkpoint has been fetched, told to whoever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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


def watched(work: Callable[[], object]) -> Iterator[None]:
    """Do `work` in a thread of its own, and come back at once and every PAUSE until it is done. Raises what it raises.

    Who no longer listens does not stop it: others may wait for the same.
    """
    over: Future[Any] = Future()
    threading.Thread(target=_do, args=(work, over), daemon=True).start()
    try:
        while not over.done():
            yield
            wait([over], timeout=PAUSE)
        over.result()
    finally:
        del over  # or it and an error that it holds keep each other, and half a model, in memory


def _do(work: Callable[[], object], over: Future[Any]) -> None:
    try:
        over.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised where somebody waits
        over.set_exception(error)
    finally:
        del over
