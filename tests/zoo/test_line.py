"""The line before the processor: who waits goes along, none is overtaken for ever, and mistakes stay where they are."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.waiting import held
from zoo.engine import line
from zoo.engine.line import Line


class Passes:
    """Doubles numbers, and remembers which were computed together. The first pass waits until it is let go."""

    def __init__(self) -> None:
        self.made: list[list[int]] = []
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self, items: list[int]) -> Sequence[int]:
        self.made.append(list(items))
        self.began.set()
        assert self.go.wait(10)
        if -1 in items:
            raise ValueError("minus one")
        return [2 * item for item in items]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as made:
        yield made


def queued(pool: ThreadPoolExecutor, waiting: Line, *asked: tuple[str, list[int], Passes]) -> list[Future[list[Any]]]:
    """Callers in this order, all in line before the first pass is over."""
    futures = []
    for number, (key, items, passes) in enumerate(asked):
        futures.append(pool.submit(waiting.run, key, items, abs, passes))
        if number == 0:
            assert passes.began.wait(10)
        until = time.monotonic() + 10
        while len(waiting._jobs) < number and time.monotonic() < until:
            time.sleep(0.001)
    return futures


def test_results_stand_in_the_order_asked() -> None:
    passes = Passes()
    passes.go.set()
    assert Line().run("k", [5, 1, 4], abs, passes) == [10, 2, 8]
    assert passes.made == [[1, 4, 5]], "shortest first"
    assert Line().run("k", [], abs, passes) == []


def test_who_waits_for_the_same_goes_along(pool: ThreadPoolExecutor) -> None:
    passes, waiting = Passes(), Line()
    made = queued(pool, waiting, ("a", [1], passes), ("a", [2], passes), ("b", [3], passes), ("a", [4], passes))
    passes.go.set()
    assert [one.result(10) for one in made] == [[2], [4], [6], [8]]
    assert passes.made == [[1], [2, 4], [3]]
    assert waiting.passes == 3


def test_a_long_job_goes_to_the_back_after_each_step(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "STEP_TOKENS", 10)
    passes, waiting = Passes(), Line()
    made = queued(pool, waiting, ("x", [1], passes), ("a", [5] * 6, passes), ("b", [7], passes), ("a", [6], passes))
    passes.go.set()
    assert [one.result(10) for one in made] == [[2], [10] * 6, [14], [12]]
    assert passes.made[1:] == [[5, 5], [7], [6], [5, 5], [5, 5]]


def test_a_pass_keeps_to_its_tokens_and_takes_what_is_too_long_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "STEP_TOKENS", 60)
    passes = Passes()
    passes.go.set()
    Line().run("k", [30, 2, 50, 2, 7, 90], abs, passes)
    assert passes.made == [[2, 2, 7, 30], [50], [90]]


def test_a_mistake_reaches_its_caller_alone(pool: ThreadPoolExecutor) -> None:
    passes, waiting = Passes(), Line()
    made = queued(pool, waiting, ("x", [1], passes), ("a", [2], passes), ("a", [-1], passes), ("a", [3], passes))
    passes.go.set()
    assert [made[i].result(10) for i in (0, 1, 3)] == [[2], [4], [6]]
    with pytest.raises(ValueError, match="minus one"):
        made[2].result(10)
    assert waiting.run("a", [9], abs, passes) == [18], "the line goes on"


def test_none_starves(pool: ThreadPoolExecutor) -> None:
    """Four callers who never stop asking, and one who asks now and then."""
    stop, waiting = threading.Event(), Line()

    def slow(items: list[int]) -> list[int]:
        time.sleep(0.002)
        return items

    def busy(key: str) -> None:
        while not stop.is_set():
            waiting.run(key, [1], abs, slow)

    crowd = [pool.submit(busy, key) for key in "abcd"]
    for turn in range(20):
        before = waiting.passes
        assert waiting.run("me", [turn], abs, slow) == [turn]
        assert waiting.passes - before <= 8
    stop.set()
    for one in crowd:
        one.result(10)


def test_alone_means_alone(pool: ThreadPoolExecutor) -> None:
    passes, waiting = Passes(), Line()
    passes.go.set()
    with held(waiting):
        other = pool.submit(waiting.run, "k", [1], abs, passes)
        time.sleep(0.05)
        assert not other.done() and not passes.made
    assert other.result(10) == [2]


def test_a_mistake_made_alone_is_told() -> None:
    with pytest.raises(ZeroDivisionError):
        Line().alone(lambda: 1 / 0)


def test_who_computes_may_not_wait_for_a_pass() -> None:
    waiting = Line()
    with pytest.raises(AssertionError, match="itself"):
        waiting.alone(lambda: waiting.run("k", [1], abs, list))


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


def test_streams_stay_together(pool: ThreadPoolExecutor) -> None:
    """Though their readers come one after the other."""
    waiting = Line()
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
    waiting = Line()
    stream = Counting(waiting, 30, ahead=4)
    assert stream.read() == 1
    time.sleep(0.1)
    assert stream.said == 5, "one that was read and four ahead"
    stream.place.leave()
    stream.ready.clear()
    stream.place.go_on()
    time.sleep(0.02)
    assert stream.said == 5, "it has left"


def test_a_stream_is_told_what_went_wrong(pool: ThreadPoolExecutor) -> None:
    waiting = Line()

    def fail(items: list[int]) -> list[int]:
        raise ValueError("minus one")

    place = waiting.stream("s", 1, abs, fail, lambda: True)
    for _ in range(2):
        with pytest.raises(ValueError, match="minus one"):
            pool.submit(place.wait).result(10)
    assert not waiting._jobs


def test_streams_and_others_take_turns(pool: ThreadPoolExecutor) -> None:
    """A stream that never ends, and texts: one pass of these after some of the stream."""
    waiting = Line()
    endless = Counting(waiting, 10**6, ahead=10**6)
    endless.place.go_on()
    for turn in range(5):
        before = endless.said
        assert waiting.run("k", [turn], abs, list) == [turn]
        assert endless.said - before <= line.STREAMS + 2
    endless.place.leave()


def test_a_process_that_ends_while_a_pass_is_computed_ends_well() -> None:
    program = """if True:
        import threading, time
        import torch
        from zoo.engine.line import LINE
        def compute(items):
            for _ in range(200):
                torch.mm(torch.ones(400, 400), torch.ones(400, 400))
            return items
        go = lambda: LINE.run("k", list(range(10**5)), lambda item: 4096, compute)
        threading.Thread(target=go, daemon=True).start()
        time.sleep(0.5)
    """
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
        assert (ended.returncode, ended.stderr) == (0, "")


def test_nothing_is_computed_after_the_end() -> None:
    passes, waiting = Passes(), Line()
    passes.go.set()
    assert waiting.run("k", [1], abs, passes) == [2]
    waiting.close()
    with pytest.raises(RuntimeError, match="process is ending"):
        waiting.run("k", [1], abs, passes)


@pytest.mark.parametrize(("sizes", "times"), [([50, 50, 50], 1), ([1] * 10, 2), ([1] * 3, 0)])
def test_memory_is_given_back_now_and_then(sizes: list[int], times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(line, "TRIM", 5)
    monkeypatch.setattr(line, "TRIM_TOKENS", 100)
    waiting = Line()
    monkeypatch.setattr(line, "give_memory_back", lambda: given.append(waiting.passes))
    for size in sizes:
        waiting.run("k", [size], abs, lambda items: items)
    waiting.run("last", [1], abs, lambda items: items)  # what follows a pass is over when the next one is
    assert len(given) == times, given
