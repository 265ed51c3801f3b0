"""A line that is kept waiting, so that a test can put callers into it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
