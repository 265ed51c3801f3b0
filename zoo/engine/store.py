"""Models in memory: each loaded once however many ask at the same time, kept under a budget of bytes, least recently
used gone first.
"""

from __future__ import annotations

import atexit
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

from zoo.errors import OutOfMemory
from zoo.family import Model
from zoo.processor import give_memory_back, physical_memory
from zoo.weights import hub

CLOSING = 10  # seconds that a process waits at its end for a model that is being opened
_opening: set[threading.Thread] = set()


def default_budget() -> int:
    """Half of the machine's memory, in bytes."""
    return physical_memory() // 2


class ModelStore:
    """Thread-safe. A model that was evicted while a request runs on it lives until that request ends."""

    def __init__(self, open_model: Callable[[str], Model], budget: int | None = None) -> None:
        self.budget = default_budget() if budget is None else budget
        self._open = open_model
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, Model] = OrderedDict()  # least recently used first
        self._loading: dict[str, Future[Model]] = {}

    def get(self, name: str) -> Model:
        """The model, loaded if need be. Raises what loading raises, and OutOfMemory when the model alone is over the
        budget."""
        return self.ask(name).result()

    def ask(self, name: str) -> Future[Model]:
        """The model, or its being loaded: callers that come while it loads wait for the same load. Who no longer waits
        does not stop it."""
        with self._lock:
            future = self._loading.get(name)
            if future is not None:
                return future
            future = Future()
            if name in self._loaded:
                self._loaded.move_to_end(name)
                future.set_result(self._loaded[name])
                return future
            self._loading[name] = future
        # helpers that torch starts for it end with the thread, see zoo/engine/line.py
        thread = threading.Thread(target=self._load, args=(name, future), name="zoo-load", daemon=True)
        _opening.add(thread)
        thread.start()
        return future

    def _load(self, name: str, future: Future[Model]) -> None:
        error: BaseException | None = None
        try:
            model = self._open(name)
            self._keep(name, model)
        except BaseException as raised:  # noqa: BLE001 - raised where somebody waits
            error = raised
        with self._lock:
            del self._loading[name]
        if error is None:
            future.set_result(model)
        else:
            future.set_exception(error)
        del future, error  # or it and an error that it holds keep each other, and half a model, in memory
        _opening.discard(threading.current_thread())

    def unload(self, name: str) -> bool:
        """Forget a model and give its memory back, unless a request runs on it; whether it was there."""
        with self._lock:
            there = self._loaded.pop(name, None) is not None
        if there:
            give_memory_back()
        return there

    def loaded(self) -> list[tuple[str, int]]:
        """Names and bytes, most recently used last."""
        with self._lock:
            return [(name, model.bytes) for name, model in self._loaded.items()]

    @property
    def used(self) -> int:
        """Bytes that the models in memory take."""
        return sum(size for _, size in self.loaded())

    def _keep(self, name: str, model: Model) -> None:
        if model.bytes > self.budget:
            raise OutOfMemory(
                f"{name} takes {model.bytes / 2**20:.0f} MB, the budget is {self.budget / 2**20:.0f} MB. "
                "Choose a smaller model or raise the budget."
            )
        with self._lock:
            self._loaded[name] = model
            used = sum(m.bytes for m in self._loaded.values())
            evicted = False
            while used > self.budget:
                used -= self._loaded.popitem(last=False)[1].bytes
                evicted = True
        if evicted:
            give_memory_back()


@atexit.register
def _close() -> None:
    """A process is aborted that ends while torch computes in one of its threads."""
    hub.leave()
    for thread in list(_opening):
        thread.join(CLOSING)
