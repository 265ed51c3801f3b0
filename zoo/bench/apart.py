"""Functions of another library in a process of their own, timed there: threads and memory of one library change what
another one does beside it. A step of GPT-2 in int8 took 15 ms here, and 20 once CTranslate2 had worked in the process.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

Functions = Mapping[str, Callable[..., Any]]
CLOSING = 10  # seconds


class Apart:
    """A process that holds what `build(folder)` makes, a function of a module. What goes there and comes back must be
    what pickle knows: numbers, lists, arrays."""

    def __init__(self, build: Callable[[Path], Functions], folder: Path) -> None:
        """Raises RuntimeError where it cannot be built."""
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, build, folder, torch.get_num_threads()), daemon=True
        )
        self._process.start()
        theirs.close()
        self.names: list[str] = self._answer()

    def run(self, name: str, given: tuple[Any, ...], wanted: bool) -> tuple[float, Any]:
        """Seconds that a function took, and, if `wanted`, what it gave back. Raises RuntimeError where it failed."""
        self._line.send((name, given, wanted))
        seconds, made = self._answer()
        return seconds, made

    def close(self) -> None:
        """End the process."""
        self._line.close()
        self._process.join(CLOSING)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self) -> Any:
        try:
            made = self._line.recv()
        except EOFError:
            made = RuntimeError("The process of a peer has ended.")
        if isinstance(made, RuntimeError):
            raise made
        return made


@dataclass(frozen=True)
class Run:
    """A call of a function there."""

    apart: Apart
    name: str
    given: tuple[Any, ...]

    def __call__(self) -> Any:
        """What it gives back."""
        return self.apart.run(self.name, self.given, True)[1]

    def seconds(self) -> float:
        """How long it takes there; what it gives back stays there."""
        return self.apart.run(self.name, self.given, False)[0]


def _serve(line: Connection, build: Callable[[Path], Functions], folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        functions = build(folder)
        line.send(list(functions))
        while True:
            name, given, wanted = line.recv()
            began = time.perf_counter()
            made = functions[name](*given)
            line.send((time.perf_counter() - began, made if wanted else None))
    except EOFError:  # nobody asks any more
        return
    except Exception as error:  # noqa: BLE001 (told to who asked)
        line.send(RuntimeError(f"{type(error).__name__}: {error}"))
