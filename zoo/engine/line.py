"""The line in which forward passes wait: one pass at a time, in which all who wait for the same thing go along.

torch uses all cores for a pass, so two at once only slow each other. Whoever comes while one is computed waits, and
when it is over the pass of the one who waited longest takes along the others of the same model: no request waits for
company when nothing else is computed, and none is overtaken for ever, since who is not done goes to the back.

A stream needs a pass for every token, so a few of theirs, which are short, go before each pass of the others. It stays
in the line by itself, a few tokens ahead of its reader, so that no pass waits for readers to wake.

All passes are computed by one thread, and all else that torch computes while requests are answered. A thread that
computes brings helpers of its own (OpenMP, as many as there are other cores), and its own arena of memory. As soon as
these are more threads than cores, each sleeps after every piece of work instead of spinning until the next: when models
had been opened by a thread that went on living, a token of xlnet-mini took 8.3 ms, without it 5.0 (two cores of an AMD
EPYC).
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from zoo.processor import give_memory_back, share_arenas

# Tokens computed at once. BERT-base in int8 takes 1.4 times as long with 4,096 as with 1,024 (what lies between two
# products no longer fits the caches), elmo-mini 1.25 times as long with 1,024 as with 4,096 (its steps are as many).
STEP_TOKENS = 2048
STREAMS = 6  # passes of streams before each of the others: with none, 20 tokens took 8 s among 32 visitors
# What the C library keeps for itself is given back after so many passes, or passes of so many tokens.
TRIM, TRIM_TOKENS = 250, 2**14
CLOSING = 60  # seconds that a process waits at its end for the pass under way

Made = TypeVar("Made")


@dataclass(eq=False)
class _Job:
    """What one caller wants computed: items, shortest first."""

    key: Hashable
    compute: Callable[[list[Any]], Sequence[Any]]
    items: deque[tuple[int, int, Any]]  # (tokens, place, item)
    results: list[Any]
    came: float = field(default_factory=time.monotonic)
    begun: bool = False
    left: int = field(init=False)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.left = len(self.items)


@dataclass(eq=False)
class _Going(_Job):
    """A stream: one item that is computed again and again. `done` is set after each pass."""

    tokens: Callable[[Any], int] = len
    wanted: Callable[[], bool] = bool
    item: Any = None
    standing: bool = False  # in the line, or in the pass under way
    over: bool = False


class Place:
    """Where a stream stands in the line."""

    def __init__(self, line: Line, job: _Going) -> None:
        self._line, self._job = line, job

    def go_on(self) -> None:
        """Take part in the next passes, until nothing is wanted."""
        self._line._stand(self._job)

    def wait(self) -> None:
        """Until a pass of it is over, perhaps one before this call. Raises what `compute` raises."""
        self.go_on()
        if self._job.error is None:
            self._job.done.wait()
            self._job.done.clear()
        if self._job.error is not None:
            raise self._job.error

    def leave(self) -> None:
        """Take part in no other pass; the one under way ends."""
        self._line._leave(self._job)


class Line:
    """Safe to call from many threads."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._thread: threading.Thread | None = None
        self._streamed = 0  # passes of streams since one of the others
        self._closing = False
        self._untrimmed = [0, 0]  # passes and tokens since memory was given back
        self.passes = 0
        self.longest_wait = 0.0  # seconds until the first pass of a caller

    def run(
        self,
        key: Hashable,
        items: Sequence[Any],
        tokens: Callable[[Any], int],
        compute: Callable[[list[Any]], Sequence[Any]],
    ) -> list[Any]:
        """The result of every item, in the order given. Items of one `key` may be computed together, by the `compute`
        of any of their callers. Raises what `compute` raises."""
        if not items:
            return []
        assert threading.current_thread() is not self._thread, "it would wait for itself"
        ordered = sorted(((tokens(item), place, item) for place, item in enumerate(items)), key=lambda one: one[:2])
        job = _Job(key, compute, deque(ordered), [None] * len(items))
        with self._change:
            self._put(job)
        job.done.wait()
        if job.error is not None:
            raise job.error
        return job.results

    def stream(
        self,
        key: Hashable,
        item: Any,
        tokens: Callable[[Any], int],
        compute: Callable[[list[Any]], Sequence[Any]],
        wanted: Callable[[], bool],
    ) -> Place:
        """A place for an item that each pass changes: it takes part in one after the other as long as `wanted()` is
        true, which is asked after each. What `compute` gives back is not kept."""
        return Place(self, _Going(key, compute, deque(), [None], tokens=tokens, wanted=wanted, item=item))

    def alone(self, work: Callable[[], Made]) -> Made:
        """What `work` gives back, which is done while no pass is computed; it waits for its turn as a pass does. Raises
        what it raises."""
        (made,) = self.run(object(), [work], lambda _: 0, lambda works: [one() for one in works])
        return cast(Made, made)

    def close(self) -> None:
        """Let the pass under way end, and begin no other: a process that ends while torch computes is aborted."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSING)

    def _put(self, job: _Job) -> None:
        """At the back. The lock is held."""
        if self._closing:
            raise RuntimeError("The process is ending; nothing is computed any more.")
        self._jobs.append(job)
        if self._thread is None or not self._thread.is_alive():  # also after a fork
            self._thread = threading.Thread(target=self._work, name="zoo-forward", daemon=True)
            self._thread.start()
        self._change.notify_all()

    def _stand(self, job: _Going) -> None:
        with self._change:
            if job.standing or job.over or job.error is not None or not job.wanted():
                return
            job.items.append((job.tokens(job.item), 0, job.item))
            self._put(job)
            job.standing = True

    def _leave(self, job: _Going) -> None:
        with self._change:
            job.over = True
            if job in self._jobs:
                self._jobs.remove(job)

    def _work(self) -> None:
        share_arenas()
        while True:
            with self._change:
                while not self._jobs and not self._closing:
                    self._change.wait()
                if self._closing:
                    return
                self._turn()
                parts = self._next()
            self._pass(parts)
            del parts  # or what was computed stays in memory until the next pass
            self._trim()

    def _trim(self) -> None:
        """Give back what is free, now and then: it takes 20 milliseconds, and as many to have it again."""
        if self._untrimmed[0] >= TRIM or self._untrimmed[1] >= TRIM_TOKENS:
            self._untrimmed = [0, 0]
            give_memory_back()

    def _turn(self) -> None:
        """Bring the one whose turn it is to the front."""
        streams = self._streamed < STREAMS
        wanted = next((job for job in self._jobs if isinstance(job, _Going) == streams), self._jobs[0])
        self._streamed = self._streamed + 1 if isinstance(wanted, _Going) else 0
        self._jobs.remove(wanted)
        self._jobs.appendleft(wanted)

    def _next(self) -> list[tuple[_Job, list[tuple[int, Any]]]]:
        """What is computed next: for each job some places and items. The first job in the line, and its like."""
        first, used, parts = self._jobs[0], 0, []
        for job in [job for job in self._jobs if job.key == first.key]:
            taken: list[tuple[int, Any]] = []
            while job.items and (used + job.items[0][0] <= STEP_TOKENS or not used):
                size, place, item = job.items.popleft()
                taken.append((place, item))
                used += size
            if taken:
                parts.append((job, taken))
            if not job.items:
                self._jobs.remove(job)
            if used >= STEP_TOKENS:
                break
        if first.items:
            self._jobs.rotate(-1)
        self._untrimmed[0] += 1
        self._untrimmed[1] += used
        return parts

    def _pass(self, parts: list[tuple[_Job, list[tuple[int, Any]]]]) -> None:
        began = time.monotonic()
        self.passes += 1
        for job, _ in parts:
            if not job.begun:
                job.begun = True
                self.longest_wait = max(self.longest_wait, began - job.came)
        try:
            items = [item for _, taken in parts for _, item in taken]
            results = parts[0][0].compute(items)
            assert len(results) == len(items), "a result for each item"
        except BaseException as error:  # noqa: BLE001 (it belongs to whoever asked)
            if len(parts) > 1 and not isinstance(parts[0][0], _Going):  # whose fault it is shows when each is alone
                for part in parts:
                    self._pass([part])
                return
            for job, _ in parts:
                self._fail(job, error)
            return
        given = iter(results)
        for job, taken in parts:
            if isinstance(job, _Going):
                next(given)
                self._again(job)
                continue
            for place, _ in taken:
                job.results[place] = next(given)
            job.left -= len(taken)
            if not job.left:
                job.done.set()

    def _again(self, job: _Going) -> None:
        """A stream after its pass: to the back, if more of it is wanted."""
        with self._change:
            job.standing = False
            job.done.set()
            if not self._closing:
                self._stand(job)

    def _fail(self, job: _Job, error: BaseException) -> None:
        with self._change:
            job.error = error
            job.items.clear()
            if job in self._jobs:
                self._jobs.remove(job)
        job.done.set()


LINE = Line()  # of the process: all engines share the cores
atexit.register(LINE.close)
