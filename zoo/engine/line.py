"""The line in which forward passes wait: one pass at a time, in which all who wait for the same thing go along.

torch uses all cores for a pass, so two at once only slow each other. Whoever comes while one is computed waits, and
when it is over the pass of the one who waited longest takes along the others of the same model and head: no request
waits for company when nothing else is computed, and none is overtaken for ever, since who is not done goes to the back.
A stream needs a pass for every token, so a few of theirs, which are short, go before each pass of the others.

All passes are computed by one thread. Each thread of its own would bring its own helpers (OpenMP), which go on spinning
after their work, and its own arena of memory.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from zoo.processor import give_memory_back

STEP_TOKENS = 4096  # tokens computed at once
PATIENCE = 0.003  # seconds that a pass for streams waits for those that were in the last one
STREAMS = 3  # passes of streams before each of the others: with none, 20 tokens took 8 s among 32 visitors
TRIM = 1000  # passes after which what the C library keeps for itself is given back
CLOSING = 60  # seconds that a process waits at its end for the pass under way
RECENT = 0.05  # seconds after which a stream that does not come back is not waited for


@dataclass(eq=False)
class _Job:
    """What one caller wants computed: items, shortest first."""

    key: Hashable
    compute: Callable[[list[Any]], Sequence[Any]]
    items: deque[tuple[int, int, Any]]  # (tokens, place, item)
    results: list[Any]
    came: float
    stream: object = None
    error: BaseException | None = None
    left: int = 0
    done: threading.Event = field(default_factory=threading.Event)


class Line:
    """Safe to call from many threads."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._thread: threading.Thread | None = None
        self._streamed = 0  # passes of streams since one of the others
        self._seen: dict[Hashable, dict[int, float]] = {}  # key -> streams, and when each was last in a pass
        self._closing = False
        self.passes = 0
        self.longest_wait = 0.0  # seconds until the first pass of a caller

    def run(
        self,
        key: Hashable,
        items: Sequence[Any],
        tokens: Callable[[Any], int],
        compute: Callable[[list[Any]], Sequence[Any]],
        stream: object = None,
    ) -> list[Any]:
        """The result of every item, in the order given. Items of one `key` may be computed together, by the `compute`
        of any of their callers. `stream` is who will soon be back with the next item. Raises what `compute` raises."""
        if not items:
            return []
        ordered = sorted(((tokens(item), place, item) for place, item in enumerate(items)), key=lambda one: one[:2])
        job = _Job(key, compute, deque(ordered), [None] * len(items), time.monotonic(), stream, left=len(items))
        self._put(job)
        job.done.wait()
        if job.error is not None:
            raise job.error
        return job.results

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While the block lasts no pass is computed; it waits for its turn as a pass does."""
        entered, over = threading.Event(), threading.Event()

        def hold(items: list[Any]) -> Sequence[Any]:
            entered.set()
            over.wait()
            return items

        self._put(_Job(object(), hold, deque([(0, 0, None)]), [None], time.monotonic(), left=1))
        try:
            entered.wait()
            yield
        finally:
            over.set()  # also where the wait was interrupted, or nobody would be computed for again

    def left(self, key: Hashable, stream: object) -> None:
        """A stream will not come back."""
        with self._change:
            others = self._seen.get(key, {})
            others.pop(id(stream), None)
            if not others:
                self._seen.pop(key, None)

    def close(self) -> None:
        """Let the pass under way end, and begin no other: a process that ends while torch computes is aborted."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(CLOSING)

    def _put(self, job: _Job) -> None:
        with self._change:
            if self._closing:
                raise RuntimeError("The process is ending; nothing is computed any more.")
            self._jobs.append(job)
            if self._thread is None or not self._thread.is_alive():  # also after a fork
                self._thread = threading.Thread(target=self._work, name="zoo-forward", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._jobs and not self._closing:
                    self._change.wait()
                if self._closing:
                    return
                self._turn()
                self._await_streams(self._jobs[0])
                parts = self._next()
            self._pass(parts)
            del parts  # or what was computed stays in memory until the next pass
            if self.passes % TRIM == 0:
                give_memory_back()

    def _turn(self) -> None:
        """Bring the one whose turn it is to the front."""
        streams = self._streamed < STREAMS
        wanted = next((job for job in self._jobs if (job.stream is not None) == streams), self._jobs[0])
        self._streamed = self._streamed + 1 if wanted.stream is not None else 0
        self._jobs.remove(wanted)
        self._jobs.appendleft(wanted)

    def _await_streams(self, first: _Job) -> None:
        """Give those who were in the last pass a moment to come back."""
        if first.stream is None:
            return
        until = time.monotonic() + PATIENCE
        while (now := time.monotonic()) < until:
            recent = {one for one, at in self._seen.get(first.key, {}).items() if now - at < RECENT}
            if recent <= {id(job.stream) for job in self._jobs if job.key == first.key}:
                return
            self._change.wait(until - now)

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
        return parts

    def _pass(self, parts: list[tuple[_Job, list[tuple[int, Any]]]]) -> None:
        began = time.monotonic()
        self.passes += 1
        for job, _ in parts:
            if job.left == len(job.results):
                self.longest_wait = max(self.longest_wait, began - job.came)
        try:
            items = [item for _, taken in parts for _, item in taken]
            results = parts[0][0].compute(items)
            assert len(results) == len(items), "a result for each item"
        except BaseException as error:  # noqa: BLE001 (it belongs to whoever asked)
            if len(parts) > 1 and parts[0][0].stream is None:  # whose fault it is shows when each is computed alone
                for part in parts:
                    self._pass([part])
                return
            for job, _ in parts:
                self._fail(job, error)
            return
        given = iter(results)
        now = time.monotonic()
        for job, taken in parts:
            for place, _ in taken:
                job.results[place] = next(given)
            job.left -= len(taken)
            if job.stream is not None:
                with self._change:
                    self._seen.setdefault(job.key, {})[id(job.stream)] = now
            if not job.left:
                job.done.set()

    def _fail(self, job: _Job, error: BaseException) -> None:
        with self._change:
            job.error = error
            job.items.clear()
            if job in self._jobs:
                self._jobs.remove(job)
        job.done.set()


LINE = Line()  # of the process: all engines share the cores
atexit.register(LINE.close)
