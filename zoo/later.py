"""What is made when it is first asked for: torch takes longer to import than all else here, so the catalog, the page
and the command line begin without it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.engine import Engine


@contextmanager
def uncollected() -> Iterator[None]:
    """What imports and loading make stays, and is no garbage: to look for it among all objects of torch, as Python
    would do several times, takes a sixth of the time of the import, and as long as to read the files."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def lazily(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__` (PEP 562): each name is imported from the module that `where` says."""

    def get(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with uncollected():
            return getattr(import_module(where[name]), name)

    return get


class LateEngine:
    """Stands for an engine until something is asked of it, by whichever thread comes first."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: Engine | None = None

    def now(self) -> Engine:
        """The engine itself. Raises what making it raises."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now(), name)
