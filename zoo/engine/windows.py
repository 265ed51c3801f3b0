"""Long inputs: windows that overlap, and cuts that say what they cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zoo.contracts import Encoding, Pieces


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


def steps(encodings: Sequence[Encoding], budget: int) -> Iterator[list[int]]:
    """Indices of encodings by length, in steps of at most `budget` tokens, so that equals are computed together."""
    step: list[int] = []
    used = 0
    for index in sorted(range(len(encodings)), key=lambda i: len(encodings[i])):
        length = len(encodings[index])
        if step and used + length > budget:
            yield step
            step, used = [], 0
        step.append(index)
        used += length
    if step:
        yield step


def last_character(pieces: Pieces) -> int:
    """The character behind the last piece."""
    return pieces.offsets[-1][1] if len(pieces) else 0
