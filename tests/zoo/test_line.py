"""The line before the processor: who waits goes along, none is overtaken for ever, and mistakes stay where they are."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pytest
import torch

from tests.waiting import Crowd, await_jobs, held
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
def pool() -> Crowd:
    return Crowd()


def queued(pool: Crowd, waiting: Line, *asked: tuple[str, list[int], Passes]) -> list[Future[list[Any]]]:
    """Callers in this order, all in line before the first pass is over."""
    futures = []
    for number, (key, items, passes) in enumerate(asked):
        futures.append(pool.submit(waiting.run, key, items, abs, passes))
        if number == 0:
            assert passes.began.wait(10)
        await_jobs(waiting, number)
    return futures


def test_results_stand_in_the_order_asked() -> None:
    passes = Passes()
    passes.go.set()
    assert Line(1).run("k", [5, 1, 4], abs, passes) == [10, 2, 8]
    assert passes.made == [[1, 4, 5]], "shortest first"
    assert Line(1).run("k", [], abs, passes) == []


def test_who_waits_for_the_same_goes_along(pool: Crowd) -> None:
    passes, waiting = Passes(), Line(1)
    made = queued(pool, waiting, ("a", [1], passes), ("a", [2], passes), ("b", [3], passes), ("a", [4], passes))
    passes.go.set()
    assert [one.result(10) for one in made] == [[2], [4], [6], [8]]
    assert passes.made == [[1], [2, 4], [3]]
    assert waiting.passes == 3


def test_a_long_job_goes_to_the_back_after_each_step(pool: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "STEP_TOKENS", 10)
    passes, waiting = Passes(), Line(1)
    made = queued(pool, waiting, ("x", [1], passes), ("a", [5] * 6, passes), ("b", [7], passes), ("a", [6], passes))
    passes.go.set()
    assert [one.result(10) for one in made] == [[2], [10] * 6, [14], [12]]
    assert passes.made[1:] == [[5, 5], [7], [6], [5, 5], [5, 5]]


def test_a_pass_keeps_to_its_tokens_and_takes_what_is_too_long_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "STEP_TOKENS", 60)
    passes = Passes()
    passes.go.set()
    Line(1).run("k", [30, 2, 50, 2, 7, 90], abs, passes)
    assert passes.made == [[2, 2, 7, 30], [50], [90]]


def test_a_mistake_reaches_its_caller_alone(pool: Crowd) -> None:
    passes, waiting = Passes(), Line(1)
    made = queued(pool, waiting, ("x", [1], passes), ("a", [2], passes), ("a", [-1], passes), ("a", [3], passes))
    passes.go.set()
    assert [made[i].result(10) for i in (0, 1, 3)] == [[2], [4], [6]]
    with pytest.raises(ValueError, match="minus one"):
        made[2].result(10)
    assert waiting.run("a", [9], abs, passes) == [18], "the line goes on"


def test_none_starves(pool: Crowd) -> None:
    """Four callers who never stop asking, and one who asks now and then."""
    stop, waiting = threading.Event(), Line(1)

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


def test_alone_means_alone(pool: Crowd) -> None:
    passes, waiting = Passes(), Line(1)
    passes.go.set()
    with held(waiting):
        other = pool.submit(waiting.run, "k", [1], abs, passes)
        time.sleep(0.05)
        assert not other.done() and not passes.made
    assert other.result(10) == [2]


def test_a_mistake_made_alone_is_told() -> None:
    with pytest.raises(ZeroDivisionError):
        Line(1).alone(lambda: 1 / 0)


def test_who_computes_may_not_wait_for_a_pass() -> None:
    waiting = Line(1)
    with pytest.raises(AssertionError, match="itself"):
        waiting.alone(lambda: waiting.run("k", [1], abs, list))


def test_a_mistake_of_the_line_itself_reaches_all_who_wait(pool: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, waiting = Passes(), Line(1)
    made = queued(pool, waiting, ("x", [1], passes), ("a", [2], passes), ("b", [3], passes))
    with monkeypatch.context() as broken:
        broken.setattr(waiting, "_taken", lambda first: 1 / 0)
        passes.go.set()
        assert made[0].result(10) == [2]
        for one in made[1:]:
            with pytest.raises(ZeroDivisionError):
                one.result(10)
    assert pool.submit(waiting.run, "a", [9], abs, passes).result(10) == [18], "the line goes on"


class Watched:
    """Work that tells how much of it goes on at once, and with how many threads."""

    def __init__(self, together: int = 1) -> None:
        self.going: list[str] = []
        self.seen: list[tuple[tuple[str, ...], int]] = []  # what went on, and torch's threads
        self._lock = threading.Lock()
        self._met = threading.Barrier(together)

    def __call__(self, key: str, items: list[Any]) -> list[Any]:
        with self._lock:
            self.going.append(key)
        self._met.wait(10)  # as many as that go on at once, or it breaks
        with self._lock:
            self.seen.append((tuple(sorted(self.going)), torch.get_num_threads()))
        self._met.wait(10)
        time.sleep(0.001)
        with self._lock:
            self.going.remove(key)
        return items

    def ask(self, waiting: Line, key: str) -> list[Any]:
        return waiting.run(key, [key], lambda _: 1, lambda items: self(key, items))


def test_two_models_are_computed_at_once_with_half_of_the_cores_each(pool: Crowd) -> None:
    watched, waiting = Watched(2), Line(2)
    with held(waiting):
        made = [pool.submit(watched.ask, waiting, key) for key in "ab"]
        await_jobs(waiting, 2)
    assert [one.result(10) for one in made] == [["a"], ["b"]]
    assert watched.seen == [(("a", "b"), 1)] * 2


@pytest.mark.parametrize("cores", [1, 2])
def test_who_is_alone_has_all_cores(cores: int) -> None:
    watched, waiting = Watched(), Line(cores)
    for _ in range(3):
        watched.ask(waiting, "a")
    assert watched.seen == [(("a",), cores)] * 3


def test_one_model_is_not_computed_twice_at_once(pool: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "STEP_TOKENS", 1)
    watched, waiting = Watched(), Line(2)
    for one in [pool.submit(watched.ask, waiting, key) for key in "aaabbb" * 5]:
        one.result(10)
    assert all(len(going) == len(set(going)) for going, _ in watched.seen) and len(watched.seen) == 30


def test_alone_waits_until_nothing_else_is_computed(pool: Crowd) -> None:
    """Though models enough to keep both threads busy are asked without end."""
    stop, watched, waiting = threading.Event(), Watched(), Line(2)

    def busy(key: str) -> None:
        while not stop.is_set():
            watched.ask(waiting, key)

    crowd = [pool.submit(busy, key) for key in "abcdef"]
    for _ in range(20):
        time.sleep(0.01)
        assert waiting.alone(lambda: (watched.going.copy(), torch.get_num_threads())) == ([], 2)
    stop.set()
    for one in crowd:
        one.result(10)
    assert any(len(going) == 2 for going, _ in watched.seen)


def test_of_more_cores_a_stream_has_one_and_all_else_the_rest(pool: Crowd) -> None:
    watched, waiting = Watched(2), Line(4)

    def step(items: list[Any]) -> list[Any]:
        return watched("stream", items)

    with held(waiting):
        place = waiting.stream("s", "stream", len, step, lambda: len(watched.seen) < 2)
        made = pool.submit(watched.ask, waiting, "a")
        await_jobs(waiting, 1)
        place.go_on()
    assert made.result(10) == ["a"]
    assert sorted(threads for _, threads in watched.seen) == [1, 3]


def test_threads_that_begin_later_have_all_cores(pool: Crowd) -> None:
    watched, waiting = Watched(2), Line(2)
    with held(waiting):
        made = [pool.submit(watched.ask, waiting, key) for key in "ab"]
        await_jobs(waiting, 2)
    for one in made:
        one.result(10)
    until = time.monotonic() + 10
    while not all(worker.asleep for worker in waiting._workers) and time.monotonic() < until:
        time.sleep(0.001)
    assert pool.submit(torch.get_num_threads).result(10) == 2


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
    passes, waiting = Passes(), Line(1)
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
    waiting = Line(1)
    monkeypatch.setattr(line, "give_memory_back", lambda: given.append(waiting.passes))
    for size in sizes:
        waiting.run("k", [size], abs, lambda items: items)
    waiting.run("last", [1], abs, lambda items: items)  # what follows a pass is over when the next one is
    assert len(given) == times, given
