"""What every task checks before it asks the engine, and what it says of a result."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.results import Truncation
from zoo import catalog
from zoo.engine import Read
from zoo.engine.answers import Timings
from zoo.errors import BadParameter, InputEmpty, InputTooLong, Unsupported

MOST_CHARACTERS = 100_000


def text_of(value: object, field: str) -> str:
    """A field's text, with what is no valid Unicode replaced. Raises InputEmpty, InputTooLong or BadParameter."""
    if not isinstance(value, str):
        raise BadParameter(f"The {field} must be text, not {type(value).__name__}.", field=field)
    if not value.strip():
        raise InputEmpty(f"The {field} is empty. Write something there and run again.", field=field)
    if len(value) > MOST_CHARACTERS:
        raise InputTooLong(
            f"The {field} has {len(value):,} characters; at most {MOST_CHARACTERS:,} are taken. Shorten it.",
            field=field,
        )
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)


def whole(value: object, field: str, low: int, high: int) -> int:
    """A whole number in a range. Raises BadParameter."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadParameter(f"{field} is {value!r}; it must be a whole number from {low} to {high}.", field=field)
    return value


def head_of(model: str, task: str, head: str | None) -> str | None:
    """The head that answers `task`: as asked, else the catalog's default, else the model's only one (None)."""
    row = catalog.find(model.partition("@")[0])
    if row is None:
        return head
    heads = row.tasks.get(task)
    if heads is None:
        able = ", ".join(c.name for c in catalog.by_task(task))
        does = ", ".join(row.tasks) or "none of the four tasks by itself"
        raise Unsupported(f"{row.name} does not answer {task} (it does {does}). These do: {able}.", able=able)
    if head is not None and head not in heads:
        raise Unsupported(f"{row.name} has no {head!r} for {task}; choose from {', '.join(heads)}.", heads=list(heads))
    return head or heads[0]


def truncation(read: Read, field: str) -> Truncation | None:
    """What a visitor is told when a text was cut."""
    return Truncation(field, read.tokens, read.of, read.characters) if read.cut else None


@contextmanager
def timed() -> Iterator[Timings]:
    """Timings whose `total` is the time of the block."""
    timings = Timings()
    started = time.perf_counter()
    try:
        yield timings
    finally:
        timings.seconds["total"] = time.perf_counter() - started
