"""The line in which forward passes wait: who waits for the same thing goes along in one pass.

Whoever comes while a pass is computed waits, and when it is over the pass of the one who waited longest takes along the
others of the same model: no request waits for company when nothing else is computed, and none is overtaken for ever,
since who is not done goes to the back.

A stream needs a pass for every token, so a few of theirs, which are short, go before each pass of the others. It stays
in the line by itself, a few tokens ahead of its reader, so that no pass waits for readers to wake.

Who is alone has all cores. When two models are asked, each computes with half of them: small products gain little from
a second core (a token of xlnet-mini takes 3.2 ms with one and with two, one of gpt-mini 4.0 and 2.9), and none waits
until the other core has done its part. 32 visitors of five models had 86 to 95 answers a second instead of 68 to 73
(two cores of an AMD EPYC). With more cores the second pass has one of them, and is one of streams; that was not
measured.

All passes are computed by two threads, and all else that torch computes while requests are answered by the first. A
thread that computes on several cores brings helpers of its own (OpenMP, as many as there are other cores), and its own
arena of memory. As soon as these are more threads than cores, each sleeps after every piece of work instead of spinning
until the next: when models had been opened by a thread that went on living, a token of xlnet-mini took 8.3 ms, without
it 5.0. So the second thread keeps to one core, and has no helpers.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch

from zoo.processor import give_memory_back, share_arenas, use_cores

# Tokens computed at once. BERT-base in int8 takes 1.4 times as long with 4,096 as with 1,024 (what lies between two
# products no longer fits the caches), elmo-mini 1.25 times as long with 1,024 as with 4,096 (its steps are as many).
STEP_TOKENS = 2048
# Passes of streams before each of the others. With none, 20 tokens took 8 s among 32 visitors, with 6 and with 8 about
# 0.97 and 0.86 s at the 99th percentile; half of all answers came within 0.26 and 0.30 s.
STREAMS = 8
# What the C library keeps for itself is given back after so many passes, or passes of so many tokens. With 250 passes
# 857 to 883 MB were held at three moments, with 100 of them 831 to 853, and 94 and 93 answers came in a second.
TRIM, TRIM_TOKENS = 100, 2**14
WORKERS = 2  # threads that compute
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
    alone: bool = False  # nothing else may be computed meanwhile
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


_Part = tuple[_Job, list[tuple[int, Any]]]  # of a pass: whose it is, and what of it, each with its place


class _Worker:
    """A thread that computes passes; it sleeps while there is none for it."""

    def __init__(self, line: Line, first: bool) -> None:
        self.first = first
        self.asleep = False
        self.wake = threading.Condition(line._lock)
        self.thread = threading.Thread(target=line._work, args=(self,), name="zoo-forward", daemon=True)


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

    def __init__(self, cores: int | None = None) -> None:
        """`cores` may be used, as many as torch uses by default."""
        self._lock = threading.RLock()
        self._jobs: deque[_Job] = deque()
        self._workers: list[_Worker] = []
        self._given = cores
        self._cores = self._free = 0  # cores in all, and those that no pass has
        self._under_way: set[Hashable] = set()  # keys of the passes that are computed
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
        ordered = sorted(((tokens(item), place, item) for place, item in enumerate(items)), key=lambda one: one[:2])
        return self._done(_Job(key, compute, deque(ordered), [None] * len(items)))

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
        job = _Job(object(), lambda works: [one() for one in works], deque([(0, 0, work)]), [None], alone=True)
        return cast(Made, self._done(job)[0])

    def close(self) -> None:
        """Let the passes under way end, and begin no other: a process that ends while torch computes is aborted."""
        with self._lock:
            self._closing = True
            for worker in self._workers:
                worker.wake.notify()
        for worker in self._workers:
            worker.thread.join(CLOSING)

    def _done(self, job: _Job) -> list[Any]:
        """What comes out of a job, when it is done. Raises what its `compute` raises."""
        assert all(one.thread is not threading.current_thread() for one in self._workers), "it would wait for itself"
        with self._lock:
            self._put(job)
        job.done.wait()
        if job.error is not None:
            raise job.error
        return job.results

    def _put(self, job: _Job) -> None:
        """At the back. The lock is held."""
        if self._closing:
            raise RuntimeError("The process is ending; nothing is computed any more.")
        self._jobs.append(job)
        if not self._workers or not self._workers[0].thread.is_alive():  # also after a fork
            self._cores = self._free = self._given or torch.get_num_threads()
            self._under_way.clear()
            self._workers = [_Worker(self, number == 0) for number in range(min(self._cores, WORKERS))]
            for worker in reversed(self._workers):  # the first one has the last word on how many threads are usual
                worker.thread.start()
        self._call()

    def _stand(self, job: _Going) -> None:
        with self._lock:
            if job.standing or job.over or job.error is not None or not job.wanted():
                return
            job.items.append((job.tokens(job.item), 0, job.item))
            self._put(job)
            job.standing = True

    def _leave(self, job: _Going) -> None:
        with self._lock:
            job.over = True
            if job in self._jobs:
                self._jobs.remove(job)

    def _call(self) -> None:
        """Wake one who can begin a pass, if there is one. The lock is held."""
        for worker in self._workers:
            if worker.asleep and self._turn(worker) is not None:
                worker.asleep = False
                worker.wake.notify()
                return

    def _work(self, worker: _Worker) -> None:
        share_arenas()
        use_cores(1)
        while self._one_pass(worker):
            self._trim()

    def _one_pass(self, worker: _Worker) -> bool:
        """Wait for a pass and compute it; False when the process ends."""
        parts, cores, key = list[_Part](), 0, None
        try:
            with self._lock:
                job = self._next_job(worker)
                if job is None:
                    return False
                key, parts = job.key, self._taken(job)
                cores = self._share(worker, job)
                self._free -= cores
                self._under_way.add(key)
                self._call()
            use_cores(cores)
            self._pass(parts)
        except BaseException as error:  # noqa: BLE001 (of the line itself: better told than waited for)
            with self._lock:
                for broken in {*self._jobs, *(job for job, _ in parts)}:
                    self._fail(broken, error)
        with self._lock:
            self._free += cores
            self._under_way.discard(key)
            self._call()
        return True

    def _next_job(self, worker: _Worker) -> _Job | None:
        """The one whose turn it is, as soon as there is one; None when the process ends. The lock is held."""
        while not self._closing:
            job = self._turn(worker)
            if job is not None:
                return job
            if worker.first:
                use_cores(self._cores)  # of threads that begin from now on, too
            worker.asleep = True
            worker.wake.wait()
            worker.asleep = False
        return None

    def _turn(self, worker: _Worker) -> _Job | None:
        """Whose turn it is, if this worker may compute for him now. The lock is held."""
        if not self._free or not (worker.first or self._under_way):  # who is alone has all cores
            return None
        waiting = self._open(worker)
        streams = self._streamed < STREAMS and self._alike  # else the second worker has them
        wanted = next((job for job in waiting if isinstance(job, _Going) == streams), waiting[0] if waiting else None)
        if wanted is not None and wanted.alone and (self._under_way or not worker.first):
            return None
        return wanted

    def _open(self, worker: _Worker) -> list[_Job]:
        """Who waits for what is not under way already, as far as it is for this worker."""
        any_kind = worker.first or self._alike
        return [job for job in self._jobs if job.key not in self._under_way and (any_kind or isinstance(job, _Going))]

    @property
    def _alike(self) -> bool:
        """Whether all workers have as many cores when all compute, as one alone has."""
        return len(self._workers) in (1, self._cores)

    def _share(self, worker: _Worker, job: _Job) -> int:
        """How many cores its pass has. The lock is held."""
        if not worker.first:
            return 1
        beside = [one for other in self._workers[1:] for one in self._open(other) if one.key != job.key]
        return self._free - 1 if beside and not self._under_way and not job.alone else self._free

    def _trim(self) -> None:
        """Give back what is free, now and then: it takes 20 milliseconds, and as many to have it again."""
        with self._lock:
            if self._untrimmed[0] < TRIM and self._untrimmed[1] < TRIM_TOKENS:
                return
            self._untrimmed = [0, 0]
        give_memory_back()

    def _taken(self, first: _Job) -> list[_Part]:
        """What is computed with this job: for it and its like some places and items. The lock is held."""
        self._streamed = self._streamed + 1 if isinstance(first, _Going) else 0
        self._jobs.remove(first)
        self._jobs.appendleft(first)
        used, parts = 0, list[_Part]()
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

    def _pass(self, parts: list[_Part]) -> None:
        began = time.monotonic()
        with self._lock:
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
        with self._lock:
            job.standing = False
            try:
                if not self._closing:
                    self._stand(job)
            except BaseException as error:  # noqa: BLE001 (what `wanted` and `tokens` raise belongs to whoever asked)
                self._fail(job, error)
            job.done.set()

    def _fail(self, job: _Job, error: BaseException) -> None:
        with self._lock:
            job.error = error
            job.items.clear()
            if job in self._jobs:
                self._jobs.remove(job)
        job.done.set()


LINE = Line()  # of the process: all engines share the cores
atexit.register(LINE.close)
