"""Streams in the line before the processor: they stay together, take turns with all else, and mistakes stay where they
are."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import pytest

from tests.waiting import Crowd, held
from zoo.engine import line
from zoo.engine.line import Line


@pytest.fixture
def pool() -> Crowd:
    return Crowd()


class Counting:
    """A stream of numbers: each pass adds the next one."""

    def __init__(self, waiting: Line, most: int, ahead: int = 4) -> None:
        self.ready: deque[int] = deque()
        self.said = 0
        self.together: list[int] = []
        wanted: Callable[[], bool] = lambda: self.said < most and len(self.ready) < ahead  # noqa: E731
        self.place = waiting.stream("s", self, lambda one: 1, self.add, wanted)

    @staticmethod
    def add(streams: list[Counting]) -> list[Counting]:
        time.sleep(0.003)
        for one in streams:
            one.said += 1
            one.ready.append(one.said)
            one.together.append(len(streams))
        return streams

    def read(self) -> int:
        while not self.ready:
            self.place.wait()
        number = self.ready.popleft()
        self.place.go_on()
        return number


def test_streams_stay_together(pool: Crowd) -> None:
    """Though their readers come one after the other."""
    waiting = Line(1)
    with held(waiting):
        streams = [Counting(waiting, 30) for _ in range(4)]
        for one in streams:
            one.place.go_on()

    def read(number: int) -> list[int]:
        said = []
        for _ in range(30):
            time.sleep(0.0005 * number)
            said.append(streams[number].read())
        return said

    assert [one.result(20) for one in [pool.submit(read, number) for number in range(4)]] == [list(range(1, 31))] * 4
    assert waiting.passes - 1 < 45, "each on its own would need 120"
    assert not waiting._jobs


def test_a_stream_that_nobody_reads_waits() -> None:
    waiting = Line(1)
    stream = Counting(waiting, 30, ahead=4)
    assert stream.read() == 1
    time.sleep(0.1)
    assert stream.said == 5, "one that was read and four ahead"
    stream.place.leave()
    stream.ready.clear()
    stream.place.go_on()
    time.sleep(0.02)
    assert stream.said == 5, "it has left"


def test_a_stream_is_told_what_went_wrong(pool: Crowd) -> None:
    waiting = Line(1)

    def fail(items: list[int]) -> list[int]:
        raise ValueError("minus one")

    place = waiting.stream("s", 1, abs, fail, lambda: True)
    for _ in range(2):
        with pytest.raises(ValueError, match="minus one"):
            pool.submit(place.wait).result(10)
    assert not waiting._jobs


def test_a_stream_that_cannot_say_what_it_wants_is_told(pool: Crowd) -> None:
    waiting, asked = Line(1), iter([True])
    other = Counting(waiting, 10**6, ahead=10**6)
    with held(waiting):
        place = waiting.stream("t", 1, abs, list, lambda: next(asked))  # asked for the second time it raises
        place.go_on()
        other.place.go_on()
    with pytest.raises(StopIteration):
        for _ in range(2):
            place.wait()
    assert [pool.submit(other.read).result(10) for _ in range(3)] == [1, 2, 3], "others go on"
    other.place.leave()


def test_a_single_thread_on_two_cores_computes_streams_and_all_else(
    pool: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream beside four callers who never stop asking."""
    monkeypatch.setattr(line, "WORKERS", 1)
    stop, waiting = threading.Event(), Line(2)

    def busy(key: str) -> None:
        while not stop.is_set():
            waiting.run(key, [1], abs, lambda items: (time.sleep(0.002), items)[1])

    crowd = [pool.submit(busy, key) for key in "abcd"]
    stream = Counting(waiting, 30)
    before = waiting.passes
    assert [pool.submit(stream.read).result(10) for _ in range(30)] == list(range(1, 31))
    assert waiting.passes - before > 30, "the others, too"
    stop.set()
    for one in crowd:
        one.result(10)


def test_streams_and_others_take_turns(pool: Crowd) -> None:
    """A stream that never ends, and texts: one pass of these after some of the stream."""
    waiting = Line(1)
    endless = Counting(waiting, 10**6, ahead=10**6)
    endless.place.go_on()
    for turn in range(5):
        before = endless.said
        assert waiting.run("k", [turn], abs, list) == [turn]
        assert endless.said - before <= line.STREAMS + 2
    endless.place.leave()
