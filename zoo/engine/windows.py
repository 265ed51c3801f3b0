"""Long inputs: windows that overlap, and cuts that say what they cut."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.contracts import Pieces


def windows(length: int, size: int, stride: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of windows of at most `size` over `length` tokens, neighbours sharing `stride` tokens."""
    assert 0 <= stride < size, f"a stride of {stride} does not fit windows of {size}"
    begin = 0
    while True:
        end = min(begin + size, length)
        yield begin, end
        if end == length:
            return
        begin = end - stride


def cut_longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Lengths of two texts that share `room` tokens: the longer one gives way until both fit."""
    if first + second <= room:
        return first, second
    half = room // 2
    if first <= half:
        return first, room - first
    if second <= half:
        return room - second, second
    return room - half, half


def last_character(pieces: Pieces) -> int:
    """The character behind the last piece."""
    return pieces.offsets[-1][1] if len(pieces) else 0
