"""A line that is kept waiting, and those who call it from threads of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from zoo.engine.line import Line


@contextmanager
def held(line: Line) -> Iterator[None]:
    """While the block lasts no pass of the line is computed."""
    entered, over = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        over.wait(60)

    holder = threading.Thread(target=line.alone, args=(hold,), daemon=True)
    holder.start()
    assert entered.wait(60)
    try:
        yield
    finally:
        over.set()
        holder.join(60)


class Crowd:
    """Callers, a thread each. That of an executor would be waited for at the end, for ever if its pass never comes."""

    def submit(self, ask: Callable[..., Any], *given: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def call() -> None:
            try:
                future.set_result(ask(*given))
            except BaseException as error:  # noqa: BLE001 (whoever asks for the result sees it)
                future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future


def await_jobs(waiting: Line, count: int) -> None:
    """Until so many are in line."""
    until = time.monotonic() + 10
    while len(waiting._jobs) < count and time.monotonic() < until:
        time.sleep(0.001)
